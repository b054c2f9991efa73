package sample

import (
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	"comanda.internal/adapters/provider/brazil"
)

// Purchase is one synthetic order at the moment of one status.
type Purchase struct {
	OrderID, Reference              string
	Number                          int64 // for platforms whose ids are numbers
	CreatedAt, ApprovedAt, StatusAt time.Time
	Items                           []Item
	Freight, Discount, Total        int64 // minor units; the items, freight and discount add up to the total
	Buyer                           Buyer
	Campaign                        string
}

// Item is one line of a purchase.
type Item struct {
	Code, Title string
	UnitPrice   int64 // minor units
	Quantity    int64
}

// Buyer is a person who does not exist.
type Buyer struct {
	First, Last, Email string
	Phone              string // E.164
	CPF                string // 11 digits
	Address            Address
}

// Name is the buyer's full name.
func (b Buyer) Name() string { return b.First + " " + b.Last }

// MaskedPhone is the phone as Brazilian forms write it, as "(29) 98765-4321".
func (b Buyer) MaskedPhone() string {
	national := strings.TrimPrefix(b.Phone, "+55")
	return "(" + national[:2] + ") " + national[2:7] + "-" + national[7:]
}

// Address is a street that may exist in a city that does.
type Address struct {
	Street, Number, District, City, State string

	CEP string // 8 digits
}

// MaskedCEP is the CEP as forms write it, as "01310-922".
func (a Address) MaskedCEP() string { return a.CEP[:5] + "-" + a.CEP[5:] }

// New is the purchase that o describes.
func New(o Options) Purchase {
	if o.OrderID == "" {
		source := random{state: o.Seed}
		o.OrderID = source.code("S", 12)
	}
	// The status is not in the seed: every message of an order shows one buyer.
	source := random{state: o.Seed ^ hash(o.OrderID)}
	p := Purchase{OrderID: o.OrderID, Reference: o.Reference, Number: int64(hash(o.OrderID)%900_000_000) + 100_000_000}
	if p.Reference == "" {
		p.Reference = "R-" + o.OrderID
	}
	p.dates(o)
	p.Buyer = source.buyer()
	p.goods(&source, o.Total)
	p.Campaign = source.pick("verao", "inverno", "lancamento", "recompra") + "2026"
	return p
}

func (p *Purchase) dates(o Options) {
	p.StatusAt = o.At
	if p.StatusAt.IsZero() {
		p.StatusAt = defaultAt
	}
	p.StatusAt = p.StatusAt.UTC().Truncate(time.Second)
	p.CreatedAt, p.ApprovedAt = o.CreatedAt.UTC().Truncate(time.Second), o.ApprovedAt.UTC().Truncate(time.Second)
	if o.CreatedAt.IsZero() {
		p.CreatedAt = p.StatusAt.Add(-createdBefore)
		if !o.ApprovedAt.IsZero() {
			p.CreatedAt = p.ApprovedAt.Add(approvedBefore - createdBefore)
		}
	}
	if o.ApprovedAt.IsZero() {
		p.ApprovedAt = p.StatusAt.Add(-approvedBefore)
	}
}

// goods fills the items and the sums, which add up to total when it is not 0.
func (p *Purchase) goods(source *random, total int64) {
	catalogue := []Item{
		{Code: "SKU123", Title: "Camiseta Azul", UnitPrice: 5000},
		{Code: "SKU201", Title: "Caneca de Cerâmica", UnitPrice: 3990},
		{Code: "SKU305", Title: "Curso de Fotografia", UnitPrice: 19700},
		{Code: "SKU442", Title: "Mochila Urbana", UnitPrice: 12950},
		{Code: "SKU518", Title: "Livro de Receitas", UnitPrice: 6490},
	}
	if total > 0 {
		item := catalogue[source.below(len(catalogue))]
		item.UnitPrice, item.Quantity = total, 1
		p.Items, p.Total = []Item{item}, total
		return
	}
	first := source.below(len(catalogue))
	for i := range 1 + source.below(2) {
		item := catalogue[(first+i)%len(catalogue)]
		item.Quantity = int64(1 + source.below(2))
		p.Items = append(p.Items, item)
		p.Total += item.UnitPrice * item.Quantity
	}
	p.Freight = int64(source.below(4)) * 500
	p.Discount = int64(source.below(3)) * 250
	p.Total += p.Freight - p.Discount
}

func (r *random) buyer() Buyer {
	first := r.pick("Ana", "Bruno", "Carla", "Diego", "Elisa", "Fábio", "Gabriela", "Heitor", "Íris", "João")
	last := r.pick("da Silva", "Souza", "Oliveira", "Pereira", "Conceição", "Almeida", "Barros", "Nogueira")
	address := []Address{
		{Street: "Avenida das Amostras", District: "Bela Vista", City: "São Paulo", State: "SP", CEP: "01310922"},
		{Street: "Rua do Exemplo", District: "Centro", City: "Rio de Janeiro", State: "RJ", CEP: "20040002"},
		{Street: "Rua dos Testes", District: "Savassi", City: "Belo Horizonte", State: "MG", CEP: "30130000"},
		{Street: "Travessa do Ensaio", District: "Batista Campos", City: "Belém", State: "PA", CEP: "66020000"},
	}[r.below(4)]
	address.Number = r.digits(3)
	mail := asciiMail.Replace(strings.ToLower(first + "." + last))
	return Buyer{
		First: first, Last: last, Email: mail + "." + r.digits(4) + "@example.com",
		// Anatel has assigned no area code 29.
		Phone: "+55299" + r.digits(8), CPF: brazil.CPF(r.digits(9)), Address: address,
	}
}

// asciiMail keeps the letters of mail addresses plain.
var asciiMail = strings.NewReplacer(" ", ".", "á", "a", "ã", "a", "í", "i", "ç", "c", "õ", "o", "é", "e")

// random is SplitMix64: a few lines, the same numbers on every release of Go,
// and nothing secret depends on it.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// below is a number of [0, n); the bias of the remainder does not matter here.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) } //nolint:gosec // n is a small positive number

func (r *random) pick(words ...string) string { return words[r.below(len(words))] }

// digits is n digits, the first of them not 0.
func (r *random) digits(n int) string {
	out := []byte{byte('1' + r.below(9))} //nolint:gosec // below 10
	for range n - 1 {
		out = append(out, byte('0'+r.below(10))) //nolint:gosec // below 10
	}
	return string(out)
}

// code is prefix and n capitals and digits.
func (r *random) code(prefix string, n int) string {
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	out := []byte(prefix)
	for range n {
		out = append(out, alphabet[r.below(len(alphabet))])
	}
	return string(out)
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, s) // a hash never fails
	return h.Sum64()
}
