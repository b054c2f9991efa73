package purchases_test

import (
	"cmp"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/purchases"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// asItWas holds the view to the plain roll-up of what was recorded by some time.
func asItWas(t *rapid.T, view *purchases.View, s *projectiontest.Script) {
	at := projectiontest.Epoch.Add(time.Duration(rapid.IntRange(-1, 40).Draw(t, "second")) * time.Second)
	states := statesAt(t, s, at)
	all := make([]known, 0, len(states))
	for id, state := range states {
		all = append(all, known{id, state})
	}
	slices.SortFunc(all, func(a, b known) int {
		return cmp.Or(b.state.FirstRecordedAt.Compare(a.state.FirstRecordedAt), cmp.Compare(b.id, a.id))
	})
	past := purchases.Past{
		Written: "then", Order: func(_ *kv.Tx, id domain.OrderID) (*order.State, error) { return states[id], nil },
	}
	if rapid.Bool().Draw(t, "bounded") {
		past.Until = at
	}
	for _, tenant := range tenants {
		for _, reference := range references {
			got, found, err := view.GetPast(tenant, reference, past)
			want := plain(all, tenant, reference)
			if err != nil || found != (want != nil) {
				t.Fatalf("%s %q then: found %v, %v; want %v", tenant, reference, found, err, want)
			}
			if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Fatalf("%s %q then (-plain +view):\n%s", tenant, reference, diff)
			}
		}
	}
	listed(t, func(f purchases.Filter, page purchases.Page) ([]*comandav1.Purchase, string, error) {
		return view.ListPast(f, past, page)
	}, all)
}

// statesAt are the orders, each the fold of what was recorded of it by a time.
func statesAt(t *rapid.T, s *projectiontest.Script, at time.Time) map[domain.OrderID]*order.State {
	states := map[domain.OrderID]*order.State{}
	for id, events := range s.Events() {
		var h *order.History
		for i := range events {
			if events[i].RecordedAt.After(at) {
				break
			}
			var err error
			if h, err = h.With(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
		if h != nil {
			states[id] = order.Default().Fold(h)
		}
	}
	return states
}
