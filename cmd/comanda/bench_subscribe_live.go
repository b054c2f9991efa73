package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// liveSite is a server in this process, with its views, and what writes to its log.
type liveSite struct {
	*app

	cmd      *benchSubscribeCmd
	recorder *eventstore.Recorder
	bodies   [2]*bench.Webhook
	serial   int64
	filled   int // orders
	frames   [][]byte
}

// live measures events that come while subscribers wait for them.
func (c *benchSubscribeCmd) live(ctx context.Context, dir string, out *stdio) (rows []bench.Row, err error) {
	s := &liveSite{cmd: c}
	serve := &serveCmd{DataDir: dir, GRPC: anyPort, NATSListen: natsnode.None, LogLevel: "error"}
	s.app, err = openBenchLog(ctx, serve, out, func(a *app) []func(context.Context) error {
		return []func(context.Context) error{a.startNode, a.openVault, a.openViews, a.openLog, a.startViews, a.awaitViews, a.startGRPC}
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stack.stop(ctx)) }()
	if s.recorder, err = eventstore.NewRecorder(s.log, s.vault, order.Default(), eventstore.RecorderConfig{Clock: s.now}); err != nil {
		return nil, err
	}
	for i, status := range []string{"pending", "approved"} {
		if s.bodies[i], err = bench.NewWebhook(status, 0, s.now()); err != nil {
			return nil, err
		}
	}
	if err := s.captureFrames(ctx); err != nil {
		return nil, err
	}
	rows, err = bench.Rotate(ctx, c.Rounds, []bench.Contender{
		{What: whatRaw, Mode: modeFanOut, Partitions: 1, Round: s.rawFanOut},
		{What: whatComanda, Mode: modeFanOut, Partitions: 1, Round: s.fanOut},
		{What: whatComanda, Mode: modeFanOutLive, Partitions: 1, Round: s.fanOutLive},
		{What: whatComanda, Mode: modeLive, Partitions: 1, Round: s.latency},
	})
	if err != nil {
		return nil, err
	}
	rows[1].Against(&rows[0])
	rows[2].Against(&rows[0])
	return rows, nil
}

// captureFrames fills the log for the first time, and keeps what subscribers are sent
// of it, for the raw server to send the same.
func (s *liveSite) captureFrames(ctx context.Context) (err error) {
	first, err := s.subscribe(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, first.close()) }()
	if err := first.ready(); err != nil {
		return err
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	s.frames, err = first.capture(s.cmd.FanOut)
	return err
}

// subscribe opens subscriptions to what is recorded from now on.
func (s *liveSite) subscribe(ctx context.Context, n int) (*subscribers, error) {
	return openSubscribers(ctx, s.addr.GRPC, subscribeMethod, n, func(int) *comandav1.SubscribeRequest {
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Now_{}}
	})
}

// fill appends as many events as each subscriber gets in a round.
func (s *liveSite) fill(ctx context.Context) error {
	orders, err := bench.Fill(ctx, bench.FillConfig{
		Log: s.log, Vault: s.vault, Machine: order.Default(), Events: s.cmd.FanOut, First: s.filled, Until: s.now(),
	})
	s.filled += orders
	return err
}

// fanOut measures, from their first call, until every subscriber has every one of the
// newest events, which were appended before.
func (s *liveSite) fanOut(ctx context.Context) (r bench.Result, err error) {
	head, err := s.log.Head(ctx)
	if err != nil {
		return r, err
	}
	first, err := s.subscribe(ctx, 1) // so that the server follows the log
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, first.close()) }()
	if err = first.ready(); err == nil {
		err = s.fill(ctx)
	}
	if err == nil {
		err = first.receive(s.cmd.FanOut)
	}
	if err != nil {
		return r, err
	}
	var all *subscribers
	r, err = bench.Timed(s.now, func() (int, error) {
		all, err = openSubscribers(ctx, s.addr.GRPC, subscribeMethod, s.cmd.Subscribers, func(int) *comandav1.SubscribeRequest {
			return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Position{Position: head.String()}}
		})
		if err != nil {
			return 0, err
		}
		return s.cmd.FanOut * s.cmd.Subscribers, all.receive(s.cmd.FanOut)
	})
	r.Clients = s.cmd.Subscribers
	if all != nil {
		err = errors.Join(err, all.close())
	}
	return r, err
}

// fanOutLive measures from the first append until every subscriber has every event.
func (s *liveSite) fanOutLive(ctx context.Context) (r bench.Result, err error) {
	all, err := s.subscribe(ctx, s.cmd.Subscribers)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	if err := all.ready(); err != nil {
		return r, err
	}
	filled := make(chan error, 1)
	r, err = bench.Timed(s.now, func() (int, error) {
		go func() { filled <- s.fill(ctx) }()
		return s.cmd.FanOut * s.cmd.Subscribers, all.receive(s.cmd.FanOut)
	})
	r.Clients = s.cmd.Subscribers
	return r, errors.Join(err, <-filled)
}

// rawFanOut has a bare gRPC server send the same bytes to as many clients.
func (s *liveSite) rawFanOut(ctx context.Context) (r bench.Result, err error) {
	fan, err := startRawFan(ctx, s.frames)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, fan.stop()) }()
	all, err := openSubscribers(ctx, fan.addr, rawFanMethod, s.cmd.Subscribers, func(int) *comandav1.SubscribeRequest {
		return &comandav1.SubscribeRequest{}
	})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	if err := all.ready(); err != nil {
		return r, err
	}
	r, err = bench.Timed(s.now, func() (int, error) {
		close(fan.start)
		return s.cmd.FanOut * s.cmd.Subscribers, all.receive(s.cmd.FanOut)
	})
	r.Clients = s.cmd.Subscribers
	return r, err
}

// sightings are when events were acknowledged, and when a subscriber saw them.
type sightings struct {
	now func() time.Time

	mu           sync.Mutex
	acknowledged map[string]time.Time
	seen         map[string]time.Time
}

func (s *sightings) note(in map[string]time.Time, id string) {
	at := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	in[id] = at
}

// lags are sorted; an event that was seen before its acknowledgement has none.
func (s *sightings) lags() []time.Duration {
	var out []time.Duration
	for id, at := range s.acknowledged {
		out = append(out, max(s.seen[id].Sub(at), 0))
	}
	slices.Sort(out)
	return out
}

// latency records at the rate that was asked for, and measures from each
// acknowledgement until a subscriber has decoded the event.
func (s *liveSite) latency(ctx context.Context) (r bench.Result, err error) {
	conn, err := (&clientFlags{Server: s.addr.GRPC}).dial()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	stream, err := comandav1.NewEventServiceClient(conn).Subscribe(ctx, &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Now_{}})
	if err != nil {
		return r, err
	}
	if _, err := stream.Header(); err != nil {
		return r, err
	}
	at := &sightings{now: s.now, acknowledged: map[string]time.Time{}, seen: map[string]time.Time{}}
	watched := make(chan error, 1)
	go func() { watched <- at.watch(stream) }()
	r, err = s.record(ctx, at)
	if err = errors.Join(err, <-watched); err != nil {
		return r, err
	}
	lags := at.lags()
	r.Also = map[string]float64{"lag_p50_ms": bench.Milliseconds(bench.At(lags, 0.5)), "lag_p99_ms": bench.Milliseconds(bench.At(lags, 0.99))}
	return r, nil
}

// The references of what is recorded live: the last event ends the watch.
const (
	liveReference = "bench"
	lastReference = "last"
)

// watch notes what comes, up to the last event, which is after all others in the one partition.
func (s *sightings) watch(stream grpc.ServerStreamingClient[comandav1.SubscribeResponse]) error {
	for {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		e := m.GetEvent().GetEvent()
		if e.GetReference() == lastReference {
			return nil
		}
		if e != nil {
			s.note(s.seen, e.GetEventId())
		}
	}
}

// record keeps the rate, and then records the last event.
func (s *liveSite) record(ctx context.Context, at *sightings) (bench.Result, error) {
	s.serial++
	const clients = 32
	load := bench.Load{Clients: clients, Duration: s.cmd.Duration, PerSecond: s.cmd.Rate}
	r := bench.Drive(ctx, s.now, load, func(ctx context.Context, client, n int) string {
		id, err := s.one(ctx, bench.AppendOrder(nil, -s.serial, int64(client), int64(n/2)), liveReference, n%2)
		if err != nil {
			return domain.KindOf(err).String()
		}
		at.note(at.acknowledged, string(id))
		return ""
	})
	r.Clients = 1
	_, err := s.one(ctx, bench.AppendOrder(nil, -s.serial, clients), lastReference, 0)
	return r, err
}

// one records pending, or approved, of an order.
func (s *liveSite) one(ctx context.Context, id []byte, reference string, body int) (domain.EventID, error) {
	msg, fact := s.bodies[body].Of(id, reference, s.now().UTC())
	outcomes, err := s.recorder.Record(ctx, msg, []domain.Fact{fact})
	if err != nil {
		return "", err
	}
	return outcomes[0].EventID, nil
}
