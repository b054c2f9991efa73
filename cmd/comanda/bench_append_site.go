package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
)

// appendSite is a server, or three, with one log and raw streams beside it. The
// log is open once for each way of making batches.
type appendSite struct {
	now       func() time.Time
	stack     *stack
	conn      *nats.Conn
	raw       *bench.Raw
	recorders []*eventstore.Recorder
	bodies    [2]*bench.Webhook
	serial    int
	size      int // of one stored message
}

func openAppendSite(ctx context.Context, c *benchAppendCmd, dir string, partitions int, out *stdio) (*appendSite, error) {
	logger := (&serveCmd{LogLevel: "error"}).logger(out.err)
	s := &appendSite{now: out.now, stack: newStack(logger)}
	err := s.open(ctx, c, dir, partitions)
	if err == nil {
		return s, nil
	}
	_ = s.stack.stop(ctx)
	return nil, err
}

func (s *appendSite) close(ctx context.Context) error { return s.stack.stop(ctx) }

func (s *appendSite) open(ctx context.Context, c *benchAppendCmd, dir string, partitions int) error {
	node, err := s.serve(ctx, c, dir)
	if err != nil {
		return err
	}
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{
		KeyFile: filepath.Join(dir, keyFile), Replicas: c.Replicas, AfterCreate: node.SyncDirs,
	})
	if err != nil {
		return err
	}
	s.stack.spawn(ctx, "key pool", vault.Run)
	for _, from := range c.BatchFrom {
		log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{
			Partitions: partitions, Replicas: c.Replicas, Vault: vault, BatchFrom: from, AfterCreate: node.SyncDirs, StageBatches: node.StageBatches,
		})
		if err != nil {
			return err
		}
		s.stack.pushClose("log", log.Close)
		recorder, err := eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: s.now})
		if err != nil {
			return err
		}
		s.recorders = append(s.recorders, recorder)
	}
	for i, status := range []string{"pending", "approved"} {
		if s.bodies[i], err = bench.NewWebhook(status, 0, s.now()); err != nil {
			return err
		}
	}
	if err := s.warmUp(ctx); err != nil {
		return err
	}
	rawConn, err := node.Connect("raw")
	if err != nil {
		return err
	}
	s.raw, err = bench.NewRaw(ctx, bench.RawConfig{Conn: rawConn, Partitions: partitions, Replicas: c.Replicas, MessageBytes: s.size})
	return err
}

// serve starts the server, or the cluster and the way to it.
func (s *appendSite) serve(ctx context.Context, c *benchAppendCmd, dir string) (*natsnode.Node, error) {
	cfg := natsnode.Config{DataDir: dir, Listen: natsnode.None, UnsafeNoFsync: c.UnsafeNoSync}
	if c.Replicas > 1 {
		cluster, err := natsnode.StartCluster(ctx, natsnode.ClusterConfig{Dir: dir, UnsafeNoFsync: c.UnsafeNoSync})
		if err != nil {
			return nil, err
		}
		s.stack.pushClose("cluster", func() error {
			cluster.Close()
			return nil
		})
		cfg = natsnode.Config{URL: cluster.URL()}
	}
	node, err := natsnode.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	s.stack.pushClose("nats", node.Close)
	s.conn = node.Conn()
	return node, nil
}

// warmUp records a few events and reads how large the log stored them.
func (s *appendSite) warmUp(ctx context.Context) error {
	if r := s.round(ctx, s.recorders[0], 4, 300*time.Millisecond); r.Calls == 0 {
		return domain.Errorf(domain.Internal, "bench: the warm-up stored nothing: %v", r.Failures)
	}
	js, err := jetstream.New(s.conn)
	if err != nil {
		return err
	}
	stored, err := bench.LogOf(ctx, js)
	s.size = stored.MessageBytes()
	return err
}

// round has clients record pending and approved of one order after another.
func (s *appendSite) round(ctx context.Context, recorder *eventstore.Recorder, clients int, d time.Duration) bench.Result {
	s.serial++
	serial := int64(s.serial)
	return bench.Drive(ctx, s.now, bench.Load{Clients: clients, Duration: d}, func(ctx context.Context, client, n int) string {
		msg, fact := s.bodies[n%2].Of(bench.AppendOrder(nil, serial, int64(client), int64(n/2)), "bench", s.now().UTC())
		outcomes, err := recorder.Record(ctx, msg, []domain.Fact{fact})
		switch {
		case err != nil:
			return domain.KindOf(err).String()
		case outcomes[0].Verdict != domain.VerdictApplied:
			return "not applied"
		}
		return ""
	})
}
