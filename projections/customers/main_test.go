package customers_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections/customers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spawn runs run until stop, or the test's end.
func spawn(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		must(t, <-ended)
	}
	t.Cleanup(stop)
	return stop
}

// store is a real log on an embedded server, with its keys.
type store struct {
	t        *testing.T
	dir      string
	node     *natsnode.Node
	vault    *privacy.Vault
	log      *eventstore.Log
	recorder *eventstore.Recorder
}

func newStore(t *testing.T) *store {
	t.Helper()
	dir := t.TempDir()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	s := &store{t: t, dir: dir, node: node}
	s.forget()
	return s
}

// forget opens the store anew, as another process that remembers no key.
func (s *store) forget() {
	s.t.Helper()
	vault, err := privacy.Open(s.t.Context(), s.node.Conn(), privacy.Config{KeyFile: filepath.Join(s.dir, "kek"), PoolSize: 32, Wait: 20 * time.Second})
	must(s.t, err)
	spawn(s.t, vault.Run)
	s.openWith(vault)
}

func (s *store) openWith(vault *privacy.Vault) {
	s.t.Helper()
	log, err := eventstore.Open(s.t.Context(), s.node.Conn(), eventstore.Config{Partitions: 2, Vault: vault})
	must(s.t, err)
	s.t.Cleanup(func() { must(s.t, log.Close()) })
	s.vault, s.log = vault, log
	s.recorder, err = eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	must(s.t, err)
}

// record stores a fact of the order n of a tenant, whose customer is who.
func (s *store) record(tenant domain.TenantID, n int, key string, who *domain.Personal) domain.Outcome {
	s.t.Helper()
	now := time.Now()
	message := domain.Message{Source: "in", Tenant: tenant, Provider: "comanda", Body: []byte("{}"), ReceivedAt: now}
	outcomes, err := s.recorder.Record(s.t.Context(), message, []domain.Fact{{
		Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: fmt.Sprint("A-", n), Key: key, OccurredAt: now.UTC(), Personal: who,
	}})
	must(s.t, err)
	return outcomes[0]
}

var begun = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (s *store) deps() customers.Deps {
	return customers.Deps{Log: s.log, Vault: s.vault, Begin: begun, Logger: slog.New(slog.DiscardHandler), Clock: time.Now}
}

// open is a running index that holds everything; close ends it.
func (s *store) open(path string, deps customers.Deps) (x *customers.Index, stop func()) {
	s.t.Helper()
	x, err := customers.Open(path, deps)
	must(s.t, err)
	end := spawn(s.t, x.Run)
	closed := false
	stop = func() {
		if closed {
			return
		}
		closed = true
		end()
		must(s.t, x.Close())
	}
	s.t.Cleanup(stop)
	<-x.Ready()
	return x, stop
}

// found are the orders of a name, sorted.
func (s *store) found(x *customers.Index, tenant domain.TenantID, names ...customers.Name) []domain.OrderID {
	s.t.Helper()
	head, err := s.log.Head(s.t.Context())
	must(s.t, err)
	must(s.t, x.Wait(s.t.Context(), head))
	orders, err := x.Orders(s.t.Context(), tenant, names)
	must(s.t, err)
	return orders
}

func sorted(ids ...domain.OrderID) []domain.OrderID { return slices.Sorted(slices.Values(ids)) }
