package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/proof"
	"comanda.internal/projections/waiting"
)

// shop is a real log on an embedded server with its views, and a gRPC server of them,
// for all tests: each has a merchant of its own in it.
var shop struct {
	deps     grpcapi.Deps
	recorder *eventstore.Recorder
	address  string
	facts    atomic.Int64
	names    atomic.Int64
}

func TestMain(m *testing.M) {
	code, err := runOnShop(m)
	if err == nil {
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runOnShop(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		return 1, err
	}
	var closers []func() error
	defer func() {
		for _, c := range closers {
			err = errors.Join(c(), err)
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	// later runs before what is there already.
	later := func(c func() error) { closers = append([]func() error{c}, closers...) }
	spawn := func(run func(context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- run(ctx) }()
		later(func() error { cancel(); return <-ended })
	}
	if err := openShop(dir, later, spawn); err != nil {
		return 1, err
	}
	address, stop, err := serve(grpcapi.Config{CheckpointEvery: 3}, "127.0.0.1:0")
	if err != nil {
		return 1, err
	}
	later(stop)
	shop.address = address
	return m.Run(), nil
}

func openShop(dir string, later func(func() error), spawn func(func(context.Context) error)) error {
	ctx := context.Background()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None, UnsafeNoFsync: true})
	if err != nil {
		return err
	}
	later(node.Close)
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 64, Wait: 20 * time.Second})
	if err != nil {
		return err
	}
	spawn(vault.Run)
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Partitions: 4, Vault: vault})
	if err != nil {
		return err
	}
	later(log.Close)
	if shop.recorder, err = eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now}); err != nil {
		return err
	}
	file, err := projections.Open(filepath.Join(dir, "views.db"))
	if err != nil {
		return err
	}
	later(file.Close)
	view := orders.New(file)
	room := waiting.New(view)
	facts, views := proof.Views(file)
	logger := slog.New(slog.DiscardHandler)
	runner, err := projections.New(projections.Config{}, projections.Deps{
		Log: log, Machine: order.Default(), Clock: time.Now, Logger: logger, Committed: room.Committed,
	}, file, facts, views...)
	if err != nil {
		return err
	}
	spawn(runner.Run)
	shop.deps = grpcapi.Deps{
		Orders: view, Views: runner, Log: log, Recorder: shop.recorder, Room: room, Clock: time.Now, Logger: logger,
	}
	js, err := jetstream.New(node.Conn())
	if err != nil {
		return err
	}
	shop.deps.Groups, err = groups.Open(ctx, groups.Config{AckWait: time.Second, PinTTL: 2 * time.Second, Tick: 10 * time.Millisecond}, groups.Deps{
		JetStream: js, Log: log, Match: grpcapi.Match, Clock: time.Now, Logger: logger,
	})
	if err != nil {
		return err
	}
	<-runner.Ready()
	return nil
}

// serve runs one more gRPC server of the shop until stop.
func serve(cfg grpcapi.Config, at string) (address string, stop func() error, err error) {
	api, err := grpcapi.New(cfg, shop.deps)
	if err != nil {
		return "", nil, err
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(context.Background(), "tcp", at)
	if err != nil {
		return "", nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- api.Serve(listener) }()
	return listener.Addr().String(), func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		api.Stop(ctx)
		return <-ended
	}, nil
}

// record stores a fact of a merchant's order, and answers the event's id.
func record(ctx context.Context, tenant, id string, kind domain.Kind) (string, error) {
	fact := domain.Fact{
		Kind: kind, Provider: "comanda", ProviderOrderID: id, Key: fmt.Sprint(shop.facts.Add(1)), OccurredAt: time.Now().UTC(), Reference: id,
		Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12_000), Paid: domain.Minor(12_000)},
	}
	message := domain.Message{
		Source: domain.SourceID(tenant + "-checkout"), Tenant: domain.TenantID(tenant), Provider: "comanda", Body: []byte("{}"), ReceivedAt: time.Now(),
	}
	outcomes, err := shop.recorder.Record(ctx, message, []domain.Fact{fact})
	if err != nil {
		return "", err
	}
	return string(outcomes[0].EventID), nil
}

// fresh is a name that nobody has, of a merchant or an order.
func fresh(name string) string { return fmt.Sprintf("%s-%d", name, shop.names.Add(1)) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
