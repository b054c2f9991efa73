package money_test

import (
	"errors"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"comanda.internal/adapters/provider/money"
)

func TestParseMinor(t *testing.T) {
	tests := []struct {
		text string
		want int64
		err  error
	}{
		{"0", 0, nil},
		{"12000", 12000, nil},
		{"9223372036854775807", 9223372036854775807, nil},
		{"9223372036854775808", 0, money.ErrRange},
		{"99999999999999999999999", 0, money.ErrRange},
		{"-1", 0, money.ErrNegative},
		{"-0", 0, money.ErrNegative},
		{"12000.0", 0, money.ErrWhole},
		{"12000.", 0, money.ErrWhole},
		{"12e3", 0, money.ErrExponent},
		{"12E3", 0, money.ErrExponent},
		{"1.2e3", 0, money.ErrExponent},
		{"", 0, money.ErrSyntax},
		{"+1", 0, money.ErrSyntax},
		{"1 000", 0, money.ErrSyntax},
		{"1,00", 0, money.ErrSyntax},
		{"e", 0, money.ErrSyntax},
		{"٣", 0, money.ErrSyntax},
	}
	for _, tt := range tests {
		if got, err := money.ParseMinor(tt.text); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q is %d, %v; want %d, %v", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	tests := []struct {
		text string
		want int64
		err  error
	}{
		{"0", 0, nil},
		{"120", 12000, nil},
		{"120.5", 12050, nil},
		{"120.05", 12005, nil},
		{"69.90", 6990, nil},
		{"1.15", 115, nil}, // 1.15 × 100 is 114.99… in floats
		{"92233720368547758.07", 9223372036854775807, nil},
		{"92233720368547758.08", 0, money.ErrRange},
		{"92233720368547759", 0, money.ErrRange},
		{"120.505", 0, money.ErrDecimals},
		{"120.500", 0, money.ErrDecimals},
		{"120.", 0, money.ErrSyntax},
		{".50", 0, money.ErrSyntax},
		{"1.2.3", 0, money.ErrSyntax},
		{"69,90", 0, money.ErrSyntax},
		{"1.234,56", 0, money.ErrSyntax},
		{"-69.90", 0, money.ErrNegative},
		{"1e2", 0, money.ErrExponent},
		{"R$ 10", 0, money.ErrSyntax},
	}
	for _, tt := range tests {
		if got, err := money.ParseDecimal(tt.text); got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q is %d, %v; want %d, %v", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestEverySumIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "minor")
		text := strconv.FormatInt(n, 10)
		if got, err := money.ParseMinor(text); got != n || err != nil {
			t.Errorf("%s is %d, %v", text, got, err)
		}
		minor := strconv.FormatInt(100+n%100, 10)[1:]
		decimal := strconv.FormatInt(n/100, 10) + "." + minor
		if got, err := money.ParseDecimal(decimal); got != n || err != nil {
			t.Errorf("%s is %d, %v", decimal, got, err)
		}
	})
}
