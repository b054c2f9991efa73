package brazil_test

import (
	"testing"
	"time"

	"comanda.internal/adapters/provider/brazil"
)

func TestDocument(t *testing.T) {
	tests := []struct {
		text, document string
		valid          bool
	}{
		{"74600027043", "74600027043", true},
		{"746.000.270-43", "74600027043", true},
		{" 00000000191 ", "00000000191", true},
		{"74600027044", "74600027044", false}, // second check digit
		{"74600027053", "74600027053", false}, // first check digit
		{"11111111111", "11111111111", false}, // all equal, though the digits hold
		{"00000000000", "00000000000", false},
		{"7460002704", "7460002704", false},
		{"7460002704X", "7460002704X", false},
		{"11222333000181", "11222333000181", true},
		{"11.222.333/0001-81", "11222333000181", true},
		{"12ABC34501DE35", "12ABC34501DE35", true}, // Receita Federal's own example
		{"12.abc.345/01de-35", "12ABC34501DE35", true},
		{"12ABC34501DE36", "12ABC34501DE36", false},
		{"12ABC34501DE45", "12ABC34501DE45", false},
		{"12ABC34501DEA5", "12ABC34501DEA5", false}, // check digits are digits
		{"12ABÇ4501DE35", "12ABÇ4501DE35", false},
		{"00000000000000", "00000000000000", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if document, valid := brazil.Document(tt.text); document != tt.document || valid != tt.valid {
			t.Errorf("%q is %q, %t; want %q, %t", tt.text, document, valid, tt.document, tt.valid)
		}
	}
}

// Two wrong digits may be right together; one never is.
func TestOneWrongDigitIsNoticed(t *testing.T) {
	for _, good := range []string{"74600027043", "12ABC34501DE35"} {
		for i := range len(good) - 2 {
			for c := byte('0'); c <= '9'; c++ {
				if c == good[i] || good[i] > '9' {
					continue
				}
				other := good[:i] + string(c) + good[i+1:]
				if _, valid := brazil.Document(other); valid {
					t.Errorf("%s is valid beside %s", other, good)
				}
			}
		}
	}
}

func TestCPFIsCompleted(t *testing.T) {
	for _, nine := range []string{"746000270", "000000001", "123456789", "999999990"} {
		cpf := brazil.CPF(nine)
		if _, valid := brazil.Document(cpf); !valid || len(cpf) != 11 || cpf[:9] != nine {
			t.Errorf("%s becomes %s", nine, cpf)
		}
	}
	for _, other := range []string{"", "12345678", "12345678X", "1234567890"} {
		if got := brazil.CPF(other); got != other {
			t.Errorf("%q becomes %q", other, got)
		}
	}
}

func TestPostalCode(t *testing.T) {
	for text, want := range map[string]string{
		"01310-922": "01310922", "01310922": "01310922", "01.310-922": "01310922",
		"1310922": "", "013109222": "", "01310-92A": "", "": "",
	} {
		code, ok := brazil.PostalCode(text)
		if ok != (want != "") || ok && code != want {
			t.Errorf("%q is %q, %t; want %q", text, code, ok, want)
		}
	}
}

func TestPhone(t *testing.T) {
	for text, want := range map[string]string{
		"+5511999999999":     "+5511999999999",
		"+55 11 99999-9999":  "+5511999999999",
		"(21) 99999-9999":    "+5521999999999",
		"21999999999":        "+5521999999999",
		"2133334444":         "+552133334444",
		"5521999999999":      "+5521999999999",
		"552133334444":       "+552133334444",
		"+551199999999":      "+551199999999", // a mobile without its ninth digit stays one
		"1199999999":         "",              // no digit is put inside
		"+12125550100":       "+12125550100",
		"12125550100":        "", // of another country, and it does not say which
		"99999-9999":         "",
		"0xx21999999999":     "",
		"021999999999":       "",
		"20999999999":        "", // area codes have no zero
		"+1234567":           "",
		"+1234567890123456":  "",
		"+":                  "",
		"":                   "",
		"21 99999-9999 r. 3": "",
	} {
		phone, ok := brazil.Phone(text)
		if ok != (want != "") || ok && phone != want {
			t.Errorf("%q is %q, %t; want %q", text, phone, ok, want)
		}
	}
}

func TestCountry(t *testing.T) {
	for text, want := range map[string]string{
		"BR": "BR", "br": "BR", "Brasil": "BR", "BRAZIL": "BR", "PT": "PT", "B1": "", "Portugal": "", "": "", "É": "",
	} {
		code, ok := brazil.Country(text)
		if ok != (want != "") || code != want {
			t.Errorf("%q is %q, %t; want %q", text, code, ok, want)
		}
	}
}

func TestBrasiliaHadSummerTime(t *testing.T) {
	if name := brazil.Brasilia().String(); name != "America/Sao_Paulo" {
		t.Fatalf("zone %s", name)
	}
	for year, hours := range map[int]int{2018: -2, 2026: -3} {
		_, offset := time.Date(year, time.December, 24, 12, 0, 0, 0, brazil.Brasilia()).Zone()
		if offset != hours*60*60 {
			t.Errorf("Christmas of %d is at %d seconds", year, offset)
		}
	}
}
