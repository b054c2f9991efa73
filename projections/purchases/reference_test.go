package purchases_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/purchases"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// known is an order, folded afresh.
type known struct {
	id    domain.OrderID
	state *order.State
}

func folded(t *testing.T, s *projectiontest.Script) (all []known) {
	t.Helper()
	for id, events := range s.Events() {
		var h *order.History
		for i := range events {
			var err error
			if h, err = h.With(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, known{id, order.Default().Fold(h)})
	}
	slices.SortFunc(all, func(a, b known) int { // the newest first
		return cmp.Or(b.state.FirstRecordedAt.Compare(a.state.FirstRecordedAt), cmp.Compare(b.id, a.id))
	})
	return all
}

// plain is DESIGN's roll-up, said plainly: of all orders, those of one tenant and
// reference, question by question.
func plain(all []known, tenant domain.TenantID, reference string) *comandav1.Purchase {
	var of []known
	for _, k := range all {
		if k.state.Identity.Tenant == tenant && k.state.Reference == reference && reference != "" {
			of = append(of, k)
		}
	}
	if len(of) == 0 {
		return nil
	}
	p := &comandav1.Purchase{
		Tenant: string(tenant), Reference: reference, OrderCount: uint64(len(of)),
		NewestOrderAt: timestamppb.New(of[0].state.FirstRecordedAt),
	}
	for _, status := range []domain.Status{
		domain.StatusNone, domain.StatusStarted, domain.StatusCancelled, domain.StatusRefused,
		domain.StatusPending, domain.StatusRefunded, domain.StatusChargeback, domain.StatusApproved,
	} {
		if slices.ContainsFunc(of, func(k known) bool { return k.state.Status == status }) {
			p.Status = wire.Status(status) // the last one that any has
		}
	}
	p.AnyChargeback = slices.ContainsFunc(of, func(k known) bool { return k.state.Status == domain.StatusChargeback || k.state.Dispute == "open" })
	p.AnyRefund = slices.ContainsFunc(of, func(k known) bool { return k.state.Status == domain.StatusRefunded || k.state.Refunded.Minor > 0 })
	for i, a := range of {
		for _, b := range of[:i] {
			p.TwoApproved = p.GetTwoApproved() || overlap(a.state, b.state)
		}
	}
	for _, currency := range []string{"", "BRL", "USD"} {
		var sum comandav1.PurchaseSum
		paid, refunded := total(of, currency, func(s *order.State) domain.Amount { return s.Paid }), total(of, currency, func(s *order.State) domain.Amount { return s.Refunded })
		if paid.Known || refunded.Known {
			sum.Currency, sum.Paid, sum.Refunded = currency, wire.Amount(paid), wire.Amount(refunded)
			p.Sums = append(p.Sums, &sum)
		}
	}
	for _, k := range of {
		p.Orders = append(p.Orders, &comandav1.PurchaseOrder{
			OrderId: string(k.id), Status: wire.Status(k.state.Status), Currency: k.state.Currency, Paid: wire.Amount(k.state.Paid),
			Refunded: wire.Amount(k.state.Refunded), Dispute: k.state.Dispute, Items: codes(k.state), FirstRecordedAt: timestamppb.New(k.state.FirstRecordedAt),
		})
	}
	return p
}

func overlap(a, b *order.State) bool {
	return a.Status == domain.StatusApproved && b.Status == domain.StatusApproved &&
		slices.ContainsFunc(codes(a), func(code string) bool { return slices.Contains(codes(b), code) })
}

func codes(s *order.State) (out []string) {
	for _, item := range s.Items {
		name := item.Code
		if name == "" {
			name = item.Title
		}
		if name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func total(of []known, currency string, amount func(*order.State) domain.Amount) (sum domain.Amount) {
	for _, k := range of {
		if a := amount(k.state); a.Known && k.state.Currency == currency {
			sum = domain.Minor(sum.Minor + a.Minor)
		}
	}
	return sum
}

var (
	tenants    = []domain.TenantID{"loja", "outra"}
	references = []string{"", "EX1", "EX2", "EX3"}
)

// aFact draws one of few orders, references, items and currencies, so that they meet.
func aFact(t *rapid.T) (domain.TenantID, domain.Fact) {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	f := domain.Fact{
		Kind:     domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindFlagged)).Draw(t, "kind")),
		Provider: "comanda", ProviderOrderID: pick("order", "A", "B", "C", "D", "E"), Key: pick("key", "1", "2", "3"),
		OccurredAt: projectiontest.Epoch.Add(-time.Duration(rapid.IntRange(1, 60).Draw(t, "ago")) * time.Minute),
		Reference:  rapid.SampledFrom(references).Draw(t, "reference"),
		Amounts:    domain.Amounts{Currency: pick("currency", "", "BRL", "BRL", "USD")},
		Payment:    domain.Payment{PaymentID: pick("payment", "", "", "p1", "p2")},
	}
	amount := func(label string) domain.Amount {
		if n := rapid.IntRange(-1, 3).Draw(t, label); n >= 0 {
			return domain.Minor(int64(n) * 100)
		}
		return domain.Amount{}
	}
	switch f.Kind {
	case domain.KindApproved:
		f.Amounts.Paid = amount("paid")
	case domain.KindPartiallyRefunded, domain.KindRefunded:
		f.Amounts.Refunded = amount("refunded")
	default:
	}
	items := rapid.SampledFrom([]domain.Item{{Code: "x"}, {Code: "y", Title: "x"}, {Title: "z"}, {Quantity: 1}})
	f.Items = rapid.SliceOfN(items, 0, 2).Draw(t, "items")
	return rapid.SampledFrom(tenants).Draw(t, "tenant"), f
}

// TestEveryPurchaseIsThePlainRollUp holds the view to plain, whatever happened and
// however it was batched.
func TestEveryPurchaseIsThePlainRollUp(t *testing.T) {
	dir, n := t.TempDir(), 0
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		s := projectiontest.NewScript(2)
		for range rapid.IntRange(1, 40).Draw(rt, "events") {
			tenant, fact := aFact(rt)
			s.Record(t, tenant, fact)
		}
		batch := rapid.IntRange(1, 20).Draw(rt, "batch")
		s.Cut = func(n int) int { return min(n, batch) }
		n++
		f := projectiontest.Start(t, filepath.Join(dir, fmt.Sprint(n)), s, views, projectiontest.EachBatch)
		defer f.Close()
		f.Wait()
		f.Stop()
		view, all := purchases.New(f.File), folded(t, s)
		for _, tenant := range tenants {
			for _, reference := range references {
				got, found, err := view.Get(tenant, reference)
				want := plain(all, tenant, reference)
				if err != nil || found != (want != nil) {
					rt.Fatalf("%s %q: found %v, %v; want %v", tenant, reference, found, err, want)
				}
				if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
					rt.Fatalf("%s %q (-plain +view):\n%s", tenant, reference, diff)
				}
				seen["flags"] += count(want.GetAnyChargeback(), want.GetAnyRefund())
				seen["two approved"] += count(want.GetTwoApproved())
				seen["several"] += count(want.GetOrderCount() > 1)
			}
		}
		listed(rt, view.List, all)
		proven(rt, view, all)
		asItWas(rt, view, s)
	})
	for _, what := range []string{"flags", "two approved", "several"} {
		if seen[what] == 0 {
			t.Errorf("no purchase had %s: the test shows too little", what)
		}
	}
}

func count(of ...bool) (n int) {
	for _, b := range of {
		if b {
			n++
		}
	}
	return n
}

// listing is a way to list purchases.
type listing func(purchases.Filter, purchases.Page) ([]*comandav1.Purchase, string, error)

// listed compares pages with the plain way: all purchases, filtered and sorted.
func listed(t *rapid.T, list listing, all []known) {
	filter := purchases.Filter{
		Tenant: rapid.SampledFrom([]domain.TenantID{"", "loja", "outra", "outr"}).Draw(t, "of"),
		Within: rapid.SampledFrom(projectiontest.Limits()).Draw(t, "within"),
		Statuses: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) domain.Status {
			return domain.Status(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, "status"))
		}), 0, 3).Draw(t, "statuses"),
	}
	var want, got []*comandav1.Purchase
	for _, tenant := range tenants {
		for _, reference := range references {
			p := plain(all, tenant, reference)
			if p == nil || filter.Tenant != "" && filter.Tenant != tenant || filter.Within != nil && !slices.Contains(filter.Within, tenant) {
				continue
			}
			if s, _ := wire.FromStatus(p.GetStatus()); len(filter.Statuses) == 0 || slices.Contains(filter.Statuses, s) {
				p.Orders = nil
				want = append(want, p)
			}
		}
	}
	slices.SortFunc(want, func(a, b *comandav1.Purchase) int {
		return cmp.Or(cmp.Compare(b.GetTenant(), a.GetTenant()), b.GetNewestOrderAt().AsTime().Compare(a.GetNewestOrderAt().AsTime()))
	})
	size := rapid.IntRange(1, 4).Draw(t, "size")
	for token := ""; ; {
		page, next, err := list(filter, purchases.Page{Size: size, Token: token})
		if err != nil || len(page) > size {
			t.Fatalf("%d purchases on a page of %d, %v", len(page), size, err)
		}
		got = append(got, page...)
		if token = next; token == "" {
			break
		}
	}
	if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("filter %+v (-plain +pages):\n%s", filter, diff)
	}
}

// proven checks every order as verify does.
func proven(t *rapid.T, view *purchases.View, known []known) {
	rows, referred := map[domain.OrderID]*comandav1.Order{}, false
	for _, k := range known {
		referred = referred || k.state.Reference != ""
		problems, err := view.Check(k.id, k.state)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v, %v", k.id, problems, err)
		}
		rows[k.id] = &comandav1.Order{
			OrderId: string(k.id), Tenant: string(k.state.Identity.Tenant), Reference: k.state.Reference, Status: wire.Status(k.state.Status),
			Currency: k.state.Currency, Dispute: k.state.Dispute, Paid: wire.Amount(k.state.Paid), Refunded: wire.Amount(k.state.Refunded),
			FirstRecordedAt: timestamppb.New(k.state.FirstRecordedAt), FormerReferences: k.state.FormerReferences, Items: wire.Items(k.state.Items),
		}
	}
	var all, none purchases.Sums
	for _, row := range rows {
		all.Add(row)
		if problems, err := view.CheckRow(row); err != nil || len(problems) > 0 {
			t.Fatalf("%s: %v, %v", row.GetOrderId(), problems, err)
		}
	}
	if same, err := view.Same(&all); err != nil || !same {
		t.Fatalf("the sums of all are not the view's: %v", err)
	}
	if same, err := view.Same(&none); err != nil || same && referred {
		t.Fatalf("the sums of none are the view's: %v", err)
	}
	report := func(id domain.OrderID, problem string) { t.Fatalf("%s %s", id, problem) }
	row := func(id domain.OrderID) (*comandav1.Order, error) { return rows[id], nil }
	if err := view.CheckAll(row, report); err != nil {
		t.Fatal(err)
	}
}
