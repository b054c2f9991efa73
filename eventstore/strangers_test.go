package eventstore_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
)

// After a restart no order is in memory. One is taken for new and is not; then the
// others are looked up, until most are new again.
func TestOldOrdersAreLookedUpAfterTheFirstSurprise(t *testing.T) {
	const orders = 60
	conn, dir := natstest.Node(t, t.TempDir()).Conn(), t.TempDir()
	before := open(t, conn, dir, eventstore.Config{}, eventstore.RecorderConfig{})
	for n := range orders {
		record(t, before, fact(n, 0, domain.KindPending))
	}
	registry := prometheus.NewRegistry()
	after := open(t, conn, dir, eventstore.Config{Registerer: registry}, eventstore.RecorderConfig{})
	for n := range orders {
		if out := record(t, after, fact(n, 1, domain.KindApproved)); out[0].Revision != 2 {
			t.Errorf("order %d: %+v, want revision 2", n, out)
		}
	}
	if got := conflicts(t, registry); got != 1 {
		t.Errorf("%v conflicts, want that of the first order", got)
	}
	for n := range orders { // new ones: they are not looked up for ever
		record(t, after, fact(orders+n, 0, domain.KindPending))
	}
	record(t, before, fact(2*orders, 0, domain.KindPending))
	record(t, after, fact(2*orders, 1, domain.KindApproved))
	if got := conflicts(t, registry); got != 2 {
		t.Errorf("%v conflicts, want one more: after so many new orders one is taken for new", got)
	}
	wantSound(t, after, 3*orders+2)
}

// A thousand clients begin to look up before the first of them is done: the orders
// that turn out new beyond those to look up do not hide the next surprises.
func TestASurpriseCountsAfterManyLookUpsAtOnce(t *testing.T) {
	var s eventstore.Strangers
	s.Surprise()
	if !s.LookUp() {
		t.Fatal("nothing is looked up after a surprise")
	}
	for range 1000 {
		s.Found(false)
	}
	if s.LookUp() {
		t.Error("orders are looked up for ever")
	}
	s.Surprise()
	if !s.LookUp() {
		t.Error("nothing is looked up after the next surprise")
	}
}

func conflicts(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "comanda_eventstore_redecided_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no such metric")
	return 0
}
