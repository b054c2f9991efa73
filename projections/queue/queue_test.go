package queue_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/attention"
	"comanda.internal/projections/conflicts"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/queue"
	"comanda.internal/projections/timeline"
	"comanda.internal/proto/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(r projections.Reader) (projections.Facts, []projections.Projection) {
	return timeline.New(r), []projections.Projection{conflicts.New(r), attention.New(r), orders.New(r)}
}

func TestConformance(t *testing.T) { projectiontest.Run(t, views) }

// waits is what a test compares of an item.
type waits struct {
	Tenant     domain.TenantID
	RecordedAt int64
	Order      domain.OrderID
	Event      domain.EventID
	Kind, Fact string
	Status     string
}

// plain is what waits of every order, said plainly from its facts.
func plain(t *testing.T, s *projectiontest.Script, most string) (all []waits) {
	t.Helper()
	for id, events := range s.Events() {
		var h *order.History
		byID := map[domain.EventID]*domain.Event{}
		for i := range events {
			var err error
			if h, err = h.With(&events[i]); err != nil {
				t.Fatal(err)
			}
			byID[events[i].ID] = &events[i]
		}
		state := order.Default().Fold(h)
		add := func(kind string, event domain.EventID) {
			e := byID[event]
			all = append(all, waits{e.Tenant, e.RecordedAt.UnixNano(), id, event, kind, e.Fact.Kind.String(), state.Status.String()})
		}
		for _, event := range state.Conflicts {
			add(conflicts.Kind, event)
		}
		if most == conflicts.Kind {
			continue
		}
		for _, a := range state.Attention {
			add(a.Kind, a.Event)
		}
	}
	slices.SortFunc(all, func(a, b waits) int {
		return cmp.Or(cmp.Compare(b.Tenant, a.Tenant), cmp.Compare(b.RecordedAt, a.RecordedAt),
			cmp.Compare(b.Order, a.Order), cmp.Compare(b.Event, a.Event), cmp.Compare(b.Kind, a.Kind))
	})
	return all
}

func read(t *rapid.T, view *queue.View, filter queue.Filter, size int) (all []waits) {
	for token := ""; ; {
		page, next, err := view.List(filter, queue.Page{Size: size, Token: token})
		if err != nil || len(page) > size {
			t.Fatalf("%d items on a page of %d, %v", len(page), size, err)
		}
		for _, i := range page {
			all = append(all, waits{
				domain.TenantID(i.GetTenant()), i.GetRecordedAt().AsTime().UnixNano(), domain.OrderID(i.GetOrderId()), domain.EventID(i.GetEventId()),
				i.GetKind(), wire.Word(i.GetFactKind()), wire.Word(i.GetStatus()),
			})
		}
		if token = next; token == "" {
			return all
		}
	}
}

// TestQueuesAreWhatWaitsNow compares pages with the plain way, after a history in
// which conflicts and attention came up and were settled.
func TestQueuesAreWhatWaitsNow(t *testing.T) {
	s := projectiontest.NewScript(4)
	s.Fill(t, 5, 60, 900)
	for i, w := range plain(t, s, conflicts.Kind)[:10] { // an operator's words
		known := s.Events()[w.Order][0].Fact
		s.Record(t, w.Tenant, domain.Fact{
			Kind: domain.KindResolved, Provider: known.Provider, Account: known.Account, ProviderOrderID: known.ProviderOrderID, Key: fmt.Sprint("word", i),
			Resolution: &domain.Resolution{Event: w.Event, Action: domain.ActionReject},
		})
	}
	s.Cut = func(n int) int { return min(n, 7) }
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projectiontest.EachBatch)
	f.Wait()
	f.Stop()
	stored, closed := 0, 0
	for _, events := range s.Events() {
		for i := range events {
			stored += len(events[i].Opens)
			closed += len(events[i].Closes)
		}
	}
	contradictions, all := plain(t, s, conflicts.Kind), plain(t, s, "")
	if stored == 0 || closed == 0 || len(contradictions) != stored-closed || len(all) <= len(contradictions) {
		t.Fatalf("%d conflicts came up and %d were settled, %d are open, %d items in all: the test shows too little",
			stored, closed, len(contradictions), len(all))
	}
	kinds := []string{"nothing"}
	for _, w := range all {
		kinds = append(kinds, w.Kind)
	}
	rapid.Check(t, func(t *rapid.T) {
		filter := queue.Filter{
			Tenant: rapid.SampledFrom([]domain.TenantID{"", "loja", "outra", "outr"}).Draw(t, "tenant"),
			Within: rapid.SampledFrom(projectiontest.Limits()).Draw(t, "within"),
			Kinds:  rapid.SliceOfN(rapid.SampledFrom(kinds), 0, 2).Draw(t, "kinds"),
		}
		matches := func(of []waits) (out []waits) {
			for _, w := range of {
				if (filter.Within == nil || slices.Contains(filter.Within, w.Tenant)) && (filter.Tenant == "" || filter.Tenant == w.Tenant) && (len(filter.Kinds) == 0 || slices.Contains(filter.Kinds, w.Kind)) {
					out = append(out, w)
				}
			}
			return out
		}
		size := rapid.IntRange(1, 30).Draw(t, "size")
		if diff := gocmp.Diff(matches(all), read(t, attention.New(f.File), filter, size)); diff != "" {
			t.Fatalf("attention %+v (-plain +pages):\n%s", filter, diff)
		}
		if diff := gocmp.Diff(matches(contradictions), read(t, conflicts.New(f.File), filter, size)); diff != "" {
			t.Fatalf("conflicts %+v (-plain +pages):\n%s", filter, diff)
		}
	})
	_, token, err := attention.New(f.File).List(queue.Filter{Tenant: "loja"}, queue.Page{Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	for name, filter := range map[string]queue.Filter{"another tenant": {Tenant: "outra"}, "a kind": {Tenant: "loja", Kinds: kinds[1:2]}} {
		if _, _, err := attention.New(f.File).List(filter, queue.Page{Size: 1, Token: token}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("a token of a request with %s: %v, want an error of kind invalid", name, err)
		}
	}
}
