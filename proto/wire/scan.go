package wire

import (
	"math"
	"time"
	"unicode/utf8"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// scanner reads one message in the protobuf wire format, but only in the form in
// which Marshal writes it: fields in ascending order, nothing that is the
// default, numbers in as few bytes as they need. Anything else is bad, which is
// no error: the protobuf library is asked then. So what a scanner has read
// encodes to the same bytes again.
type scanner struct {
	in       string
	last     uint64 // field
	repeated uint64 // the fields that may come more than once
	wire     uint64 // type of the field that was read last
	key      string // of the map entry that was read last
	bad      bool
}

// The wire types that are in use.
const (
	wireVarint = 0
	wireBytes  = 2
)

func (s *scanner) more() bool { return len(s.in) > 0 && !s.bad }

// field is the number of the next field, below 64; 0 when it is bad.
func (s *scanner) field() uint64 {
	tag := s.varint()
	n := tag >> 3
	if n >= 64 || n < s.last || (n == s.last && s.repeated&(1<<n) == 0) {
		s.bad = true
	}
	if s.bad {
		return 0
	}
	s.last, s.wire = n, tag&7
	return n
}

func (s *scanner) varint() uint64 {
	if len(s.in) > 0 && s.in[0] < 0x80 { // as nearly all are
		v := s.in[0]
		s.in = s.in[1:]
		return uint64(v)
	}
	return s.longVarint()
}

func (s *scanner) longVarint() uint64 {
	var v uint64
	for i := range len(s.in) {
		b := s.in[i]
		v |= uint64(b&0x7f) << (7 * i)
		if b >= 0x80 && i < 9 {
			continue
		}
		// The last of several bytes is not empty, and the tenth has one bit.
		s.bad = s.bad || (b == 0 && i > 0) || (i == 9 && b != 1)
		s.in = s.in[i+1:]
		return v
	}
	s.bad = true
	return 0
}

// optional is a number with presence; any value is one.
func (s *scanner) optional() uint64 {
	s.bad = s.bad || s.wire != wireVarint
	return s.varint()
}

// number is one without presence, whose 0 is not written.
func (s *scanner) number() uint64 {
	v := s.optional()
	s.bad = s.bad || v == 0
	return v
}

func (s *scanner) number32() uint32 {
	v := s.number()
	s.bad = s.bad || v > math.MaxUint32
	return uint32(v) //nolint:gosec // else it is bad
}

func (s *scanner) int64() int64 { return int64(s.number()) } //nolint:gosec // two's complement

func (s *scanner) int32() int32 {
	v := s.int64()
	s.bad = s.bad || v != int64(int32(v)) //nolint:gosec // this is the question
	return int32(v)                       //nolint:gosec // else it is bad
}

// enum is at most MaxInt32, or bad.
func (s *scanner) enum() int32 { return s.int32() }

func (s *scanner) flag() bool {
	v := s.number()
	s.bad = s.bad || v != 1
	return v == 1
}

func (s *scanner) amount() domain.Amount {
	return domain.Minor(int64(s.optional())) //nolint:gosec // two's complement
}

// bytes are not empty.
func (s *scanner) bytes() string {
	value := s.optionalBytes()
	s.bad = s.bad || value == ""
	return value
}

// optionalBytes may be empty.
func (s *scanner) optionalBytes() string {
	if s.wire != wireBytes {
		s.bad = true
		return ""
	}
	size := s.varint()
	if s.bad || size > uint64(len(s.in)) {
		s.bad = true
		return ""
	}
	value := s.in[:size]
	s.in = s.in[size:]
	return value
}

// text is not empty.
func (s *scanner) text() string {
	value := s.bytes()
	s.bad = s.bad || !utf8.ValidString(value)
	return value
}

// element is a text of a list, or in a map, which may be empty.
func (s *scanner) element() string {
	value := s.optionalBytes()
	s.bad = s.bad || !utf8.ValidString(value)
	return value
}

// message is the scanner of a message that is not empty; leave ends it.
func (s *scanner) message() scanner { return scanner{in: s.bytes()} }

func (s *scanner) leave(m *scanner) { s.bad = s.bad || m.bad }

func (s *scanner) status() domain.Status {
	v, ok := FromStatus(comandav1.OrderStatus(s.enum()))
	s.bad = s.bad || !ok
	return v
}

// time is a Timestamp; one that would be written otherwise is bad.
func (s *scanner) time() time.Time {
	var seconds, nanos int64
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			seconds = m.int64()
		case 2:
			nanos = m.int64()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	t := time.Unix(seconds, nanos).UTC()
	s.bad = s.bad || nanos < 0 || nanos >= int64(time.Second) || t.IsZero() || t.Unix() != seconds
	return t
}

func (s *scanner) step() (step domain.Step) {
	m := s.message()
	var seen uint64
	for m.more() {
		n := m.field()
		seen |= 1 << n
		switch n {
		case 1:
			step.Event = domain.EventID(m.text())
		case 2:
			step.From = m.status()
		case 3:
			step.To = m.status()
		case 4:
			step.Forced = m.flag()
		case 5:
			step.Gap = m.flag()
		case 6:
			step.Why = m.text()
		default:
			m.bad = true
		}
	}
	const statuses = 1<<2 | 1<<3
	s.leave(&m)
	s.bad = s.bad || seen&statuses != statuses
	return step
}

func (s *scanner) amounts() (a domain.Amounts) {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			a.Currency = m.text()
		case 2:
			a.Total = m.amount()
		case 3:
			a.Paid = m.amount()
		case 4:
			a.Refunded = m.amount()
		case 5:
			a.Refund = m.amount()
		case 6:
			a.Freight = m.amount()
		case 7:
			a.Discount = m.amount()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return a
}

func (s *scanner) payment() (p domain.Payment) {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			p.Method = m.text()
		case 2:
			p.Phase = m.text()
		case 3:
			p.PaymentID = m.text()
		case 4:
			p.RefundID = m.text()
		case 5:
			p.Installments = m.int32()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return p
}

func (s *scanner) item() (item domain.Item) {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			item.Code = m.text()
		case 2:
			item.Title = m.text()
		case 3:
			item.UnitPrice = m.amount()
		case 4:
			item.Quantity = m.int64()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return item
}

// parameter reads an entry of a map: name and value are always written, and the names
// ascend. first says that none was read before.
func (s *scanner) parameter(first bool) domain.Parameter {
	m := s.message()
	var entry [2]string
	for i := range entry {
		s.bad = s.bad || m.field() != uint64(i)+1
		entry[i] = m.element()
	}
	s.leave(&m)
	s.bad = s.bad || len(m.in) > 0 || (!first && entry[0] <= s.key)
	s.key = entry[0]
	return domain.Parameter{Name: entry[0], Value: entry[1]}
}

func (s *scanner) shipping() *domain.Shipping {
	m, news := s.message(), new(domain.Shipping)
	for m.more() {
		switch m.field() {
		case 1:
			news.Event = m.text()
		case 2:
			news.TrackingCode = m.text()
		case 3:
			news.TrackingURL = m.text()
		case 4:
			news.Branch = m.text()
		case 5:
			news.City = m.text()
		case 6:
			news.State = m.text()
		case 7:
			news.Country = m.text()
		case 8:
			news.Date = m.time()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return news
}

func (s *scanner) resolution() *domain.Resolution {
	m, word := s.message(), new(domain.Resolution)
	for m.more() {
		switch m.field() {
		case 1:
			word.Event = domain.EventID(m.text())
		case 2:
			word.Action = domain.ResolutionAction(m.text())
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return word
}

func (s *scanner) cause() (c domain.Cause) {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			c.RequestID = m.text()
		case 2:
			c.Traceparent = m.text()
		case 3:
			c.Actor = m.text()
		case 4:
			c.Reason = m.text()
		case 5:
			c.Tracestate = m.text()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return c
}
