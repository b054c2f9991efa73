package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/stream"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// benchEvents is the size of the log that BenchmarkVerify reads: two events an order.
const benchEvents = 50_000

// BenchmarkVerify reads one log in turns, raw and as verify does, views and all.
// The ratio of the two rates should be at least 0.6.
func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	out := &stdio{out: io.Discard, err: io.Discard, now: time.Now}
	a := newApp(&serveCmd{DataDir: dir, KeyFile: dir + "/kek", NATSListen: natsnode.None, UnsafeNoFsync: true, LogLevel: "error"}, &config{}, out)
	defer func() {
		if err := a.stack.stop(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	for _, step := range []func(context.Context) error{a.startNode, a.openVault, a.openViews, a.openLog, a.startViews} {
		if err := step(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	fillForVerify(b, a)
	js, err := jetstream.New(a.node.Conn())
	if err != nil {
		b.Fatal(err)
	}
	reader := stream.NewReader(js, eventstore.OrdersStream(0), slog.New(slog.DiscardHandler))
	var raw, alone, ours time.Duration
	for b.Loop() {
		began := time.Now()
		n := 0
		if err := reader.Scan(b.Context(), 0, benchEvents, nil, func(ms []stream.Message) error { n += len(ms); return nil }); err != nil || n != benchEvents {
			b.Fatal(n, err)
		}
		raw += time.Since(began)
		began = time.Now()
		if report, err := a.log.Verify(b.Context(), eventstore.VerifyOptions{}); err != nil || report.ProblemCount != 0 {
			b.Fatal(report, err)
		}
		alone += time.Since(began)
		began = time.Now()
		report, err := a.verifier().Verify(b.Context(), domain.Position{}, func(*comandav1.VerifyProgress) error { return nil })
		if err != nil || report.GetEvents() != benchEvents || report.GetProblemCount() != 0 {
			b.Fatal(report, err)
		}
		ours += time.Since(began)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(benchEvents*float64(b.N)/raw.Seconds(), "raw_events/s")
	b.ReportMetric(benchEvents*float64(b.N)/ours.Seconds(), "verify_events/s")
	b.ReportMetric(raw.Seconds()/alone.Seconds(), "ratio_without_views")
	b.ReportMetric(raw.Seconds()/ours.Seconds(), "ratio")
}

// fillForVerify records a pending and an approved fact for each order, and waits for the views.
func fillForVerify(b *testing.B, a *app) {
	b.Helper()
	recorder, err := eventstore.NewRecorder(a.log, a.vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	group, ctx := errgroup.WithContext(b.Context())
	group.SetLimit(512)
	for n := range benchEvents / 2 {
		group.Go(func() error {
			now := time.Now()
			for i, kind := range []domain.Kind{domain.KindPending, domain.KindApproved} {
				_, err := recorder.Record(ctx, domain.Message{
					Source: "loja-checkout", Tenant: "loja", Provider: "comanda", Body: make([]byte, 600), ReceivedAt: now,
				}, []domain.Fact{{
					Kind: kind, Provider: "comanda", ProviderOrderID: fmt.Sprint("A-", n), Key: fmt.Sprint(i), OccurredAt: now.UTC(),
					Reference: fmt.Sprint("EX", n), Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12000)},
					Personal: &domain.Personal{Name: "Maria da Silva", Email: "maria@example.com"},
				}})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	head, err := a.log.Head(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := a.views.runner.Wait(b.Context(), head); err != nil {
		b.Fatal(err)
	}
}
