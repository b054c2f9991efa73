package sample_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/sample"
)

func TestPurchase(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := sample.Options{
			OrderID: rapid.StringMatching(`[A-Z0-9]{0,12}`).Draw(t, "order"), Seed: rapid.Uint64().Draw(t, "seed"),
			Total: rapid.Int64Range(0, 1<<40).Draw(t, "total"),
		}
		p := sample.New(o)
		if diff := cmp.Diff(p, sample.New(o)); diff != "" {
			t.Errorf("not a function of its options:\n%s", diff)
		}
		sum := p.Freight - p.Discount
		for _, item := range p.Items {
			sum += item.UnitPrice * item.Quantity
		}
		if sum != p.Total || p.Total <= 0 || o.Total > 0 && p.Total != o.Total {
			t.Errorf("items add up to %d, total is %d", sum, p.Total)
		}
		if _, valid := brazil.Document(p.Buyer.CPF); !valid {
			t.Errorf("CPF %s", p.Buyer.CPF)
		}
		if phone, ok := brazil.Phone(p.Buyer.MaskedPhone()); !ok || phone != p.Buyer.Phone {
			t.Errorf("phone %s, masked %s", p.Buyer.Phone, p.Buyer.MaskedPhone())
		}
		if !strings.HasPrefix(p.Buyer.Phone, "+5529") || !strings.HasSuffix(p.Buyer.Email, "@example.com") {
			t.Errorf("phone %s or address %s could be somebody's", p.Buyer.Phone, p.Buyer.Email)
		}
		for _, c := range p.Buyer.Email {
			if c > '~' {
				t.Errorf("address %s", p.Buyer.Email)
			}
		}
		if p.CreatedAt.After(p.ApprovedAt) || p.ApprovedAt.After(p.StatusAt) {
			t.Errorf("created %s, approved %s, status %s", p.CreatedAt, p.ApprovedAt, p.StatusAt)
		}
	})
}

func TestOneOrderHasOneBuyerInEveryStatus(t *testing.T) {
	at := time.Date(2026, time.May, 9, 12, 0, 0, 123, time.UTC)
	first := sample.New(sample.Options{Status: "pending", OrderID: "A", At: at})
	later := sample.New(sample.Options{Status: "approved", OrderID: "A", At: at.Add(time.Hour)})
	if diff := cmp.Diff(first.Buyer, later.Buyer); diff != "" || first.Total != later.Total {
		t.Errorf("total %d and %d, buyers:\n%s", first.Total, later.Total, diff)
	}
	other := sample.New(sample.Options{Status: "pending", OrderID: "B", At: at})
	if other.Buyer == first.Buyer {
		t.Errorf("two orders of %v", other.Buyer)
	}
}

func TestGivenDatesAreKept(t *testing.T) {
	created := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	o := sample.Options{CreatedAt: created, ApprovedAt: created.Add(time.Hour), At: created.Add(2 * time.Hour)}
	p := sample.New(o)
	if !p.CreatedAt.Equal(o.CreatedAt) || !p.ApprovedAt.Equal(o.ApprovedAt) || !p.StatusAt.Equal(o.At) {
		t.Errorf("dates %s, %s, %s", p.CreatedAt, p.ApprovedAt, p.StatusAt)
	}
}
