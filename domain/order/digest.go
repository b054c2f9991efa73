package order

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"comanda.internal/domain"
)

// digest is SHA-256 over a fact's content, in a form that no two contents share:
// every part has its length before it. It leaves out what is no content (the
// warnings, the date's spelling) and what must not be guessed from a hash that is
// kept for ever: personal data.
func digest(f *domain.Fact) [32]byte {
	d, _ := digesters.Get().(*digester)
	defer digesters.Put(d)
	d.buf = d.buf[:0]
	d.number(digestVersion)
	d.number(int64(f.Kind))
	d.text(f.Provider, f.Account, f.ProviderOrderID, f.Key)
	d.time(f.OccurredAt)
	d.flag(f.Inferred)
	d.text(f.Reference, string(f.Reason), f.Detail, f.Amounts.Currency)
	a := &f.Amounts
	d.amounts(a.Total, a.Paid, a.Refunded, a.Refund, a.Freight, a.Discount)
	p := &f.Payment
	d.text(p.Method, p.Phase, p.PaymentID, p.RefundID, f.CustomEvent)
	d.number(int64(p.Installments))
	d.number(int64(len(f.Items)))
	for i := range f.Items {
		d.text(f.Items[i].Code, f.Items[i].Title)
		d.amounts(f.Items[i].UnitPrice)
		d.number(f.Items[i].Quantity)
	}
	d.number(int64(len(f.UTM)))
	for i := range f.UTM {
		d.text(f.UTM[i].Name, f.UTM[i].Value)
	}
	s := f.Shipping
	d.flag(s != nil && *s != (domain.Shipping{}))
	if s != nil && *s != (domain.Shipping{}) {
		d.text(s.Event, s.TrackingCode, s.TrackingURL, s.Branch, s.City, s.State, s.Country)
		d.time(s.Date)
	}
	if r := f.Resolution; r != nil {
		d.text(string(r.Event), string(r.Action))
	}
	return sha256.Sum256(d.buf)
}

// digestVersion changes when the form does.
const digestVersion = 1

// shortDigest is as much of a digest as a history keeps.
func shortDigest(d *[32]byte) uint64 { return binary.BigEndian.Uint64(d[:]) }

// digester writes a fact's parts one after the other.
type digester struct{ buf []byte }

// digesters are kept because every event has two: decided and checked.
var digesters = sync.Pool{New: func() any { return &digester{buf: make([]byte, 0, 1024)} }}

func (d *digester) number(n int64) {
	d.buf = binary.BigEndian.AppendUint64(d.buf, uint64(n)) //nolint:gosec // any bits will do, as long as they are the same ones
}

func (d *digester) text(parts ...string) {
	for _, s := range parts {
		d.number(int64(len(s)))
		d.buf = append(d.buf, s...)
	}
}

func (d *digester) flag(b bool) {
	if b {
		d.buf = append(d.buf, 1)
	} else {
		d.buf = append(d.buf, 0)
	}
}

func (d *digester) amounts(amounts ...domain.Amount) {
	for _, a := range amounts {
		d.flag(a.Known)
		d.number(a.Minor)
	}
}

func (d *digester) time(t time.Time) {
	d.number(t.Unix())
	d.number(int64(t.Nanosecond()))
}
