package purchases

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// A member's value is the length of the reference as a varint, the reference,
// and a PurchaseOrder without what its key says.

// memberRoom is what most members take.
const memberRoom = 96

// encode is the value of an order's member.
func encode(s *order.State) []byte {
	return appendMember(&wire.Appender{Bytes: make([]byte, 0, memberRoom)}, &member{
		s.Reference, wire.Status(s.Status), s.Currency, s.Dispute, s.Paid, s.Refunded, itemNames(s.Items),
	})
}

// encodeRow is it for an order as the view of orders has it. It holds until the next
// call for a.
func encodeRow(a *wire.Appender, row *comandav1.Order) []byte {
	a.Bytes = a.Bytes[:0]
	return appendMember(a, &member{
		row.GetReference(), row.GetStatus(), row.GetCurrency(), row.GetDispute(), wire.FromAmount(row.Paid), wire.FromAmount(row.Refunded),
		names(row.GetItems(), func(item *comandav1.Item) string { return cmp.Or(item.GetCode(), item.GetTitle()) }),
	})
}

// member is what its value says.
type member struct {
	reference         string
	status            comandav1.OrderStatus
	currency, dispute string
	paid, refunded    domain.Amount
	items             []string
}

// appendMember writes the PurchaseOrder as [wire.Marshal] does.
func appendMember(a *wire.Appender, m *member) []byte {
	a.Bytes = append(binary.AppendUvarint(a.Bytes, uint64(len(m.reference))), m.reference...)
	a.Number(2, uint64(m.status)) //nolint:gosec // an enum
	a.Text(3, m.currency)
	a.Amount(4, m.paid)
	a.Amount(5, m.refunded)
	a.Text(6, m.dispute)
	for _, item := range m.items {
		a.Element(7, item)
	}
	return a.Bytes
}

// itemNames are what tells lines apart: their codes, or the titles of those that have none.
func itemNames(items []domain.Item) []string {
	return names(items, func(item domain.Item) string { return cmp.Or(item.Code, item.Title) })
}

func names[T any](items []T, name func(T) string) []string {
	all := slices.Grow([]string(nil), len(items))
	for i := range items {
		if name := name(items[i]); name != "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// decode reads a member.
func decode(key, value []byte) (reference string, m *comandav1.PurchaseOrder, err error) {
	first, id := placeIn(key)
	length, n := binary.Uvarint(value)
	if n <= 0 || length > uint64(len(value)-n) { //nolint:gosec // not negative
		return "", nil, domain.Errorf(domain.Corrupt, "purchases: the member %s has no reference", id)
	}
	reference, value = string(value[n:][:length]), value[n+int(length):] //nolint:gosec // at most its length
	m = new(comandav1.PurchaseOrder)
	if err := proto.Unmarshal(value, m); err != nil {
		return "", nil, domain.Errorf(domain.Corrupt, "purchases: decode the member %s: %w", id, err)
	}
	m.OrderId, m.FirstRecordedAt = string(id), first
	return reference, m, nil
}

// precedence of the statuses: the first that any order has is the purchase's.
var precedence = [domain.StatusCount]int{
	domain.StatusApproved: 0, domain.StatusChargeback: 1, domain.StatusRefunded: 2, domain.StatusPending: 3,
	domain.StatusRefused: 4, domain.StatusCancelled: 5, domain.StatusStarted: 6, domain.StatusNone: 7,
}

// mostOrders are listed with a purchase; all are counted.
const mostOrders = 1000

// rollup gathers a purchase, the newest member first.
type rollup struct {
	purchase *comandav1.Purchase
	status   domain.Status
	approved map[string]struct{} // items of the approved orders so far
}

func (r *rollup) add(key, value []byte) error {
	reference, m, err := decode(key, value)
	if err != nil {
		return err
	}
	status, ok := wire.FromStatus(m.GetStatus())
	if !ok {
		return domain.Errorf(domain.Corrupt, "purchases: the member %s has the status %d", m.GetOrderId(), m.GetStatus())
	}
	if r.purchase == nil {
		r.purchase = &comandav1.Purchase{Tenant: tenantIn(key), Reference: reference, NewestOrderAt: m.GetFirstRecordedAt()}
		r.approved = map[string]struct{}{}
	}
	p := r.purchase
	if reference != p.GetReference() {
		return domain.Errorf(domain.Corrupt, "purchases: the member %s of one purchase has the reference of another", m.GetOrderId())
	}
	if p.GetOrderCount() == 0 || precedence[status] < precedence[r.status] {
		r.status, p.Status = status, m.GetStatus()
	}
	p.OrderCount++
	p.AnyChargeback = p.GetAnyChargeback() || status == domain.StatusChargeback || m.GetDispute() == order.DisputeOpen
	p.AnyRefund = p.GetAnyRefund() || status == domain.StatusRefunded || m.GetRefunded() > 0
	if status == domain.StatusApproved {
		for _, item := range m.GetItems() {
			_, twice := r.approved[item]
			p.TwoApproved = p.GetTwoApproved() || twice
			r.approved[item] = struct{}{}
		}
	}
	sum(p, m)
	if len(p.GetOrders()) < mostOrders {
		p.Orders = append(p.Orders, m)
	}
	return nil
}

// sum adds what m paid to the sum of its currency.
func sum(p *comandav1.Purchase, m *comandav1.PurchaseOrder) {
	if m.Paid == nil && m.Refunded == nil {
		return
	}
	at, found := slices.BinarySearchFunc(p.GetSums(), m.GetCurrency(), func(s *comandav1.PurchaseSum, currency string) int {
		return cmp.Compare(s.GetCurrency(), currency)
	})
	if !found {
		p.Sums = slices.Insert(p.GetSums(), at, &comandav1.PurchaseSum{Currency: m.GetCurrency()})
	}
	s := p.GetSums()[at]
	s.Paid, s.Refunded = plus(s.Paid, m.Paid), plus(s.Refunded, m.Refunded)
}

func plus(a, b *int64) *int64 {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	total := *a + *b
	return &total
}

func describe(m *comandav1.PurchaseOrder) string {
	return fmt.Sprintf("%s %s paid %d refunded %d", wire.Word(m.GetStatus()), m.GetCurrency(), m.GetPaid(), m.GetRefunded())
}
