package eventstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
)

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}

const (
	tenant = domain.TenantID("loja")
	source = domain.SourceID("loja-aprovei")
)

// noon is when everything here happens.
var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// store is one instance of Comanda's log and recorder.
type store struct {
	*eventstore.Log
	*eventstore.Recorder

	vault *privacy.Vault
	conn  *nats.Conn
}

// open opens an instance on conn that ends with the test. Its keys are in dir.
func open(t *testing.T, conn *nats.Conn, dir string, cfg eventstore.Config, rcfg eventstore.RecorderConfig) *store {
	t.Helper()
	vault := openVault(t, conn, dir, cfg.Replicas)
	cfg.Vault = vault
	if cfg.BulkFrom == 0 {
		cfg.BulkFrom = 1 // as a long log is read
	}
	log, err := eventstore.Open(t.Context(), conn, cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() {
		if err := log.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if rcfg.Clock == nil {
		rcfg.Clock = func() time.Time { return noon }
	}
	recorder, err := eventstore.NewRecorder(log, vault, order.Default(), rcfg)
	if err != nil {
		t.Fatal(err)
	}
	return &store{Log: log, Recorder: recorder, vault: vault, conn: conn}
}

func openVault(t *testing.T, conn *nats.Conn, dir string, replicas int) *privacy.Vault {
	t.Helper()
	vault, err := privacy.Open(t.Context(), conn, privacy.Config{KeyFile: filepath.Join(dir, "kek"), Replicas: replicas, PoolSize: 300, Wait: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- vault.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-vault.Ready()
	return vault
}

// local is a store on a server of its own.
func local(t *testing.T) *store {
	t.Helper()
	dir := t.TempDir()
	return open(t, natstest.Node(t, dir).Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
}

// fast is local without fsync and with the node beside it, for second instances.
func fast(t *testing.T, cfg eventstore.Config) (*store, *natsnode.Node, string) {
	t.Helper()
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	return open(t, node.Conn(), dir, cfg, eventstore.RecorderConfig{}), node, dir
}

// fact is a fact of the order with this number, at a minute after noon.
func fact(n, minute int, kind domain.Kind) domain.Fact {
	at := noon.Add(time.Duration(minute) * time.Minute)
	return domain.Fact{
		Kind: kind, Provider: "aprovei", Account: "principal", ProviderOrderID: "token" + strconv.Itoa(n),
		Key: fmt.Sprintf("%s@%d", kind, minute), OccurredAt: at, OccurredText: at.Format(time.RFC3339),
		Reference: "EX" + strconv.Itoa(n), Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12000)},
		Personal: &domain.Personal{Name: "Maria da Silva", Email: "maria@example.com"},
	}
}

func details(n, i int) domain.Fact {
	f := fact(n, 0, domain.KindDetails)
	f.Key = "details" + strconv.Itoa(i)
	return f
}

func orderID(n int) domain.OrderID {
	f := fact(n, 0, domain.KindStarted)
	return f.Identity(tenant).OrderID()
}

// message is the delivery of a fact, received at noon and a day, so that no date
// is in its future.
func message() domain.Message {
	return domain.Message{
		Source: source, Tenant: tenant, Account: "principal", Provider: "aprovei",
		ContentType: "application/json", Body: []byte(`{"customer":"Maria da Silva"}`),
		ReceivedAt: noon.Add(24 * time.Hour), Cause: domain.Cause{RequestID: "req-1"},
	}
}

func record(t *testing.T, s *store, facts ...domain.Fact) []domain.Outcome {
	t.Helper()
	outcomes, err := s.Record(t.Context(), message(), facts)
	if err != nil {
		t.Fatalf("record: %v", err)
	}
	return outcomes
}

func history(t *testing.T, s *store, n int) []domain.Recorded {
	t.Helper()
	events, err := s.Order(t.Context(), orderID(n))
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return events
}

// wantSound verifies the whole log and wants this many events and no problem.
func wantSound(t *testing.T, s *store, events uint64) {
	t.Helper()
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{})
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	for _, p := range report.Problems {
		t.Errorf("problem: %+v", p)
	}
	if report.Events != events {
		t.Errorf("verify read %d events, want %d", report.Events, events)
	}
}
