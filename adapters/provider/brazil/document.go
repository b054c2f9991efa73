package brazil

import "strings"

const (
	cpfDigits  = 11
	cnpjLength = 14
	checkCount = 2 // check digits, of both
)

// Document normalises a CPF or CNPJ: punctuation and spaces go, letters become
// capitals. valid says that it has one of the two forms and that its check
// digits hold. What is neither comes back without punctuation, and not valid.
func Document(text string) (document string, valid bool) {
	document = strings.ToUpper(documentPunctuation.Replace(text))
	switch len(document) {
	case cpfDigits:
		return document, validCPF(document)
	case cnpjLength:
		return document, validCNPJ(document)
	default:
		return document, false
	}
}

var documentPunctuation = strings.NewReplacer(".", "", "-", "", "/", "", " ", "")

// validCPF reports whether s is 11 digits, not all equal, with the check digits
// of the Receita Federal: weights 10…2 and 11…2, modulo 11.
func validCPF(s string) bool {
	if !charset(s, false) || allEqual(s) {
		return false
	}
	return hasChecks(s, func(position, of int) int { return of + 1 - position })
}

// validCNPJ reports whether s is 12 of [0-9A-Z] and 2 check digits. Since July
// 2026 the first twelve may hold letters, whose value is their ASCII code − 48
// (Instrução Normativa RFB 2.229/2024); the weights are 5432 98765432 and 65432 98765432.
func validCNPJ(s string) bool {
	body, checks := s[:cnpjLength-checkCount], s[cnpjLength-checkCount:]
	if !charset(body, true) || !charset(checks, false) || allEqual(s) {
		return false
	}
	return hasChecks(s, func(position, of int) int { return (of-1-position)%8 + 2 })
}

// hasChecks reports whether the last two characters of s are the check digits of
// what stands before each. weight is of the character at position, of a text of that length.
func hasChecks(s string, weight func(position, of int) int) bool {
	for n := len(s) - checkCount; n < len(s); n++ {
		sum := 0
		for i := range n {
			sum += int(s[i]-'0') * weight(i, n)
		}
		if checkDigit(sum) != s[n] {
			return false
		}
	}
	return true
}

// checkDigit is the digit that both documents make of a weighted sum.
func checkDigit(sum int) byte {
	rest := sum % 11
	if rest < 2 {
		return '0'
	}
	return "0123456789"[11-rest]
}

// CPF completes nine digits with their two check digits, for synthetic data. An
// argument of another form comes back as it is.
func CPF(nine string) string {
	if len(nine) != cpfDigits-checkCount || !charset(nine, false) {
		return nine
	}
	for n := len(nine); n < cpfDigits; n++ {
		sum := 0
		for i := range n {
			sum += int(nine[i]-'0') * (n + 1 - i)
		}
		nine += string(checkDigit(sum))
	}
	return nine
}

// charset reports whether s is made of digits, and capitals where those are allowed.
func charset(s string, letters bool) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (!letters || c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

func allEqual(s string) bool { return strings.Count(s, s[:1]) == len(s) }
