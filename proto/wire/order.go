package wire

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// DecodeOrder reads the encoded bytes of an Order, with which it shares no memory.
// An error is of kind Corrupt.
//
// It gives what proto.Unmarshal gives, in a fraction of the time: all texts are parts of
// one, what an order has at most once is one piece of memory, and so is each of its lists.
func DecodeOrder(encoded []byte) (*comandav1.Order, error) {
	if o := scanOrder(string(encoded)); o != nil {
		return o, nil
	}
	o := new(comandav1.Order)
	if err := proto.Unmarshal(encoded, o); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "not an order: %w", err)
	}
	return o, nil
}

// repeatedInOrder are the fields of Order that may repeat.
const repeatedInOrder = 1<<27 | 1<<28 | 1<<29 | 1<<30 | 1<<40 | 1<<41 | 1<<43 | 1<<45 | 1<<47

// orderScan reads an Order if it is as Marshal writes it.
type orderScan struct {
	scanner

	*orderParts
	items []itemParts
	steps []comandav1.Step
}

// orderParts are an Order and what it points to.
type orderParts struct {
	order comandav1.Order
	times [6]timestamppb.Timestamp
	sums  [5]int64
}

type itemParts struct {
	item      comandav1.Item
	unitPrice int64
}

// scanOrder is nil when Marshal did not write in. The order's texts share memory with it.
func scanOrder(in string) *comandav1.Order {
	s := orderScan{scanner: scanner{in: in, repeated: repeatedInOrder}, orderParts: new(orderParts)}
	for o := &s.order; s.more(); {
		n := s.field()
		if text := orderText(o, n); text != nil {
			*text = s.text()
		} else if !s.readTime(n) && !s.readSum(n) && !s.readList(n) {
			s.orderField(n, o)
		}
	}
	if s.bad {
		return nil
	}
	return &s.order
}

// readTime reports whether the field is a time.
func (s *orderScan) readTime(field uint64) bool {
	at, part := s.timeOf(field)
	if at == nil {
		return false
	}
	s.timestamp(part)
	*at = part
	return true
}

func (s *orderScan) readSum(field uint64) bool {
	sum, part := s.sumOf(field)
	if sum == nil {
		return false
	}
	*part = int64(s.optional()) //nolint:gosec // two's complement
	*sum = part
	return true
}

func (s *orderScan) readList(field uint64) bool {
	list := orderList(&s.order, field)
	if list == nil {
		return false
	}
	*list = append(*list, s.element())
	return true
}

// run is how often the field that was just read comes here, this time among them.
func (s *scanner) run() int {
	ahead, n := *s, 1
	for ahead.optionalBytes(); ahead.more() && ahead.field() == s.last; n++ {
		ahead.optionalBytes()
	}
	return n
}

func orderText(o *comandav1.Order, field uint64) *string {
	switch field {
	case 1:
		return &o.OrderId
	case 2:
		return &o.Tenant
	case 3:
		return &o.Source
	case 4:
		return &o.Provider
	case 5:
		return &o.Account
	case 6:
		return &o.ProviderOrderId
	case 7:
		return &o.Reference
	case 10:
		return &o.Currency
	case 16:
		return &o.Dispute
	case 18:
		return &o.Method
	case 19:
		return &o.Phase
	case 20:
		return &o.Reason
	case 21:
		return &o.Detail
	case 44:
		return &o.CustomEvent
	default:
		return nil
	}
}

func (p *orderParts) timeOf(field uint64) (at **timestamppb.Timestamp, part *timestamppb.Timestamp) {
	switch field {
	case 22:
		return &p.order.StartedAt, &p.times[0]
	case 23:
		return &p.order.ApprovedAt, &p.times[1]
	case 24:
		return &p.order.UpdatedAt, &p.times[2]
	case 25:
		return &p.order.RecordedAt, &p.times[3]
	case 31:
		return &p.order.AbandonedAt, &p.times[4]
	case 33:
		return &p.order.FirstRecordedAt, &p.times[5]
	default:
		return nil, nil
	}
}

func (p *orderParts) sumOf(field uint64) (sum **int64, part *int64) {
	switch field {
	case 11:
		return &p.order.Total, &p.sums[0]
	case 12:
		return &p.order.Paid, &p.sums[1]
	case 13:
		return &p.order.Refunded, &p.sums[2]
	case 14:
		return &p.order.Freight, &p.sums[3]
	case 15:
		return &p.order.Discount, &p.sums[4]
	default:
		return nil, nil
	}
}

func orderList(o *comandav1.Order, field uint64) *[]string {
	switch field {
	case 27:
		return &o.Conflicts
	case 28:
		return &o.HeldBack
	case 30:
		return &o.PaymentIds
	case 43:
		return &o.Flags
	case 47:
		return &o.FormerReferences
	default:
		return nil
	}
}

// orderField reads the fields of Order that are neither text, time, sum nor list of texts.
func (s *orderScan) orderField(n uint64, o *comandav1.Order) {
	switch n {
	case 8:
		o.Status = comandav1.OrderStatus(s.enum())
	case 9:
		o.Revision = s.number()
	case 17:
		o.RefundRequested = s.flag()
	case 26:
		o.Gap = s.flag()
	case 29:
		o.Attention = append(o.Attention, s.attention())
	case 32:
		o.Installments = s.int32()
	case 40:
		if o.Items == nil {
			many := s.run()
			o.Items, s.items = make([]*comandav1.Item, 0, many), make([]itemParts, many)
		}
		o.Items = append(o.Items, s.orderItem(&s.items[len(o.Items)]))
	case 41:
		if o.Utm == nil {
			o.Utm = make(map[string]string, s.run())
		}
		p := s.parameter(len(o.Utm) == 0)
		o.Utm[p.Name] = p.Value
	case 42:
		o.Shipping = s.orderShipping()
	case 45:
		if o.Path == nil {
			many := s.run()
			o.Path, s.steps = make([]*comandav1.Step, 0, many), make([]comandav1.Step, many)
		}
		o.Path = append(o.Path, s.orderStep(&s.steps[len(o.Path)]))
	case 46:
		o.MachineVersion = s.number32()
	default:
		s.bad = true
	}
}

func (s *scanner) timestamp(to *timestamppb.Timestamp) {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			to.Seconds = m.int64()
		case 2:
			to.Nanos = m.int32()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
}

func (s *scanner) attention() *comandav1.Attention {
	m, a := s.message(), new(comandav1.Attention)
	for m.more() {
		switch m.field() {
		case 1:
			a.Kind = m.text()
		case 2:
			a.EventId = m.text()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return a
}

func (s *scanner) orderItem(to *itemParts) *comandav1.Item {
	m, item := s.message(), &to.item
	for m.more() {
		switch m.field() {
		case 1:
			item.Code = m.text()
		case 2:
			item.Title = m.text()
		case 3:
			to.unitPrice = int64(m.optional()) //nolint:gosec // two's complement
			item.UnitPrice = &to.unitPrice
		case 4:
			item.Quantity = m.int64()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return item
}

func (s *scanner) orderStep(to *comandav1.Step) *comandav1.Step {
	m := s.message()
	for m.more() {
		switch m.field() {
		case 1:
			to.EventId = m.text()
		case 2:
			to.StatusFrom = comandav1.OrderStatus(m.enum())
		case 3:
			to.StatusTo = comandav1.OrderStatus(m.enum())
		case 4:
			to.Forced = m.flag()
		case 5:
			to.Gap = m.flag()
		case 6:
			to.Why = m.text()
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return to
}

func (s *scanner) orderShipping() *comandav1.Shipping {
	m, news := s.message(), new(comandav1.Shipping)
	for m.more() {
		switch m.field() {
		case 1:
			news.Event = m.text()
		case 2:
			news.TrackingCode = m.text()
		case 3:
			news.TrackingUrl = m.text()
		case 4:
			news.Branch = m.text()
		case 5:
			news.City = m.text()
		case 6:
			news.State = m.text()
		case 7:
			news.Country = m.text()
		case 8:
			news.Date = new(timestamppb.Timestamp)
			m.timestamp(news.Date)
		default:
			m.bad = true
		}
	}
	s.leave(&m)
	return news
}
