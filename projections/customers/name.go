package customers

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
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

// subjects makes subject ids, with one HMAC a tenant: to begin one costs as much as to use it.
// One goroutine uses it.
type subjects struct {
	pepper func(domain.TenantID) [sha256.Size]byte
	keyed  map[domain.TenantID]hash.Hash
	room   []byte
}

func (x *Index) subjects() *subjects {
	return &subjects{pepper: x.pepper, keyed: map[domain.TenantID]hash.Hash{}}
}

// of is the id of the tenant's person of that name.
func (s *subjects) of(tenant domain.TenantID, n Name) [subjectSize]byte {
	h := s.keyed[tenant]
	if h == nil {
		pepper := s.pepper(tenant)
		h = hmac.New(sha256.New, pepper[:])
		s.keyed[tenant] = h
	}
	h.Reset()
	s.room = append(append(s.room[:0], byte(n.Kind)), strings.ToLower(strings.TrimSpace(n.Text))...)
	_, _ = h.Write(s.room)
	s.room = h.Sum(s.room[:0])
	return [subjectSize]byte(s.room)
}
