package asof_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(reader projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(reader), []projections.Projection{orders.New(reader), purchases.New(reader)}
}

// aFact draws one of few orders, dates and references, so that they meet.
func aFact(t *rapid.T) (domain.TenantID, domain.Fact) {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	return domain.TenantID(pick("tenant", "loja", "outra")), domain.Fact{
		Kind:     domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindFlagged)).Draw(t, "kind")),
		Provider: pick("provider", "comanda", "aprovei"), ProviderOrderID: pick("order", "A", "B", "C"), Key: pick("key", "1", "2", "3"),
		OccurredAt: projectiontest.Epoch.Add(-time.Duration(rapid.IntRange(0, 9).Draw(t, "ago")) * time.Minute),
		Reference:  pick("reference", "", "EX1", "EX2"),
		Amounts:    domain.Amounts{Currency: "BRL", Paid: domain.Minor(100)},
	}
}

// world is a script, and the views of it.
type world struct {
	*projectiontest.Script

	reader *asof.Reader
}

// fold is the row that some of an order's events make, as if there had been no others;
// nil of none.
func (w *world) fold(t *rapid.T, all, some []domain.Event) *comandav1.Order {
	var h *order.History
	for i := range some {
		e := some[i]
		e.Revision = uint64(i + 1)
		var err error
		if h, err = h.With(&e); err != nil {
			t.Fatal(err)
		}
	}
	if h == nil {
		return nil
	}
	row := orders.Row(all[0].OrderID, all[0].Source, order.Default().Fold(h))
	row.FirstRecordedAt = timestamppb.New(all[0].RecordedAt) // of the order, whatever the moment
	return row
}

// then are the rows of all orders by a rule of which events count.
func (w *world) then(t *rapid.T, counts func(e *domain.Event) bool) (rows []*comandav1.Order) {
	for _, all := range w.Events() {
		some := slices.DeleteFunc(slices.Clone(all), func(e domain.Event) bool { return !counts(&e) })
		if row := w.fold(t, all, some); row != nil {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b *comandav1.Order) int {
		return cmp.Or(b.GetFirstRecordedAt().AsTime().Compare(a.GetFirstRecordedAt().AsTime()), cmp.Compare(b.GetOrderId(), a.GetOrderId()))
	})
	return rows
}

func (w *world) wantOrder(t *rapid.T, id domain.OrderID, m asof.Moment, want *comandav1.Order) {
	got, found, err := w.reader.Order(t.Context(), id, m)
	if err != nil || found != (want != nil) {
		t.Fatalf("%s as of %+v: found %v, %v; want %v", id, m, found, err, want)
	}
	if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s as of %+v (-fold +view):\n%s", id, m, diff)
	}
}

// TestThePastIsAFoldOfItsEvents asks of every order at every revision and at every
// time that anything was recorded or happened, exactly then and a nanosecond before.
func TestThePastIsAFoldOfItsEvents(t *testing.T) {
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{Script: projectiontest.NewScript(2)}
		for range rapid.IntRange(1, 15).Draw(rt, "events") {
			tenant, fact := aFact(rt)
			w.Record(t, tenant, fact)
		}
		n++
		f := projectiontest.Start(t, filepath.Join(dir, fmt.Sprint(n)), w.Script, views, projections.Config{})
		defer f.Close()
		f.Wait()
		f.Stop()
		w.reader = asof.New(f.File)
		for id, all := range w.Events() {
			w.wantOrder(rt, id, asof.Revision(0), nil)
			w.wantOrder(rt, id, asof.Revision(uint64(len(all)+1)), nil)
			for i, e := range all {
				w.wantOrder(rt, id, asof.Revision(e.Revision), w.fold(rt, all, all[:i+1]))
				w.wantOrder(rt, id, asof.KnownAt(e.RecordedAt), w.fold(rt, all, all[:i+1]))
				w.wantOrder(rt, id, asof.KnownAt(e.RecordedAt.Add(-1)), w.fold(rt, all, all[:i]))
				for _, at := range []time.Time{e.EffectiveAt, e.EffectiveAt.Add(-1)} {
					some := slices.DeleteFunc(slices.Clone(all), func(e domain.Event) bool { return e.EffectiveAt.After(at) })
					w.wantOrder(rt, id, asof.OccurredAt(at), w.fold(rt, all, some))
				}
			}
		}
		second := projectiontest.Epoch.Add(time.Duration(rapid.IntRange(0, 14).Draw(rt, "second")) * time.Second)
		w.wantList(rt, asof.KnownAt(second), w.then(rt, func(e *domain.Event) bool { return !e.RecordedAt.After(second) }))
		minute := projectiontest.Epoch.Add(-time.Duration(rapid.IntRange(0, 9).Draw(rt, "minute")) * time.Minute)
		w.wantList(rt, asof.OccurredAt(minute), w.then(rt, func(e *domain.Event) bool { return !e.EffectiveAt.After(minute) }))
	})
}

// wantList reads a list page by page, without and with a drawn filter, and holds it to
// rows.
func (w *world) wantList(t *rapid.T, m asof.Moment, rows []*comandav1.Order) {
	filter := orders.Filter{
		Tenant:    rapid.SampledFrom([]domain.TenantID{"", "", "loja", "outra", "outr"}).Draw(t, "of"),
		Within:    rapid.SampledFrom(projectiontest.Limits()).Draw(t, "within"),
		Source:    rapid.SampledFrom([]domain.SourceID{"", "", "comanda-in"}).Draw(t, "source"),
		Reference: rapid.SampledFrom([]string{"", "", "EX1", "EX2"}).Draw(t, "reference"),
		Statuses: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) domain.Status {
			return domain.Status(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, "status"))
		}), 0, 3).Draw(t, "statuses"),
		ProviderOrderID: rapid.SampledFrom([]string{"", "", "A", "Z"}).Draw(t, "provider order id"),
		Attention:       rapid.SampledFrom([]bool{false, false, true}).Draw(t, "attention"),
	}
	w.wantPages(t, m, orders.Filter{}, slices.Clone(rows))
	w.wantPages(t, m, filter, rows)
}

func (w *world) wantPages(t *rapid.T, m asof.Moment, filter orders.Filter, rows []*comandav1.Order) {
	want := slices.DeleteFunc(rows, func(o *comandav1.Order) bool {
		status, _ := wire.FromStatus(o.GetStatus())
		return filter.Within != nil && !slices.Contains(filter.Within, domain.TenantID(o.GetTenant())) ||
			filter.Tenant != "" && o.GetTenant() != string(filter.Tenant) ||
			filter.Source != "" && o.GetSource() != string(filter.Source) ||
			filter.Reference != "" && o.GetReference() != filter.Reference ||
			filter.ProviderOrderID != "" && o.GetProviderOrderId() != filter.ProviderOrderID ||
			filter.Attention && len(o.GetAttention()) == 0 && len(o.GetConflicts()) == 0 ||
			len(filter.Statuses) > 0 && !slices.Contains(filter.Statuses, status)
	})
	var got []*comandav1.Order
	size := rapid.IntRange(1, 4).Draw(t, "size")
	for token := ""; ; {
		page, next, err := w.reader.Orders(t.Context(), filter, m, orders.Page{Size: size, Token: token})
		if err != nil || len(page) > size {
			t.Fatalf("%d orders on a page of %d, %v", len(page), size, err)
		}
		got = append(got, page...)
		if token = next; token == "" {
			break
		}
	}
	if diff := gocmp.Diff(slices.Clip(want), got, protocmp.Transform(), equateEmpty); diff != "" {
		t.Fatalf("filter %+v as of %+v (-folds +pages):\n%s", filter, m, diff)
	}
}

var equateEmpty = gocmp.FilterValues(func(a, b []*comandav1.Order) bool { return len(a)+len(b) == 0 }, gocmp.Ignore())

// TestPagesOfThePastStayOfThePast goes on with a list after its orders have changed and
// others have come: it is what it would have been.
func TestPagesOfThePastStayOfThePast(t *testing.T) {
	s := projectiontest.NewScript(1)
	s.Fill(t, 7, 30, 120)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projections.Config{})
	defer f.Close()
	f.Wait()
	reader, m := asof.New(f.File), asof.KnownAt(projectiontest.Epoch.Add(time.Minute))
	read := func(token string) ([]*comandav1.Order, []*comandav1.Purchase, string, string) {
		rows, next, err := reader.Orders(t.Context(), orders.Filter{}, m, orders.Page{Size: 7, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		found, nextPurchase, err := reader.Purchases(t.Context(), purchases.Filter{}, m, purchases.Page{Size: 7})
		if err != nil {
			t.Fatal(err)
		}
		return rows, found, next, nextPurchase
	}
	first, _, token, _ := read("")
	second, some, next, nextPurchase := read(token)
	if len(first) != 7 || len(second) != 7 || len(some) == 0 || next == "" {
		t.Fatalf("pages of %d and %d orders, and %d purchases", len(first), len(second), len(some))
	}
	s.Fill(t, 8, 60, 200)
	f.Wait()
	again, same, nextAgain, nextPurchaseAgain := read(token)
	if diff := gocmp.Diff(second, again, protocmp.Transform()); diff != "" || next != nextAgain {
		t.Errorf("the second page (-before +after):\n%s", diff)
	}
	if diff := gocmp.Diff(some, same, protocmp.Transform()); diff != "" || nextPurchase != nextPurchaseAgain {
		t.Errorf("purchases (-before +after):\n%s", diff)
	}
	_, _, err := reader.Orders(t.Context(), orders.Filter{}, asof.KnownAt(projectiontest.Epoch), orders.Page{Size: 7, Token: token})
	if domain.KindOf(err) != domain.Invalid || err == nil {
		t.Errorf("a token of another moment: %v, want one of kind invalid", err)
	}
	purchase := some[0]
	got, found, err := reader.Purchase(t.Context(), domain.TenantID(purchase.GetTenant()), purchase.GetReference(), m)
	if err != nil || !found || got.GetStatus() != purchase.GetStatus() || len(got.GetOrders()) != int(purchase.GetOrderCount()) {
		t.Errorf("the purchase alone: %v, %v; in the list %v", got, err, purchase)
	}
}
