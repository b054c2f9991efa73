package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// benchIngestCmd measures the way from a webhook to its 2xx.
type benchIngestCmd struct {
	benchFlags

	Clients      []int         `help:"Numbers of clients." default:"1,64,256,1000"`
	Over         []string      `help:"Ways in: http, record (a request over NATS), intake (a message to intake.<source>, until it is acknowledged and its outcome heard) and batch (likewise, in atomic batches of what waits to be sent, through INTAKE)." default:"http" enum:"http,record,intake,batch"`
	Duration     time.Duration `help:"Length of one measurement." default:"3s"`
	Rate         int           `help:"Webhooks a second of all clients together, whose lag is then that of this load; 0 is as many as they can." default:"0"`
	At           string        `help:"Data directory of a running demo server to measure; none: one is started." type:"path"`
	Partitions   int           `help:"Partitions of Comanda's log." default:"1"`
	RawStreams   []int         `help:"Numbers of raw streams; the best counts." default:"1,8"`
	Profile      string        `help:"Directory for profiles of the server: processor, allocations, locks. They cost speed." type:"path"`
	UnsafeNoSync bool          `name:"unsafe-no-fsync" help:"Measure without fsync on both sides: says nothing of a durable log."`
}

// ingestBench is one run: a server in a process of its own, and the raw limits.
type ingestBench struct {
	cmd     *benchIngestCmd
	io      *stdio
	server  *benchServer
	rawNode *natsnode.Node
	raws    []*bench.Raw
	run     int64 // makes orders of one run differ from another's, on a server that goes on
	serial  int   // and of one measurement from another's
	bodies  [2]*bench.Webhook
	orders  *lagProbe
	nats    *natsDoor // nil: only HTTP is measured
	report  *bench.Report
}

var ingestColumns = []bench.Column{
	{Title: "clients", Of: "clients"},
	{Title: "webhooks/s", Of: bench.PerSecond},
	{Title: "p50", Of: bench.P50},
	{Title: "p99", Of: bench.P99},
	{Title: "failed", Of: bench.Failed},
	{Title: "raw/s", Of: bench.RawPerSecond},
	{Title: "raw p99", Of: bench.RawP99},
	{Title: "ratio", Of: bench.Ratio},
	{Title: "p99 ratio", Of: bench.P99Ratio},
	{Title: "lag p50", Of: "lag_p50_ms"},
	{Title: "lag p99", Of: "lag_p99_ms"},
	{Title: "CPU/webhook", Of: "cpu_us"},
}

// httpRatio is the rate beside HTTP's of the same rounds.
const httpRatio = "http_ratio"

// Run measures and prints a table.
func (c *benchIngestCmd) Run(ctx context.Context, io *stdio) error {
	if c.Rate < 0 {
		return usagef("--rate: not negative")
	}
	defer c.runAsServe(ctx)()
	return c.inDir(func(dir string) (err error) {
		b := &ingestBench{cmd: c, io: io, run: io.now().UnixMilli(), report: c.report("ingest", dir, io.now())}
		defer func() { err = errors.Join(err, b.close()) }()
		if err := b.start(ctx, dir); err != nil {
			return err
		}
		for _, clients := range c.Clients {
			if err := b.measure(ctx, clients); err != nil {
				return err
			}
		}
		columns := ingestColumns
		if b.nats != nil {
			columns = append([]bench.Column{{Title: "over", Of: "mode"}}, append(columns, bench.Column{Title: "to HTTP", Of: httpRatio})...)
		}
		return c.print(io, b.report, columns, rowsOf(b.report.Rows, whatComanda))
	})
}

// runAsServe has garbage have the room here, where raw and the clients are, that it has in
// serve, until ended is called.
func (c *benchIngestCmd) runAsServe(ctx context.Context) (ended func()) {
	ctx, cancel := context.WithCancel(ctx)
	var room sync.WaitGroup
	room.Go(func() { _ = heap.makeRoom(ctx) }) // ctx's
	return func() { cancel(); room.Wait() }
}

func (b *ingestBench) start(ctx context.Context, dir string) error {
	var err error
	if b.cmd.At != "" {
		b.server, err = useBenchServer(b.cmd.At)
	} else {
		b.server, err = startBenchServer(ctx, &benchServe{
			dir: filepath.Join(dir, "comanda"), partitions: b.cmd.Partitions, unsafeNoFsync: b.cmd.UnsafeNoSync, profile: b.cmd.Profile != "",
		}, b.io)
	}
	if err != nil {
		return err
	}
	for i, status := range []string{"pending", "approved"} {
		if b.bodies[i], err = bench.NewWebhook(status, 0, b.io.now()); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(b.cmd.Over, func(over string) bool { return over != overHTTP }) {
		if b.nats, err = openNATSDoor(b.server.dir); err != nil {
			return err
		}
	}
	if b.orders, err = newLagProbe(b.server.addr.GRPC, b.cmd.lagOf(), lagQuestions, b.io.now); err != nil {
		return err
	}
	size, err := b.messageSize(ctx)
	if err != nil {
		return err
	}
	s := &b.report.Settings
	s.Sync, s.PayloadBytes, s.RoundSeconds = syncMode(b.cmd.UnsafeNoSync), size, b.cmd.Duration.Seconds()
	_, _ = fmt.Fprintf(b.io.err, "stored message: %d bytes; raw publishes as many, with fsync %s\n", size, s.Sync)
	b.rawNode, err = natsnode.Start(ctx, natsnode.Config{DataDir: filepath.Join(dir, "raw"), Listen: natsnode.None, UnsafeNoFsync: b.cmd.UnsafeNoSync})
	if err != nil {
		return err
	}
	for _, streams := range b.cmd.RawStreams {
		raw, err := bench.NewRaw(ctx, bench.RawConfig{Conn: b.rawNode.Conn(), Partitions: streams, MessageBytes: size})
		if err != nil {
			return err
		}
		b.raws = append(b.raws, raw)
	}
	return nil
}

// lagOf is one of how many answers whose lag is measured: fewer when the clients send what
// they can, for questions take from the processors what webhooks then lack.
func (c *benchIngestCmd) lagOf() uint64 {
	if c.Rate > 0 {
		return 16
	}
	return 64
}

func (b *ingestBench) close() error {
	var errs []error
	if b.rawNode != nil {
		errs = append(errs, b.rawNode.Close())
	}
	if b.orders != nil {
		errs = append(errs, b.orders.close())
	}
	if b.nats != nil {
		b.nats.close()
	}
	if b.server != nil {
		errs = append(errs, b.server.stop())
	}
	return errors.Join(errs...)
}

// messageSize posts a few webhooks and reads how large the log stored them.
func (b *ingestBench) messageSize(ctx context.Context) (int, error) {
	b.comanda(ctx, 4, 500*time.Millisecond)
	b.orders.take()
	conn, err := connectCore(b.server.dir)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	stored, err := bench.LogOf(ctx, js)
	if err == nil && stored.Events == 0 {
		err = domain.Errorf(domain.Internal, "bench: the warm-up stored nothing")
	}
	return stored.MessageBytes(), err
}

// measure takes every round of one number of clients, and reports each way in
// beside the best of the raw rows, and beside HTTP.
func (b *ingestBench) measure(ctx context.Context, clients int) error {
	var contenders []bench.Contender
	for _, over := range b.cmd.Over {
		contenders = append(contenders, bench.Contender{
			What: whatComanda, Mode: over, Partitions: b.cmd.Partitions,
			Round: func(ctx context.Context) (bench.Result, error) { return b.round(ctx, over, clients), nil },
		})
	}
	for i, raw := range b.raws {
		contenders = append(contenders, bench.Contender{
			What: whatRaw, Partitions: b.cmd.RawStreams[i],
			Round: func(ctx context.Context) (bench.Result, error) {
				return raw.Round(ctx, b.io.now, clients, b.cmd.Duration), nil
			},
		})
	}
	rows, err := bench.Rotate(ctx, b.cmd.Rounds, contenders)
	if err != nil {
		return err
	}
	doors, raws := rows[:len(b.cmd.Over)], rows[len(b.cmd.Over):]
	best, http := bench.Best(raws), slices.Index(b.cmd.Over, overHTTP)
	for i := range doors {
		if best != nil {
			doors[i].Against(best)
		}
		if http >= 0 && i != http {
			doors[i].Figures[httpRatio] = bench.Quotient(doors[i].Figures[bench.PerSecond], doors[http].Figures[bench.PerSecond])
		}
	}
	b.report.Rows = append(b.report.Rows, rows...)
	if b.cmd.Profile == "" {
		return nil
	}
	profiles := b.server.profile(ctx, b.cmd.Profile, "ingest-"+strconv.Itoa(clients), b.cmd.Duration)
	b.drive(ctx, b.cmd.Over[0], clients)
	return profiles()
}

// round is one of Comanda's: with the processor time that the server used for it,
// and how far the view was behind.
func (b *ingestBench) round(ctx context.Context, over string, clients int) bench.Result {
	before := b.server.cpu(ctx)
	r := b.drive(ctx, over, clients)
	used := b.server.cpu(ctx) - before
	seen := b.orders.take()
	slices.Sort(seen.lag)
	r.Also = map[string]float64{
		"cpu_us":     float64(used.Microseconds()) / float64(max(r.Calls, 1)),
		"lag_p50_ms": bench.Milliseconds(bench.At(seen.lag, 0.5)), "lag_p99_ms": bench.Milliseconds(bench.At(seen.lag, 0.99)),
		"lag_orders": float64(len(seen.lag)),
	}
	for word, n := range map[string]int{"unseen": seen.unseen, "lag not asked": seen.notAsked} {
		if n > 0 {
			r.Failures[word] = n
		}
	}
	return r
}

// drive has the clients send what they can by one way in.
func (b *ingestBench) drive(ctx context.Context, over string, clients int) bench.Result {
	if over == overHTTP {
		return b.comanda(ctx, clients, b.cmd.Duration)
	}
	return b.overNATS(ctx, over, clients)
}

// comanda drives the server: each client sends pending and approved of one
// order after another.
func (b *ingestBench) comanda(ctx context.Context, clients int, d time.Duration) bench.Result {
	b.serial++
	return driveWebhooks(ctx, b.io.now, b.server, &webhookDrive{
		load: bench.Load{Clients: clients, Duration: d, PerSecond: b.cmd.Rate}, run: b.run, serial: b.serial, bodies: b.bodies, answered: b.orders.offer,
	})
}

// webhookDrive is who posts what for how long.
type webhookDrive struct {
	load     bench.Load
	run      int64
	serial   int
	bodies   [2]*bench.Webhook
	answered func(answer []byte) // of every success
}

func driveWebhooks(ctx context.Context, now func() time.Time, server *benchServer, w *webhookDrive) bench.Result {
	posters := server.connected(ctx, now(), w.load.Clients)
	buffers := make([][]byte, w.load.Clients)
	return bench.Drive(ctx, now, w.load, func(ctx context.Context, client, n int) string {
		order := bench.AppendOrder(nil, w.run, int64(w.serial), int64(client), int64(n/2))
		buffers[client] = w.bodies[n%2].AppendBody(buffers[client][:0], order)
		status, answer, err := posters[client].Post(ctx, buffers[client])
		switch {
		case err != nil:
			return "connection"
		case status != 200:
			return strconv.Itoa(status)
		case !bytes.Contains(answer, applied):
			return "not applied"
		}
		w.answered(answer)
		return ""
	})
}

// applied stands in every answer that counts: what is less work is no success.
var applied = []byte(`"outcome":"applied"`)
