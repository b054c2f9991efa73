package purchases_test

import (
	"encoding/base64"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/purchases"
)

func built(t *testing.T, s *projectiontest.Script) *purchases.View {
	t.Helper()
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, views, projections.Config{})
	f.Wait()
	f.Stop()
	return purchases.New(f.File)
}

// TestAManyTimesUsedReferenceIsReadInBoundedPages: a merchant may give every
// order the same reference.
func TestAManyTimesUsedReferenceIsReadInBoundedPages(t *testing.T) {
	s := projectiontest.NewScript(1)
	record := func(id, reference string) {
		s.Record(t, "loja", domain.Fact{Kind: domain.KindStarted, Provider: "onprofit", ProviderOrderID: id, Key: "k", Reference: reference})
	}
	record("first", "EX1")
	const started = 5_100
	for n := range started {
		record(fmt.Sprint(n), "facebook")
	}
	view := built(t, s)
	p, found, err := view.Get("loja", "facebook")
	if err != nil || !found || p.GetOrderCount() != started || len(p.GetOrders()) != 1000 {
		t.Fatalf("%d orders, %d of them listed, %v", p.GetOrderCount(), len(p.GetOrders()), err)
	}
	page, next, err := view.List(purchases.Filter{}, purchases.Page{Size: 10})
	if err != nil || len(page) != 1 || page[0].GetOrderCount() != started || next == "" {
		t.Fatalf("first page = %v, next %q, %v", page, next, err)
	}
	pages := 0
	for ; next != ""; pages++ {
		if page, next, err = view.List(purchases.Filter{}, purchases.Page{Size: 10, Token: next}); err != nil {
			t.Fatal(err)
		}
	}
	if len(page) != 1 || page[0].GetReference() != "EX1" || pages != 2 {
		t.Errorf("the last of %d pages = %v", pages, page)
	}
}

func TestATokenIsBoundToItsRequest(t *testing.T) {
	s := projectiontest.NewScript(2)
	s.Fill(t, 3, 40, 400)
	view := built(t, s)
	filter := purchases.Filter{Tenant: "loja"}
	_, token, err := view.List(filter, purchases.Page{Size: 1})
	if err != nil || token == "" {
		t.Fatalf("token = %q, %v", token, err)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	newer := slices.Clone(decoded)
	newer[0]++
	for name, c := range map[string]struct {
		filter purchases.Filter
		token  string
	}{
		"another tenant":  {purchases.Filter{Tenant: "outra"}, token},
		"a status":        {purchases.Filter{Tenant: "loja", Statuses: []domain.Status{domain.StatusPending}}, token},
		"not base64":      {filter, "!!"},
		"cut short":       {filter, base64.RawURLEncoding.EncodeToString(decoded[:17])},
		"another version": {filter, base64.RawURLEncoding.EncodeToString(newer)},
	} {
		if _, _, err := view.List(c.filter, purchases.Page{Size: 1, Token: c.token}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: error = %v, want one of kind invalid", name, err)
		}
	}
}
