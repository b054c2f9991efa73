package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"comanda.internal/adapters/checkout"
	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/ops"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/scrub"
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
)

// app is the running program. Its start methods are called in the order in
// which they stand here; the stack stops what they started in reverse.
type app struct {
	cmd     *serveCmd
	cfg     *config
	offline bool // only to look: make no log, take nothing in
	now     func() time.Time
	logger  *slog.Logger
	stack   *stack

	registry *prometheus.Registry
	node     *natsnode.Node
	vault    *privacy.Vault
	log      *eventstore.Log
	views    views
	scrubbed scrub.Memory // as the last process left it
	recorder *eventstore.Recorder
	intake   *intake.Intake
	sources  []webhook.Source
	checks   []ops.Check
	addr     addresses
}

// views are the read models, all but one in one file.
type views struct {
	file     *projections.File
	orders   *orders.View
	timeline *timeline.View
	runner   *projections.Runner
	room     *waiting.Room // of those who wait for an order

	customers *customers.Index // in a file of its own; nil to only look
}

func newApp(cmd *serveCmd, cfg *config, out *stdio) *app {
	logger := cmd.logger(out.err)
	a := &app{cmd: cmd, cfg: cfg, now: out.now, logger: logger, stack: newStack(logger), registry: prometheus.NewRegistry()}
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return a
}

func (a *app) verifier() *verifier {
	return &verifier{log: a.log, views: &a.views, wait: a.views.runner}
}

// start brings everything up; after an error the stack holds what was started.
func (a *app) start(ctx context.Context) error {
	if len(a.cfg.Sources) == 0 {
		return errNoSources
	}
	for _, step := range []func(context.Context) error{
		a.startNode, a.openVault, a.openViews, a.openLog, a.startViews, a.startCustomers, a.startScrub, a.startIntake, a.startNotify, a.startGRPC, a.startCheckout, a.startWebhooks, a.startOps, a.announce,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startNode runs the NATS server, or connects to yours.
func (a *app) startNode(ctx context.Context) error {
	if _, err := order.Load(); err != nil {
		return fmt.Errorf("check the machine: %w", err)
	}
	var err error
	a.node, err = natsnode.Start(ctx, natsnode.Config{
		DataDir: filepath.Join(a.cmd.DataDir, natsDir), Listen: a.cmd.NATSListen, UnsafeNoFsync: a.cmd.UnsafeNoFsync,
		Checkouts: a.cfg.NATS.Checkouts, URL: a.cfg.NATS.URL, CredsFile: a.cfg.NATS.CredsFile, Logger: a.logger,
	})
	if err != nil {
		return err
	}
	a.stack.pushClose("nats", a.node.Close)
	a.addr.NATS = a.node.Addr()
	if a.offline {
		return nil
	}
	return a.refuseMirror(ctx)
}

// refuseMirror comes before the vault, which would add keys to a mirror's.
func (a *app) refuseMirror(ctx context.Context) error {
	lineage, err := eventstore.ReadLineage(ctx, a.node.Conn())
	if domain.KindOf(err) == domain.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return lineage.Live()
}

// openVault finds or makes the keys that personal data is sealed with.
func (a *app) openVault(ctx context.Context) error {
	if a.cmd.UnsafeNoSealing {
		a.logger.WarnContext(ctx, "sealing is off: personal data is stored in the clear")
		a.vault = privacy.Disabled()
		return nil
	}
	var err error
	a.vault, err = privacy.Open(ctx, a.node.Conn(), privacy.Config{
		KeyFile: a.cmd.KeyFile, Replicas: a.cfg.NATS.Replicas, AfterCreate: a.node.SyncDirs, Logger: a.logger, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	a.stack.spawn(ctx, "key pool", a.vault.Run)
	a.checks = append(a.checks, ops.Check{Name: "keys", Probe: ops.Closed(a.vault.Ready())})
	return nil
}

// openViews opens the file of the views, which remembers how far the log went.
func (a *app) openViews(context.Context) error {
	var err error
	if a.views.file, err = projections.Open(filepath.Join(a.cmd.DataDir, viewsFile)); err != nil {
		return err
	}
	a.stack.pushClose("view file", a.views.file.Close)
	return nil
}

// openLog opens the log, which must hold what the views and the scrub remember of
// it.
func (a *app) openLog(ctx context.Context) error {
	remembered, err := a.remembered(ctx)
	if err != nil {
		return err
	}
	reads, err := a.node.Connect("comanda-replay")
	if err != nil {
		return err
	}
	cfg := eventstore.Config{
		Partitions: a.cfg.NATS.Partitions, Replicas: a.cfg.NATS.Replicas, Vault: a.vault, ReadConn: reads,
		Remembered: remembered, Existing: a.offline, Inspect: a.offline, AfterCreate: a.node.SyncDirs, Logger: a.logger, Registerer: a.registry,
		Health: a.node.Health, Clock: a.now, Files: a.node.Files(),
	}
	if !a.offline {
		cfg.StageBatches = a.node.StageBatches
	}
	if a.node.Embedded() { // a server of yours is not started again with this process
		cfg.GiveUp = giveUpLog
	}
	a.log, err = eventstore.Open(ctx, a.node.Conn(), cfg)
	if err != nil {
		return err
	}
	a.stack.pushClose("log", a.log.Close)
	if !a.offline {
		a.stack.spawn(ctx, "watch of the log", a.log.Watch)
	}
	a.checks = append(a.checks, ops.Check{Name: "log", Probe: a.probeLog})
	return nil
}

// giveUpLog is how long the embedded log may not be writable before the process
// ends, for a supervisor to start it again.
const giveUpLog = 30 * time.Second

// probeLog asks the log for its head, and says what an acknowledgement means.
func (a *app) probeLog(ctx context.Context) (ops.State, string) {
	if a.log.Writable() != nil {
		return ops.NotReady, "the log cannot be written"
	}
	if _, err := a.log.Head(ctx); err != nil {
		return ops.NotReady, "the log does not answer"
	}
	switch d := a.node.Durability(); d {
	case natsnode.DurabilityFsync:
		return ops.Ready, ""
	default:
		return ops.Warning, "fsync before acknowledgement: " + d.String()
	}
}

// The data directory's contents, beside the demo's configuration and the addresses.
const (
	natsDir   = "nats"
	viewsFile = "views.db"
	whoseFile = "customers.db"
	keyFile   = "key-encryption-key"
	scrubFile = "scrub.json"
)

// atPoint is what a test has done at the points of the views' work; nil outside of tests.
var atPoint func(projections.Point)

// startViews keeps the read models up to date.
func (a *app) startViews(ctx context.Context) error {
	v := &a.views
	v.orders, v.timeline = orders.New(v.file), timeline.New(v.file)
	v.room = waiting.New(v.orders)
	facts, others := proof.Views(v.file)
	var err error
	v.runner, err = projections.New(a.cfg.Views, projections.Deps{
		Log: a.log, Machine: order.Default(), Clock: a.now, Logger: a.logger, Registerer: a.registry, OnlyLook: a.offline,
		Committed: v.room.Committed, At: atPoint, Building: heap.building,
	}, v.file, facts, others...)
	if err != nil {
		return err
	}
	a.stack.spawn(ctx, "views", v.runner.Run)
	a.checks = append(a.checks, ops.Check{Name: "views", Probe: v.probe})
	return nil
}

// probe says how far a build is that the views began with.
func (v *views) probe(ctx context.Context) (ops.State, string) {
	state, why := ops.Closed(v.runner.Ready())(ctx)
	if position, outdated := v.runner.Outdated(); outdated != "" {
		return ops.Warning, fmt.Sprintf("they stand still at position %s, and answer, while others are built: %s", position, outdated)
	}
	if p, building := v.runner.Starting(); state != ops.Ready && building {
		return state, fmt.Sprintf("being built: read %d and folded %d of %d events", p.Read, p.Folded, p.Total)
	}
	return state, why
}

// startCustomers keeps the index by customer up to date, once the views are.
func (a *app) startCustomers(ctx context.Context) error {
	var err error
	a.views.customers, err = customers.Open(filepath.Join(a.cmd.DataDir, whoseFile), customers.Deps{
		Log: a.log, Vault: a.vault, Begin: a.views.runner.Ready(), Logger: a.logger, Clock: a.now, Registerer: a.registry, At: atPoint,
	})
	if err != nil {
		return err
	}
	a.stack.pushClose("customer index", a.views.customers.Close)
	a.stack.spawn(ctx, "customer index", a.views.customers.Run)
	a.checks = append(a.checks, ops.Check{Name: "customer index", Probe: func(context.Context) (ops.State, string) {
		select {
		case <-a.views.customers.Ready():
			return ops.Ready, ""
		default:
			return ops.Warning, "being made; nobody is found by name yet"
		}
	}})
	return nil
}

// startIntake makes the pipeline that every way in shares.
func (a *app) startIntake(context.Context) error {
	var err error
	a.recorder, err = eventstore.NewRecorder(a.log, a.vault, order.Default(), eventstore.RecorderConfig{Clock: a.now})
	if err != nil {
		return err
	}
	for i := range a.cfg.Sources {
		codec, err := a.cfg.Sources[i].codec()
		if err != nil {
			return err
		}
		a.sources = append(a.sources, a.cfg.Sources[i].Source(codec))
	}
	a.intake, err = intake.New(a.recorder, a.log, a.now, a.logger, a.registry)
	return err
}

// startNotify tells endpoints.
func (a *app) startNotify(ctx context.Context) error {
	if len(a.cfg.Endpoints) == 0 {
		return nil
	}
	notifier, err := a.newNotifier(ctx)
	if err != nil {
		return err
	}
	a.stack.spawn(ctx, "notifications", notifier.Run)
	a.checks = append(a.checks, ops.Check{Name: "notifications", Probe: ops.Closed(notifier.Ready())})
	select {
	case <-notifier.Ready(): // before the first webhook, so that a new endpoint misses none
		return nil
	case err := <-a.stack.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// startGRPC serves orders, history and events.
func (a *app) startGRPC(ctx context.Context) error {
	consumers, err := a.openGroups(ctx)
	if err != nil {
		return err
	}
	authority, err := a.startAccess(ctx)
	if err != nil {
		return err
	}
	server, err := grpcapi.New(a.cfg.GRPC, grpcapi.Deps{
		Orders: a.views.orders, Histories: a.views.timeline, Purchases: purchases.New(a.views.file),
		Conflicts: conflicts.New(a.views.file), Attention: attention.New(a.views.file), Stats: stats.New(a.views.file),
		Views: a.views.runner, Log: a.log, Groups: consumers,
		Past: asof.New(a.views.file), Customers: a.views.customers, Verifier: a.verifier(), Operator: &operator{a.views.runner, a.views.customers, a.now}, Replayer: whatif.New(a.views.file),
		Recorder: a.recorder, Room: a.views.room, Sources: a.cfg.shown(),
		Access: authority, Clock: a.now, Logger: a.logger, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	listener, err := listen(ctx, "--grpc", a.cmd.GRPC)
	if err != nil || listener == nil {
		return err
	}
	if err := server.MayListen(listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	a.addr.GRPC = listener.Addr().String()
	a.stack.spawn(ctx, "gRPC server", func(context.Context) error { return server.Serve(listener) })
	a.stack.push("gRPC", func(ctx context.Context) error {
		server.Stop(ctx)
		return nil
	})
	a.stack.push("waits for orders", func(context.Context) error { // or stopping would wait for them
		a.views.room.Close()
		return nil
	})
	return nil
}

// openGroups finds the consumer groups. They run while they have members.
func (a *app) openGroups(ctx context.Context) (*groups.Groups, error) {
	js, err := jetstream.New(a.node.Conn())
	if err != nil {
		return nil, err
	}
	return groups.Open(ctx, groups.Config{Replicas: a.cfg.NATS.Replicas}, groups.Deps{
		JetStream: js, Log: a.log, Match: grpcapi.Match,
		Clock: a.now, Logger: a.logger, Registerer: a.registry, AfterCreate: a.node.SyncDirs,
	})
}

// startCheckout takes messages over NATS, and answers requests.
func (a *app) startCheckout(ctx context.Context) error {
	js, err := jetstream.New(a.node.Conn())
	if err != nil {
		return err
	}
	sources := make([]*intake.Source, len(a.sources))
	for i := range a.sources {
		sources[i] = a.sources[i].Source
	}
	c, err := checkout.New(a.cfg.Checkout,
		js, sources, a.intake, a.logger, a.registry)
	if err != nil {
		return err
	}
	requests, err := a.node.Connect("comanda-requests")
	if err != nil {
		return err
	}
	version, _ := buildVersion()
	service, err := checkout.NewService(a.cfg.Checkout, checkout.ServiceDeps{
		Conn: requests, Sources: sources, Intake: a.intake, Orders: a.views.room, Views: a.views.runner,
		Version: version, Clock: a.now, Logger: a.logger, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	if err := a.startFront(ctx, c); err != nil {
		return err
	}
	a.stack.spawnFor(ctx, "requests", a.cfg.Checkout.StopTime(), service.Run)
	a.checks = append(a.checks,
		ops.Check{Name: "checkout", Probe: ops.Closed(c.Ready())}, ops.Check{Name: "requests", Probe: ops.Closed(service.Ready())})
	return nil
}

// startFront runs c; on the embedded server, which brings them here, it takes messages
// before they are in INTAKE.
func (a *app) startFront(ctx context.Context, c *checkout.Checkout) error {
	if !a.node.Embedded() {
		a.stack.spawnFor(ctx, "checkout", a.cfg.Checkout.StopTime(), c.Run)
		return nil
	}
	conn, err := a.node.ConnectFront("comanda-intake")
	if err != nil {
		return err
	}
	front, err := c.Front(conn, a.now, a.registry)
	if err != nil {
		return err
	}
	a.stack.spawnFor(ctx, "checkout", a.cfg.Checkout.StopTime(), c.Run)
	a.stack.spawnFor(ctx, "front of the intake", a.cfg.Checkout.StopTime(), front.Run)
	a.checks = append(a.checks, ops.Check{Name: "front of the intake", Probe: ops.Closed(front.Ready())})
	return nil
}

// startWebhooks takes messages over HTTP.
func (a *app) startWebhooks(ctx context.Context) error {
	handler, err := webhook.New(a.cfg.Webhook, a.sources, a.intake, a.now, a.logger, a.registry)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, "--http", a.cmd.HTTP)
	if err != nil || listener == nil {
		return err
	}
	a.addr.HTTP = listener.Addr().String()
	mux := http.NewServeMux()
	mux.Handle(webhook.Prefix, handler)
	server := webhook.NewServer(a.cfg.Webhook, mux, a.logger)
	a.stack.spawn(ctx, "webhooks", func(ctx context.Context) error {
		return webhook.Serve(ctx, server, listener, stopGrace)
	})
	return nil
}

// Of --pprof-locks: one in lockSample contentions of a lock, and one wait for each
// so much time of waiting.
const (
	lockSample      = 10
	lockSampleEvery = 10 * time.Microsecond
)

// startOps serves metrics and health: the last to start, so that it knows every
// check, and the first to stop, so that nobody sends more.
func (a *app) startOps(ctx context.Context) error {
	listener, err := listen(ctx, "--ops", a.cmd.Ops)
	if err != nil || listener == nil {
		return err
	}
	a.addr.Ops = listener.Addr().String()
	if a.cmd.PprofLocks { // not before the NATS server, which turns the recording off (nats-server, server.go, setBlockProfileRate)
		runtime.SetMutexProfileFraction(lockSample)
		runtime.SetBlockProfileRate(int(lockSampleEvery.Nanoseconds()))
	}
	server := ops.NewServer(ops.New(ops.Config{Pprof: a.cmd.Pprof}, a.registry, a.checks...), a.logger)
	a.stack.spawn(ctx, "ops", func(ctx context.Context) error {
		return webhook.Serve(ctx, server, listener, stopGrace)
	})
	return nil
}

// announce leaves the addresses for client commands.
func (a *app) announce(context.Context) error {
	if err := writeAddresses(a.cmd.DataDir, a.addr); err != nil {
		return fmt.Errorf("write the addresses: %w", err)
	}
	a.stack.pushClose("addresses", func() error {
		return ignoreNotExist(os.Remove(filepath.Join(a.cmd.DataDir, addressesFile)))
	})
	return nil
}

// listen opens addr; nil for none.
func listen(ctx context.Context, flag, addr string) (net.Listener, error) {
	if addr == addrNone {
		return nil, nil //nolint:nilnil // no listener is no error
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return nil, usagef("%s %s: want host:port, or none", flag, addr)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "%s: %w", flag, err)
	}
	return listener, nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
