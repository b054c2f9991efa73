package orders_test

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// filled is a view of many orders, which nothing changes any more.
func filled(t *testing.T) (*orders.View, *projectiontest.Script) {
	t.Helper()
	s := projectiontest.NewScript(4)
	s.Fill(t, 3, 60, 900)
	return orders.New(built(t, s).File), s
}

func built(t *testing.T, s *projectiontest.Script) *projectiontest.Follower {
	t.Helper()
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projections.Config{})
	f.Wait()
	f.Stop()
	return f
}

// every row of the view, the last recorded first.
func every(t *testing.T, view *orders.View) []*comandav1.Order {
	t.Helper()
	var rows []*comandav1.Order
	err := view.Orders(func(id domain.OrderID) error {
		row, _, err := view.Get(id)
		rows = append(rows, row)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b *comandav1.Order) int {
		return cmp.Or(b.GetRecordedAt().AsTime().Compare(a.GetRecordedAt().AsTime()), cmp.Compare(b.GetOrderId(), a.GetOrderId()))
	})
	return rows
}

// TestPagesAreTheWholeListInOrder compares pages with the plain way: all rows,
// filtered and sorted.
func TestPagesAreTheWholeListInOrder(t *testing.T) {
	view, _ := filled(t)
	all := every(t, view)
	byFirst := slices.Clone(all)
	slices.SortFunc(byFirst, func(a, b *comandav1.Order) int {
		return cmp.Or(b.GetFirstRecordedAt().AsTime().Compare(a.GetFirstRecordedAt().AsTime()), cmp.Compare(b.GetOrderId(), a.GetOrderId()))
	})
	// at is a time at, before or after some recording, or none.
	at := rapid.Custom(func(t *rapid.T) time.Time {
		row := rapid.SampledFrom(all).Draw(t, "row")
		return rapid.SampledFrom([]time.Time{
			{},
			{},
			row.GetRecordedAt().AsTime(), row.GetFirstRecordedAt().AsTime(),
			row.GetRecordedAt().AsTime().Add(1), row.GetFirstRecordedAt().AsTime().Add(-1),
			time.Unix(0, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		}).Draw(t, "at")
	})
	references := []string{"", "", ""}
	for _, row := range all {
		references = append(references, row.GetReference())
	}
	references = append(references, "none has it")
	rapid.Check(t, func(t *rapid.T) {
		filter := orders.Filter{
			Tenant:    rapid.SampledFrom([]domain.TenantID{"", "loja", "outra", "outr", "nobody"}).Draw(t, "tenant"),
			Within:    rapid.SampledFrom(projectiontest.Limits()).Draw(t, "within"),
			Source:    rapid.SampledFrom([]domain.SourceID{"", "", "comanda-in", "comanda-i"}).Draw(t, "source"),
			Reference: rapid.SampledFrom(references).Draw(t, "reference"),
			Attention: rapid.Bool().Draw(t, "attention"),

			ProviderOrderID: rapid.SampledFrom([]string{"", "", "A-1", "A-2", "A"}).Draw(t, "provider order id"),
			Statuses: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) domain.Status {
				return domain.Status(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, "status"))
			}), 0, 4).Draw(t, "statuses"),
			Recorded: orders.Span{From: at.Draw(t, "from"), Before: at.Draw(t, "before")},
			First:    orders.Span{From: at.Draw(t, "first from"), Before: at.Draw(t, "first before")},
			Sort: orders.Sort{
				By:        rapid.SampledFrom([]orders.SortBy{orders.SortBest, orders.SortRecorded, orders.SortFirst}).Draw(t, "by"),
				Ascending: rapid.Bool().Draw(t, "ascending"),
			},
		}
		if rapid.Bool().Draw(t, "where") {
			filter.Where = func(row *comandav1.Order) (bool, error) { return row.GetRevision()%2 == 0, nil }
		}
		size := rapid.IntRange(1, 50).Draw(t, "size")
		var want, got []string
		in := slices.Clone(all)
		if filter.Sort.By == orders.SortFirst || filter.Sort.By == orders.SortBest && filter.ProviderOrderID != "" {
			in = slices.Clone(byFirst)
		}
		if filter.Sort.Ascending && filter.Sort.By != orders.SortBest {
			slices.Reverse(in)
		}
		for _, row := range in {
			if matches(filter, row) {
				want = append(want, row.GetOrderId())
			}
		}
		for token := ""; ; {
			rows, next, err := view.List(filter, orders.Page{Size: size, Token: token})
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) > size {
				t.Fatalf("%d rows on a page of %d", len(rows), size)
			}
			for _, row := range rows {
				got = append(got, row.GetOrderId())
			}
			if token = next; token == "" {
				break
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("filter %+v (-want +got):\n%s", filter, diff)
		}
	})
}

func matches(f orders.Filter, row *comandav1.Order) bool {
	in := func(s orders.Span, at time.Time) bool {
		return (s.From.IsZero() || !s.From.After(at)) && (s.Before.IsZero() || s.Before.After(at))
	}
	status, _ := wire.FromStatus(row.GetStatus())
	return (f.Within == nil || slices.Contains(f.Within, domain.TenantID(row.GetTenant()))) &&
		(f.Tenant == "" || string(f.Tenant) == row.GetTenant()) &&
		(f.Source == "" || string(f.Source) == row.GetSource()) &&
		(f.Reference == "" || f.Reference == row.GetReference()) &&
		(f.ProviderOrderID == "" || f.ProviderOrderID == row.GetProviderOrderId()) &&
		in(f.Recorded, row.GetRecordedAt().AsTime()) && in(f.First, row.GetFirstRecordedAt().AsTime()) &&
		(f.Where == nil || row.GetRevision()%2 == 0) &&
		(!f.Attention || len(row.GetAttention())+len(row.GetConflicts()) > 0) &&
		(len(f.Statuses) == 0 || slices.Contains(f.Statuses, status))
}

func TestATokenIsBoundToItsRequest(t *testing.T) {
	view, _ := filled(t)
	filter := orders.Filter{Tenant: "loja", Statuses: []domain.Status{domain.StatusApproved, domain.StatusRefunded}}
	_, token, err := view.List(filter, orders.Page{Size: 1})
	if err != nil || token == "" {
		t.Fatalf("token = %q, %v", token, err)
	}
	same := filter
	same.Statuses = []domain.Status{domain.StatusRefunded, domain.StatusApproved, domain.StatusRefunded}
	if _, _, err := view.List(same, orders.Page{Size: 5, Token: token}); err != nil {
		t.Errorf("the same statuses in another order: %v", err)
	}
	others := map[string]orders.Filter{
		"another tenant":   {Tenant: "outra", Statuses: filter.Statuses},
		"fewer statuses":   {Tenant: "loja", Statuses: filter.Statuses[:1]},
		"more than before": {Tenant: "loja", Statuses: filter.Statuses, Reference: "EX001"},
		"no filter":        {},
		"attention":        {Tenant: "loja", Statuses: filter.Statuses, Attention: true},
		"a source":         {Tenant: "loja", Statuses: filter.Statuses, Source: "s"},
		"a condition":      {Tenant: "loja", Statuses: filter.Statuses, Written: "total > 1"},
		"a time":           {Tenant: "loja", Statuses: filter.Statuses, Recorded: orders.Span{From: time.Unix(1, 0)}},
		"an order":         {Tenant: "loja", Statuses: filter.Statuses, Sort: orders.Sort{By: orders.SortRecorded}},
		"upwards":          {Tenant: "loja", Statuses: filter.Statuses, Sort: orders.Sort{By: orders.SortRecorded, Ascending: true}},
		"an id":            {Tenant: "loja", Statuses: filter.Statuses, ProviderOrderID: "s"},
	}
	for name, other := range others {
		if _, _, err := view.List(other, orders.Page{Size: 1, Token: token}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: error = %v, want one of kind invalid", name, err)
		}
	}
	decoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.Clone(decoded)
	newer[0]++
	for name, bad := range map[string]string{
		"not base64":      "!!",
		"cut short":       token[:len(token)-4],
		"another version": base64.RawURLEncoding.EncodeToString(newer),
	} {
		if _, _, err := view.List(filter, orders.Page{Size: 1, Token: bad}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: error = %v, want one of kind invalid", name, err)
		}
	}
}

// TestAManyTimesUsedReferenceIsReadInBoundedPages: a merchant may give every
// order the same reference.
func TestAManyTimesUsedReferenceIsReadInBoundedPages(t *testing.T) {
	s := projectiontest.NewScript(1)
	const started = 5_100
	s.Record(t, "loja", domain.Fact{
		Kind: domain.KindApproved, Provider: "onprofit", ProviderOrderID: "first", Key: "k", Reference: "facebook",
	})
	for n := range started {
		s.Record(t, "loja", domain.Fact{
			Kind: domain.KindStarted, Provider: "onprofit", ProviderOrderID: fmt.Sprint(n), Key: "k", Reference: "facebook",
		})
	}
	view := orders.New(built(t, s).File)
	filter := orders.Filter{Reference: "facebook", Statuses: []domain.Status{domain.StatusApproved}}
	rows, next, err := view.List(filter, orders.Page{Size: 10})
	if err != nil || len(rows) != 0 || next == "" {
		t.Fatalf("first page = %d rows, next %q, %v; want none and a next one", len(rows), next, err)
	}
	rows, next, err = view.List(filter, orders.Page{Size: 10, Token: next})
	if err != nil || len(rows) != 1 || next != "" || rows[0].GetProviderOrderId() != "first" {
		t.Fatalf("second page = %v, next %q, %v; want the approved order", rows, next, err)
	}
}
