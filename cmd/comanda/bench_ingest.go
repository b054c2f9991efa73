package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// benchCmd measures.
type benchCmd struct {
	Ingest benchIngestCmd `cmd:"" help:"Webhooks a second, latency of the 2xx and lag to the view, beside the raw rate."`
}

// benchIngestCmd measures the way from a webhook to its 2xx.
type benchIngestCmd struct {
	Clients      []int         `help:"Numbers of clients." default:"1,64,256,1000"`
	Rounds       int           `help:"Rotated rounds of Comanda and raw; medians are shown." default:"3"`
	Duration     time.Duration `help:"Length of one measurement." default:"3s"`
	Dir          string        `help:"Where to put the data (its disk is what is measured). Default: a temporary directory." type:"path"`
	At           string        `help:"Data directory of a running demo server to measure; none: one is started." type:"path"`
	Partitions   int           `help:"Partitions of Comanda's log." default:"1"`
	RawStreams   []int         `help:"Numbers of raw streams; the best counts." default:"1,8"`
	UnsafeNoSync bool          `name:"unsafe-no-fsync" help:"Measure without fsync on both sides: says nothing of a durable log."`
}

// ingestBench is one run: a server in a process of its own, and the raw limits.
type ingestBench struct {
	cmd    *benchIngestCmd
	io     *stdio
	server *benchServer
	raws   []*bench.Raw
	run    int64 // makes orders of one run differ from another's, on a server that goes on
	serial int   // and of one measurement from another's
	bodies [2]benchBody
	orders *lagProbe
}

// measurement is all rounds of one number of clients.
type measurement struct {
	rounds []bench.Result
	raw    [][]bench.Result // by raw stream count
	lag    []time.Duration
	unseen int // of those asked for, not in the view after all of lagLimit
	cpu    time.Duration
}

// Run measures and prints a table.
func (c *benchIngestCmd) Run(ctx context.Context, io *stdio) (err error) {
	dir := c.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "comanda-bench-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	b := &ingestBench{cmd: c, io: io, run: io.now().UnixMilli()}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, dir); err != nil {
		return err
	}
	out := tabwriter.NewWriter(io.out, 0, 8, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(out, "clients\twebhooks/s\tp50\tp99\tfailed\traw/s\traw p99\tratio\tp99 ratio\tlag p50\tlag p99\tCPU/webhook\t")
	for _, clients := range c.Clients {
		m, err := b.measure(ctx, clients)
		if err != nil {
			return err
		}
		b.row(out, clients, m)
	}
	return out.Flush()
}

func (b *ingestBench) start(ctx context.Context, dir string) error {
	var err error
	if b.cmd.At != "" {
		b.server, err = useBenchServer(b.cmd.At)
	} else {
		b.server, err = startBenchServer(ctx, b.cmd, filepath.Join(dir, "comanda"), b.io)
	}
	if err != nil {
		return err
	}
	for i, status := range []string{"pending", "approved"} {
		if b.bodies[i], err = newBenchBody(status, b.io.now()); err != nil {
			return err
		}
	}
	if b.orders, err = newLagProbe(b.server.addr.GRPC, b.io.now); err != nil {
		return err
	}
	size, err := b.messageSize(ctx)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(b.io.err, "stored message: %d bytes; raw publishes as many, with fsync %s\n", size,
		map[bool]string{false: "on", true: "OFF"}[b.cmd.UnsafeNoSync])
	for _, streams := range b.cmd.RawStreams {
		raw, err := bench.NewRaw(ctx, filepath.Join(dir, "raw-"+strconv.Itoa(streams)), streams, size, b.cmd.UnsafeNoSync)
		if err != nil {
			return err
		}
		b.raws = append(b.raws, raw)
	}
	return nil
}

func (b *ingestBench) close() error {
	var errs []error
	for _, raw := range b.raws {
		errs = append(errs, raw.Close())
	}
	if b.orders != nil {
		errs = append(errs, b.orders.close())
	}
	if b.server != nil {
		errs = append(errs, b.server.stop())
	}
	return errors.Join(errs...)
}

// messageSize posts a few webhooks and reads how large the log stored them.
func (b *ingestBench) messageSize(ctx context.Context) (int, error) {
	b.comanda(ctx, 4, 500*time.Millisecond)
	conn, err := connectCore(b.server.dir)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	var messages, size uint64
	for info := range js.ListStreams(ctx, jetstream.WithStreamListSubject("orders.>")).Info() {
		messages += info.State.Msgs
		size += info.State.Bytes
	}
	if messages == 0 {
		return 0, domain.Errorf(domain.Internal, "bench: the warm-up stored nothing")
	}
	return int(size / messages), nil //nolint:gosec // some kilobytes
}

// measure takes every round of one number of clients, in another order each.
func (b *ingestBench) measure(ctx context.Context, clients int) (*measurement, error) {
	m := &measurement{raw: make([][]bench.Result, len(b.raws))}
	for round := range b.cmd.Rounds {
		for turn := range len(b.raws) + 1 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			which := (turn + round) % (len(b.raws) + 1)
			if which > 0 {
				m.raw[which-1] = append(m.raw[which-1], b.raws[which-1].Round(ctx, b.io.now, clients, b.cmd.Duration))
				continue
			}
			before := b.server.cpu(ctx)
			m.rounds = append(m.rounds, b.comanda(ctx, clients, b.cmd.Duration))
			m.cpu += b.server.cpu(ctx) - before
			lag, unseen := b.orders.take()
			m.lag, m.unseen = append(m.lag, lag...), m.unseen+unseen
		}
	}
	return m, nil
}

// comanda drives the server: each client sends pending and approved of one
// order after another.
func (b *ingestBench) comanda(ctx context.Context, clients int, d time.Duration) bench.Result {
	b.serial++
	serial := b.serial
	posters := make([]*bench.Poster, clients)
	buffers := make([][]byte, clients)
	for i := range posters {
		posters[i] = bench.NewPoster(b.server.addr.HTTP, "/webhooks/loja-aprovei", b.server.token)
		posters[i].Connect(ctx) //nolint:errcheck,gosec // the first call tries again, and counts its failure
		defer posters[i].Close()
	}
	return bench.Drive(ctx, b.io.now, clients, d, func(ctx context.Context, client, n int) string {
		buffers[client] = b.bodies[n%2].of(buffers[client][:0], b.run, int64(serial), int64(client), int64(n/2))
		status, answer, err := posters[client].Post(ctx, buffers[client])
		switch {
		case err != nil:
			return "connection"
		case status != 200:
			return strconv.Itoa(status)
		case !bytes.Contains(answer, applied):
			return "not applied"
		}
		if n%16 == client%16 {
			b.orders.offer(answer)
		}
		return ""
	})
}

// applied stands in every answer that counts: what is less work is no success.
var applied = []byte(`"outcome":"applied"`)

func (b *ingestBench) row(out *tabwriter.Writer, clients int, m *measurement) {
	all := bench.Merge(m.rounds)
	rate := median(m.rounds, (*bench.Result).Rate)
	p99 := median(m.rounds, quantile(0.99))
	var raw, rawP99 float64
	for _, rounds := range m.raw {
		if r := median(rounds, (*bench.Result).Rate); r > raw {
			raw, rawP99 = r, median(rounds, quantile(0.99))
		}
	}
	slices.Sort(m.lag)
	failed := []string{strconv.Itoa(all.Failed())}
	for _, word := range all.Words() {
		failed = append(failed, fmt.Sprintf("%s:%d", word, all.Failures[word]))
	}
	if m.unseen > 0 {
		failed = append(failed, fmt.Sprintf("unseen:%d", m.unseen))
	}
	_, _ = fmt.Fprintf(out, "%d\t%.0f\t%s\t%s\t%s\t%.0f\t%s\t%.2f\t%.2f\t%s\t%s\t%s\t\n",
		clients, rate, ms(median(m.rounds, quantile(0.5))), ms(p99), strings.Join(failed, " "), raw, ms(rawP99), ratio(rate, raw), ratio(p99, rawP99),
		ms(float64(at(m.lag, 0.5))), ms(float64(at(m.lag, 0.99))),
		(m.cpu / time.Duration(max(all.Calls, 1))).Round(time.Microsecond))
}

func quantile(q float64) func(*bench.Result) float64 {
	return func(r *bench.Result) float64 { return float64(r.Quantile(q)) }
}

func median(rounds []bench.Result, figure func(*bench.Result) float64) float64 {
	values := make([]float64, len(rounds))
	for i := range rounds {
		values[i] = figure(&rounds[i])
	}
	return bench.Median(values)
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func ms(nanoseconds float64) string { return strconv.FormatFloat(nanoseconds/1e6, 'f', 1, 64) + "ms" }

// benchBody is a webhook whose order id is filled in for each call.
type benchBody struct{ parts [][]byte }

const benchOrder = "BENCHORDERID"

func newBenchBody(status string, at time.Time) (benchBody, error) {
	body, _, err := aprovei.Sample(sample.Options{Status: status, OrderID: benchOrder, Reference: "bench", At: at})
	if err != nil {
		return benchBody{}, err
	}
	return benchBody{parts: bytes.Split(body, []byte(benchOrder))}, nil
}

// of appends the body of the order with these numbers to buf.
func (b benchBody) of(buf []byte, order ...int64) []byte {
	for i, part := range b.parts {
		if i > 0 {
			buf = append(buf, 'B')
			for _, number := range order {
				buf = strconv.AppendInt(buf, number, 36)
				buf = append(buf, '-')
			}
		}
		buf = append(buf, part...)
	}
	return buf
}

// lagProbe measures, for some of the answers, how long after the
// acknowledgement the view shows the order.
type lagProbe struct {
	now    func() time.Time
	conn   interface{ Close() error }
	client comandav1.OrderServiceClient
	asked  chan lagQuestion
	wg     sync.WaitGroup

	mu     sync.Mutex
	lag    []time.Duration
	unseen int
}

// lagLimit is when the view is given up on.
const lagLimit = 10 * time.Second

type lagQuestion struct {
	order, position string
	acknowledged    time.Time
}

func newLagProbe(target string, now func() time.Time) (*lagProbe, error) {
	conn, err := (&clientFlags{Server: target}).dial()
	if err != nil {
		return nil, err
	}
	p := &lagProbe{now: now, conn: conn, client: comandav1.NewOrderServiceClient(conn), asked: make(chan lagQuestion, 4)}
	for range 4 {
		p.wg.Go(p.work)
	}
	return p, nil
}

// offer has the lag of an answer measured, unless the probe is busy.
func (p *lagProbe) offer(answer []byte) {
	q := lagQuestion{order: textField(answer, "order_id"), position: textField(answer, "position"), acknowledged: p.now()}
	select {
	case p.asked <- q:
	default:
	}
}

func (p *lagProbe) work() {
	for q := range p.asked {
		ctx, cancel := context.WithTimeout(context.Background(), lagLimit)
		_, err := p.client.GetOrder(ctx, &comandav1.GetOrderRequest{OrderId: q.order, MinPosition: q.position})
		cancel()
		p.mu.Lock()
		if err == nil {
			p.lag = append(p.lag, p.now().Sub(q.acknowledged))
		} else {
			p.unseen++
		}
		p.mu.Unlock()
	}
}

// take gives what was measured since the last call.
func (p *lagProbe) take() (lag []time.Duration, unseen int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lag, unseen = p.lag, p.unseen
	p.lag, p.unseen = nil, 0
	return lag, unseen
}

func (p *lagProbe) close() error {
	close(p.asked)
	p.wg.Wait()
	return p.conn.Close()
}

// textField is the text of a field of an answer that Comanda wrote.
func textField(answer []byte, name string) string {
	_, rest, ok := strings.Cut(string(answer), `"`+name+`":"`)
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}
