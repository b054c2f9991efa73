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

// marshal gives one message the same bytes every time.
var marshal = proto.MarshalOptions{Deterministic: true}

// A member's value is the length of the reference as a varint, the reference,
// and a PurchaseOrder without what its key says.

// encode is the value of an order's member.
func encode(s *order.State) ([]byte, error) {
	value := binary.AppendUvarint(nil, uint64(len(s.Reference)))
	value = append(value, s.Reference...)
	return marshal.MarshalAppend(value, &comandav1.PurchaseOrder{
		Status: wire.Status(s.Status), Currency: s.Currency, Paid: wire.Amount(s.Paid), Refunded: wire.Amount(s.Refunded),
		Dispute: s.Dispute, Items: itemNames(s.Items),
	})
}

// itemNames are what tells lines apart: their codes, or the titles of those that have none.
func itemNames(items []domain.Item) []string {
	var names []string
	for i := range items {
		if name := cmp.Or(items[i].Code, items[i].Title); name != "" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
