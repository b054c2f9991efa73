package wire

import (
	"math/bits"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"comanda.internal/domain"
)

// Appender writes a message as [Marshal] does, without the message: its fields must
// come in ascending order. What is the default is not written. Text must be valid UTF-8:
// Marshal refuses what is not, and an Appender writes it.
type Appender struct {
	Bytes   []byte
	invalid bool // a text is not UTF-8
}

// Number writes a number without presence; an enum, a uint64 or an int64 of any sign.
func (a *Appender) Number(field protowire.Number, v uint64) {
	if v != 0 {
		a.optional(field, v)
	}
}

func (a *Appender) optional(field protowire.Number, v uint64) {
	a.Bytes = protowire.AppendVarint(protowire.AppendTag(a.Bytes, field, protowire.VarintType), v)
}

// Flag writes a bool.
func (a *Appender) Flag(field protowire.Number, v bool) {
	if v {
		a.optional(field, 1)
	}
}

// Amount writes an amount that is known.
func (a *Appender) Amount(field protowire.Number, v domain.Amount) {
	if v.Known {
		a.optional(field, uint64(v.Minor)) //nolint:gosec // two's complement
	}
}

// Text writes a string.
func (a *Appender) Text(field protowire.Number, v string) {
	if v != "" {
		a.Element(field, v)
	}
}

// Element writes one string of a list.
func (a *Appender) Element(field protowire.Number, v string) {
	a.invalid = a.invalid || !utf8.ValidString(v)
	a.Bytes = protowire.AppendString(protowire.AppendTag(a.Bytes, field, protowire.BytesType), v)
}

// Binary writes bytes.
func (a *Appender) Binary(field protowire.Number, v []byte) {
	if len(v) > 0 {
		a.Bytes = protowire.AppendBytes(protowire.AppendTag(a.Bytes, field, protowire.BytesType), v)
	}
}

// Message writes a message, or one of a list, whose fields write appends.
func (a *Appender) Message(field protowire.Number, write func()) {
	a.Bytes = append(protowire.AppendTag(a.Bytes, field, protowire.BytesType), 0)
	start := len(a.Bytes)
	write()
	size := len(a.Bytes) - start
	if more := (bits.Len(uint(size)|1) - 1) / 7; more > 0 { // a length of several bytes
		a.Bytes = slices.Insert(a.Bytes, start, make([]byte, more)...)
	}
	protowire.AppendVarint(a.Bytes[:start-1], uint64(size)) //nolint:gosec // a length
}

// Time writes a Timestamp; the zero time is none.
func (a *Appender) Time(field protowire.Number, t time.Time) {
	if t.IsZero() {
		return
	}
	a.Message(field, func() {
		a.Number(1, uint64(t.Unix()))       //nolint:gosec // two's complement
		a.Number(2, uint64(t.Nanosecond())) //nolint:gosec // not negative
	})
}

// UTM writes a map of strings.
func (a *Appender) UTM(field protowire.Number, u domain.UTM) {
	for i := range u {
		a.Message(field, func() {
			a.Element(1, u[i].Name)
			a.Element(2, u[i].Value)
		})
	}
}

// Items writes an order's lines, as [Items] has them.
func (a *Appender) Items(field protowire.Number, items []domain.Item) {
	for i := range items {
		a.Message(field, func() {
			a.Text(1, items[i].Code)
			a.Text(2, items[i].Title)
			a.Amount(3, items[i].UnitPrice)
			a.Number(4, uint64(items[i].Quantity)) //nolint:gosec // two's complement
		})
	}
}

// Steps writes the edges of a fold, as [Steps] has them.
func (a *Appender) Steps(field protowire.Number, steps []domain.Step) {
	for i := range steps {
		s := &steps[i]
		a.Message(field, func() {
			a.Text(1, string(s.Event))
			a.Number(2, uint64(Status(s.From))) //nolint:gosec // an enum
			a.Number(3, uint64(Status(s.To)))   //nolint:gosec // likewise
			a.Flag(4, s.Forced)
			a.Flag(5, s.Gap)
			a.Text(6, s.Why)
		})
	}
}

// Shipping writes the carrier's news, as [Shipping] has them; nothing for nil.
func (a *Appender) Shipping(field protowire.Number, s *domain.Shipping) {
	if s == nil {
		return
	}
	a.Message(field, func() {
		a.Text(1, s.Event)
		a.Text(2, s.TrackingCode)
		a.Text(3, s.TrackingURL)
		a.Text(4, s.Branch)
		a.Text(5, s.City)
		a.Text(6, s.State)
		a.Text(7, s.Country)
		a.Time(8, s.Date)
	})
}

func (a *Appender) amounts(field protowire.Number, v *domain.Amounts) {
	if *v == (domain.Amounts{}) {
		return
	}
	a.Message(field, func() {
		a.Text(1, v.Currency)
		a.Amount(2, v.Total)
		a.Amount(3, v.Paid)
		a.Amount(4, v.Refunded)
		a.Amount(5, v.Refund)
		a.Amount(6, v.Freight)
		a.Amount(7, v.Discount)
	})
}

func (a *Appender) payment(field protowire.Number, p *domain.Payment) {
	if *p == (domain.Payment{}) {
		return
	}
	a.Message(field, func() {
		a.Text(1, p.Method)
		a.Text(2, p.Phase)
		a.Text(3, p.PaymentID)
		a.Text(4, p.RefundID)
		a.Number(5, uint64(p.Installments)) //nolint:gosec // two's complement: an int32 is sign-extended
	})
}

func (a *Appender) resolution(field protowire.Number, r *domain.Resolution) {
	if r == nil {
		return
	}
	a.Message(field, func() {
		a.Text(1, string(r.Event))
		a.Text(2, string(r.Action))
	})
}

func (a *Appender) cause(field protowire.Number, c *domain.Cause) {
	if *c == (domain.Cause{}) {
		return
	}
	a.Message(field, func() {
		a.Text(1, c.RequestID)
		a.Text(2, c.Traceparent)
		a.Text(3, c.Actor)
		a.Text(4, c.Reason)
		a.Text(5, c.Tracestate)
	})
}

func (a *Appender) personal(p *domain.Personal) {
	a.Text(1, p.Name)
	a.Text(2, p.Email)
	a.Text(3, p.Phone)
	a.Text(4, p.Document)
	a.Flag(5, p.DocumentValid)
	if at := p.Address; at != nil {
		a.Message(6, func() {
			a.Text(1, at.Street)
			a.Text(2, at.Number)
			a.Text(3, at.Complement)
			a.Text(4, at.District)
			a.Text(5, at.City)
			a.Text(6, at.State)
			a.Text(7, at.PostalCode)
			a.Text(8, at.Country)
		})
	}
	a.Text(7, p.PixCode)
	a.Text(8, p.PixURL)
	a.Text(9, p.BoletoLine)
	a.Text(10, p.BoletoURL)
	a.Text(11, p.CheckoutURL)
}
