package customers

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"

	"comanda.internal/domain"
)

// Kind is what a name is.
type Kind byte

// The kinds; their numbers are part of every subject id.
const (
	Email    Kind = 1
	Phone    Kind = 2
	Document Kind = 3
)

// Name is what a person is looked up by, in the form in which events keep it: an e-mail
// address, a phone number in E.164, a CPF or CNPJ without punctuation. Case does not
// matter, nor do spaces around it. It is personal data.
type Name struct {
	Kind Kind
	Text string
}

// namesOf are the names that an event gives its customer.
func namesOf(p *domain.Personal) []Name {
	var names []Name
	for _, n := range []Name{{Email, p.Email}, {Phone, p.Phone}, {Document, p.Document}} {
		if strings.TrimSpace(n.Text) != "" {
			names = append(names, n)
		}
	}
	return names
}

// subjectSize is that of a subject id, in bytes.
const subjectSize = 16

// subject is the person's id.
func (n Name) subject(pepper []byte) [subjectSize]byte {
	h := hmac.New(sha256.New, pepper)
	_, _ = h.Write([]byte{byte(n.Kind)})
	_, _ = h.Write([]byte(strings.ToLower(strings.TrimSpace(n.Text))))
	return [subjectSize]byte(h.Sum(nil))
}
