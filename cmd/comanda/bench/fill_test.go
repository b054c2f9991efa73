package bench_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
)

// TestFillMakesASoundLog fills two partitions with more orders than are open at a
// time; what is there must be what was asked for, and hold together.
func TestFillMakesASoundLog(t *testing.T) {
	const events = 3001
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	vault, err := privacy.Open(t.Context(), node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek")})
	if err != nil {
		t.Fatal(err)
	}
	running, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- vault.Run(running) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Partitions: 2, Vault: vault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	orders, err := bench.Fill(t.Context(), bench.FillConfig{
		Log: log, Vault: vault, Machine: order.Default(), Events: events, Until: time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := log.Verify(t.Context(), eventstore.VerifyOptions{Order: func(o eventstore.VerifiedOrder) error {
		if n := o.State.Status.String(); n == "none" || n == "started" {
			t.Errorf("order %s ends %s", o.ID, n)
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if report.Events != events || report.Orders != uint64(orders) || report.ProblemCount != 0 {
		t.Errorf("%d events of %d orders, want %d of %d; problems %v", report.Events, report.Orders, events, orders, report.Problems)
	}
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := bench.LogOf(t.Context(), js)
	if err != nil || stored.Events != events || stored.Orders != orders || stored.Partitions != 2 || stored.MessageBytes() < 1000 {
		t.Errorf("the server says %+v, %v", stored, err)
	}
}
