package order_test

import (
	"fmt"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// histories are of so many facts, as they come: a sale, paid, with news after it.
func benchHistory(b *testing.B, facts int) *order.History {
	b.Helper()
	var h *order.History
	kinds := []domain.Kind{
		domain.KindStarted, domain.KindPending, domain.KindApproved, domain.KindDetails, domain.KindPartiallyRefunded,
	}
	for i := range facts {
		fact := plain(kinds[i%len(kinds)], fmt.Sprint(i), i)
		fact.Reference, fact.Payment.Method, fact.Amounts.Currency = "EX001", "pix", "BRL"
		fact.Amounts.Total, fact.Amounts.Paid = domain.Minor(12_000), domain.Minor(12_000)
		h = decide(b, h, fact, meta(later)).History
	}
	return h
}

// BenchmarkDecide decides one more fact on orders of a few sizes: two folds, an
// id, a digest.
func BenchmarkDecide(b *testing.B) {
	for _, facts := range []int{0, 3, 10, 100, 999} {
		b.Run(fmt.Sprintf("%d_facts", facts), func(b *testing.B) {
			h := benchHistory(b, facts)
			fact, m := plain(domain.KindRefunded, "last", facts), meta(later)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := order.Default().Decide(h, fact, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFold folds alone, as readers do.
func BenchmarkFold(b *testing.B) {
	for _, facts := range []int{3, 10, 100} {
		b.Run(fmt.Sprintf("%d_facts", facts), func(b *testing.B) {
			h := benchHistory(b, facts)
			b.ReportAllocs()
			for b.Loop() {
				if order.Default().Fold(h).Revision == 0 {
					b.Fatal("no order")
				}
			}
		})
	}
}

// BenchmarkNew compiles the machine: every question asked of looplab.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := order.New(order.DefaultTable()); err != nil {
			b.Fatal(err)
		}
	}
}
