package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"comanda.internal/cmd/comanda/bench"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// benchSubscribeCmd measures what subscribers get, and what they cost.
type benchSubscribeCmd struct {
	benchFlags
	benchLogFlags

	Rate        int           `help:"Live events a second." default:"1000"`
	Duration    time.Duration `help:"Length of one measurement of live events." default:"5s"`
	Subscribers int           `help:"Subscribers that all get the same events." default:"100"`
	FanOut      int           `help:"Events that each of them gets in a round." default:"5000"`
	Idle        int           `help:"Idle subscribers, each with a filter of its own." default:"1000"`
}

var subscribeColumns = []bench.Column{
	{Title: "what", Of: "what"},
	{Title: "how", Of: "mode"},
	{Title: "subscribers", Of: "clients"},
	{Title: "messages/s", Of: bench.PerSecond},
	{Title: "lag p50", Of: "lag_p50_ms"},
	{Title: "lag p99", Of: "lag_p99_ms"},
	{Title: "failed", Of: bench.Failed},
	{Title: "raw/s", Of: bench.RawPerSecond},
	{Title: "ratio", Of: bench.Ratio},
	{Title: "RSS bytes/subscriber", Of: "rss_bytes_per_subscriber"},
	{Title: "heap and stacks", Of: "held_bytes_per_subscriber"},
}

// How events come to subscribers.
const (
	modeCatchUp    = "catch_up"
	modeFanOut     = "fan_out"
	modeFanOutLive = "fan_out_live"
	modeLive       = "live"
	modeIdle       = "idle"
)

// Run measures on three servers, one after the other.
func (c *benchSubscribeCmd) Run(ctx context.Context, out *stdio) error {
	if min(c.Rate, c.Subscribers, c.FanOut, c.Idle) < 1 {
		return usagef("--rate, --subscribers, --fan-out and --idle: at least 1")
	}
	return c.inDir(func(dir string) error {
		data, made, err := c.prepare(ctx, dir, out)
		if err != nil {
			return err
		}
		report := c.report("subscribe", data, out.now())
		report.Settings.Sync, report.Settings.LogMade = syncMode(false), made
		report.Settings.RoundSeconds = c.Duration.Seconds()
		for _, measure := range []func() ([]bench.Row, error){
			func() ([]bench.Row, error) { return c.catchUp(ctx, dir, data, out, &report.Settings) },
			func() ([]bench.Row, error) { return c.live(ctx, filepath.Join(dir, "live"), out) },
			func() ([]bench.Row, error) { return c.idle(ctx, filepath.Join(dir, "idle"), out) },
		} {
			rows, err := measure()
			if err != nil {
				return err
			}
			report.Rows = append(report.Rows, rows...)
		}
		return c.print(out, report, subscribeColumns, report.Rows)
	})
}

// catchUp has one subscriber read the log from its beginning, beside a raw replay.
func (c *benchSubscribeCmd) catchUp(ctx context.Context, dir, data string, out *stdio, settings *bench.Settings) (rows []bench.Row, err error) {
	b := &replayBench{dir: dir}
	if err := b.open(ctx, data, out, settings); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.stack.stop(ctx)) }()
	b.cmd.GRPC = anyPort
	if err := b.startGRPC(ctx); err != nil {
		return nil, err
	}
	rows, err = bench.Rotate(ctx, c.Rounds, []bench.Contender{
		{What: whatRaw, Mode: modeCatchUp, Partitions: b.stored.Partitions, Round: func(ctx context.Context) (bench.Result, error) {
			return bench.Timed(b.now, func() (int, error) { return b.stored.Events, b.raw(ctx) })
		}},
		{What: whatComanda, Mode: modeCatchUp, Partitions: b.stored.Partitions, Round: func(ctx context.Context) (bench.Result, error) {
			r, err := bench.Timed(b.now, func() (int, error) { return b.stored.Events, b.subscribe(ctx) })
			r.Clients = 1
			return r, err
		}},
	})
	if err != nil {
		return nil, err
	}
	rows[1].Against(&rows[0])
	return rows, nil
}

// subscribe reads every event as a subscriber from the beginning.
func (b *replayBench) subscribe(ctx context.Context) (err error) {
	s, err := openSubscribers(ctx, b.addr.GRPC, subscribeMethod, 1, func(int) *comandav1.SubscribeRequest {
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Beginning_{}}
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return s.receive(b.stored.Events)
}

// idle has serve, in a process of its own, keep subscribers who want nothing of what there is.
func (c *benchSubscribeCmd) idle(ctx context.Context, dir string, out *stdio) ([]bench.Row, error) {
	return bench.Rotate(ctx, c.Rounds, []bench.Contender{
		{What: whatComanda, Mode: modeIdle, Partitions: 1, Round: func(ctx context.Context) (bench.Result, error) {
			r, err := c.idleRound(ctx, dir, out)
			r.Clients = c.Idle
			return r, err
		}},
	})
}

func (c *benchSubscribeCmd) idleRound(ctx context.Context, dir string, out *stdio) (r bench.Result, err error) {
	server, err := startBenchServer(ctx, &benchServe{dir: dir, partitions: 1, pprof: true, logLevel: "error"}, out)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	before, err := memoryOf(ctx, server)
	if err != nil {
		return r, err
	}
	var all *subscribers
	r, err = bench.Timed(out.now, func() (int, error) {
		all, err = openSubscribers(ctx, server.addr.GRPC, subscribeMethod, c.Idle, idleRequest)
		if err != nil {
			return 0, err
		}
		return c.Idle, all.ready()
	})
	if all == nil {
		return r, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	if err != nil {
		return r, err
	}
	after, err := memoryOf(ctx, server)
	if err != nil {
		return r, err
	}
	r.Also = map[string]float64{}
	for name, bytes := range after {
		r.Also[name+"_bytes_per_subscriber"] = (bytes - before[name]) / float64(c.Idle)
	}
	return r, nil
}

// idleRequest is for one merchant's moves and an order that there is not.
func idleRequest(n int) *comandav1.SubscribeRequest {
	return &comandav1.SubscribeRequest{
		Start: &comandav1.SubscribeRequest_Now_{},
		Filter: &comandav1.EventFilter{
			Tenants: []string{string(bench.Tenant)}, References: []string{"idle", string(bench.AppendOrder(nil, int64(n)))},
			Edges: []*comandav1.StatusEdge{{To: comandav1.OrderStatus_ORDER_STATUS_APPROVED}, {To: comandav1.OrderStatus_ORDER_STATUS_REFUNDED}},
		},
	}
}

// memoryOf is what the server has in memory: of the system, and, once its garbage is
// collected, in heap and stacks.
func memoryOf(ctx context.Context, s *benchServer) (map[string]float64, error) {
	if err := s.collect(ctx); err != nil {
		return nil, err
	}
	m := s.metrics(ctx, "process_resident_memory_bytes", "go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes")
	return map[string]float64{"rss": m[0], "held": m[1] + m[2]}, nil
}

// subscribeMethod is the method that subscribers call.
const subscribeMethod = comandav1.EventService_Subscribe_FullMethodName

// anyPort listens wherever there is room.
const anyPort = "127.0.0.1:0"
