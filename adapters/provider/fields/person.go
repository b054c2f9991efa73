package fields

import (
	"strings"

	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/domain"
)

// maxDocument is more than any document has, punctuation included.
const maxDocument = 32

// Document is a CPF or CNPJ without punctuation, and whether its check digits
// hold. A bad one is kept, with a warning: it never refuses a payment.
func (o Object) Document(name string) (document string, valid bool) {
	text := o.text(name, maxDocument)
	if text == "" {
		return "", false
	}
	document, valid = brazil.Document(text)
	if !valid {
		o.Warn(name, "must be a CPF or CNPJ whose check digits hold")
	}
	return document, valid
}

// Phone is a number in E.164 where it could be made so, else as it came, with a warning.
func (o Object) Phone(name string) string {
	text := o.text(name, maxWord)
	if text == "" {
		return ""
	}
	phone, ok := brazil.Phone(text)
	if !ok {
		o.Warn(name, "must be a phone number with its area code")
		return text
	}
	return phone
}

// Email is an address as it came; text without an @ is left out, with a warning.
func (o Object) Email(name string) string {
	text := o.text(name, maxText)
	if text != "" && strings.IndexByte(text, '@') < 1 {
		o.Warn(name, "must be an e-mail address")
		return ""
	}
	return text
}

// PostalCode is a CEP of 8 digits; anything else is left out, with a warning.
func (o Object) PostalCode(name string) string {
	text := o.text(name, maxText)
	if text == "" {
		return ""
	}
	code, ok := brazil.PostalCode(text)
	if !ok {
		o.Warn(name, "must be a CEP of 8 digits")
		return ""
	}
	return code
}

// Country is an ISO 3166-1 alpha-2 code; what is no country is left out, with a warning.
func (o Object) Country(name string) string {
	text := o.text(name, maxText)
	if text == "" {
		return ""
	}
	code, ok := brazil.Country(text)
	if !ok {
		o.Warn(name, "must be a country code of two letters")
		return ""
	}
	return code
}

// PersonalOrNil is p, or nil when it says nothing.
func PersonalOrNil(p domain.Personal) *domain.Personal {
	if p == (domain.Personal{}) {
		return nil
	}
	return &p
}

// AddressOrNil is a, or nil when it says nothing.
func AddressOrNil(a domain.Address) *domain.Address {
	if a == (domain.Address{}) {
		return nil
	}
	return &a
}

// ShippingOrNil is s, or nil when it says nothing.
func ShippingOrNil(s domain.Shipping) *domain.Shipping {
	if s == (domain.Shipping{}) {
		return nil
	}
	return &s
}
