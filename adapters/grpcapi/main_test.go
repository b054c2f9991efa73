package grpcapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/attention"
	"comanda.internal/projections/conflicts"
	"comanda.internal/projections/customers"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/proof"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
	"comanda.internal/projections/waiting"
	"comanda.internal/projections/whatif"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a real log on an embedded server, and its views.
type store struct {
	t        *testing.T
	dir      string
	node     *natsnode.Node
	log      *eventstore.Log
	recorder *eventstore.Recorder
	file     *projections.File
	runner   *projections.Runner
	room     *waiting.Room
	index    *customers.Index
}

const partitions = 4

func newStore(t *testing.T) *store {
	t.Helper()
	dir := t.TempDir()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	vault, err := privacy.Open(t.Context(), node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 64, Wait: 20 * time.Second})
	must(t, err)
	spawn(t, vault.Run)
	log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Partitions: partitions, Vault: vault})
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	recorder, err := eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	must(t, err)

	file, err := projections.Open(filepath.Join(dir, "views.db"))
	must(t, err)
	t.Cleanup(func() { must(t, file.Close()) })
	s := &store{t: t, dir: dir, node: node, log: log, recorder: recorder, file: file, room: waiting.New(orders.New(file))}
	facts, views := proof.Views(file)
	s.runner, err = projections.New(projections.Config{}, projections.Deps{
		Log: log, Machine: order.Default(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Committed: s.room.Committed,
	}, file, facts, views...)
	must(t, err)
	spawn(t, s.runner.Run)
	s.index, err = customers.Open(filepath.Join(dir, "customers.db"), customers.Deps{
		Log: log, Vault: vault, Begin: s.runner.Ready(), Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
	})
	must(t, err)
	t.Cleanup(func() { must(t, s.index.Close()) })
	spawn(t, s.index.Run)
	return s
}

// spawn runs run until the test ends.
func spawn(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func identity(n int) domain.Identity {
	return domain.Identity{Tenant: "loja", Provider: "comanda", ProviderOrderID: fmt.Sprintf("A-%d", n)}
}

// record stores a fact of loja's order n.
func (s *store) record(n int, kind domain.Kind) domain.Outcome {
	s.t.Helper()
	return s.recordOf("loja", n, kind)
}

// recordOf stores a fact of a tenant's order n.
func (s *store) recordOf(tenant domain.TenantID, n int, kind domain.Kind) domain.Outcome {
	s.t.Helper()
	return s.recordAs(n, kind, tenant, domain.SourceID(tenant+"-checkout"))
}

// recordAs stores a fact of a merchant's order n, which came through source.
func (s *store) recordAs(n int, kind domain.Kind, tenant domain.TenantID, source domain.SourceID) domain.Outcome {
	s.t.Helper()
	now := time.Now()
	fact := domain.Fact{
		Kind: kind, Provider: "comanda", ProviderOrderID: identity(n).ProviderOrderID, Key: kind.String(),
		OccurredAt: now.UTC(), Reference: fmt.Sprintf("EX%d", n/2),
		Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12_000), Paid: domain.Minor(12_000)},
		UTM:     domain.UTMOf(map[string]string{"utm_source": "x"}),
		Personal: &domain.Personal{
			Name: "Fulana de Tal", Email: fmt.Sprintf("Fulana%d@example.com", n%2), Document: "12ABC34501DE35", Phone: "+5511999999999",
		},
	}
	message := domain.Message{Source: source, Tenant: tenant, Provider: "comanda", Body: []byte("{}"), ReceivedAt: now}
	outcomes, err := s.recorder.Record(s.t.Context(), message, []domain.Fact{fact})
	must(s.t, err)
	if outcomes[0].Verdict == domain.VerdictDuplicate {
		s.t.Fatalf("order %d was %s before", n, kind)
	}
	return outcomes[0]
}

// deps are what a server of s reads through.
func (s *store) deps() grpcapi.Deps {
	return grpcapi.Deps{
		Orders: orders.New(s.file), Histories: timeline.New(s.file), Purchases: purchases.New(s.file),
		Conflicts: conflicts.New(s.file), Attention: attention.New(s.file), Stats: stats.New(s.file),
		Past: asof.New(s.file), Customers: s.index, Replayer: whatif.New(s.file), Views: s.runner, Log: s.log, Groups: s.groups(), Verifier: noVerifier{}, Operator: s.runner,
		Recorder: s.recorder, Room: s.room, Sources: []grpcapi.Source{
			{ID: "terceira-checkout", Provider: "comanda", Canonical: "comanda", Tenant: "terceira", Auth: grpcapi.SourceAuth{Type: "token", Live: 1}},
			{ID: "outra-checkout", Provider: "comanda", Canonical: "comanda", Tenant: "outra", Auth: grpcapi.SourceAuth{Type: "token", Live: 2}},
			{ID: "loja-checkout", Provider: "comanda", Canonical: "comanda", Tenant: "loja", Auth: grpcapi.SourceAuth{Type: "hmac", Header: "X-Signature", Hash: "sha256", Encoding: "hex", Live: 1}},
		},
		Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
}

// groups are consumer groups on a connection of their own.
func (s *store) groups() *groups.Groups {
	s.t.Helper()
	conn, err := s.node.Connect("groups")
	must(s.t, err)
	s.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(s.t, err)
	g, err := groups.Open(s.t.Context(), groups.Config{AckWait: time.Second, PinTTL: 2 * time.Second, Tick: 10 * time.Millisecond}, groups.Deps{
		JetStream: js, Log: s.log, Match: grpcapi.Match, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	must(s.t, err)
	return g
}

// noVerifier is for tests that do not verify.
type noVerifier struct{}

func (noVerifier) Verify(context.Context, grpcapi.Check, func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error) {
	return nil, domain.Errorf(domain.Internal, "not in this test")
}

// server is a running server and clients of it.
type server struct {
	*grpcapi.Server

	conn      *grpc.ClientConn
	machine   comandav1.MachineServiceClient
	orders    comandav1.OrderServiceClient
	purchases comandav1.PurchaseServiceClient
	queues    comandav1.QueueServiceClient
	stats     comandav1.StatsServiceClient
	events    comandav1.EventServiceClient
	views     comandav1.ViewServiceClient
	sources   comandav1.SourceServiceClient
	stop      func()
}

func serve(t *testing.T, cfg grpcapi.Config, deps grpcapi.Deps) *server {
	t.Helper()
	api, err := grpcapi.New(cfg, deps)
	must(t, err)
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(listener) }()
	s := clients(t, api, listener.Addr().String())
	stopped := false
	s.stop = func() {
		if stopped {
			return
		}
		stopped = true
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 30*time.Second)
		defer cancel()
		api.Stop(ctx)
		must(t, <-ended)
	}
	return s
}

// clients are those of a running server, on a connection of their own.
func clients(t *testing.T, api *grpcapi.Server, target string, options ...grpc.DialOption) *server {
	t.Helper()
	conn, err := grpc.NewClient(target, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(1<<16))...) // a client that does not read takes this much
	must(t, err)
	s := &server{
		Server: api, conn: conn, stop: func() {},
		machine:   comandav1.NewMachineServiceClient(conn),
		orders:    comandav1.NewOrderServiceClient(conn),
		purchases: comandav1.NewPurchaseServiceClient(conn),
		queues:    comandav1.NewQueueServiceClient(conn),
		stats:     comandav1.NewStatsServiceClient(conn),
		events:    comandav1.NewEventServiceClient(conn),
		views:     comandav1.NewViewServiceClient(conn),
		sources:   comandav1.NewSourceServiceClient(conn),
	}
	t.Cleanup(func() {
		must(t, conn.Close())
		s.stop()
	})
	return s
}
