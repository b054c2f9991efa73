package provider

import "strings"

// methods maps the words of the platforms to one word for one way to pay.
var methods = map[string]string{
	"pix": "pix", "boleto": "boleto", "billet": "boleto", "bank_slip": "boleto",
	"card": "card", "cc": "card", "credit_card": "card", "creditcard": "card", "credit": "card",
	"debit_card": "debit_card", "paypal": "paypal", "free": "free",
	"deposit": "deposit", "balance": "balance", "boleto_installments": "boleto_installments",
}

// Method is our word for a platform's payment method, in any case: pix, boleto,
// boleto_installments, card, debit_card, paypal, deposit, balance, free. A word
// that is none of these stays itself in lower case; false: it is not a short
// word of letters, digits, "-" and "_".
func Method(word string) (string, bool) {
	word = strings.ToLower(word)
	if m, ok := methods[word]; ok {
		return m, true
	}
	return word, IsWord(word)
}

// IsWord reports whether s is a short code word: 1 to 40 lower-case letters,
// digits, "-" and "_". Such a word may stand in the clear.
func IsWord(s string) bool {
	if s == "" || len(s) > 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
