package main

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/eventstore/natsnode"
)

// The ways in that ingest measures.
const (
	overHTTP   = "http"
	overRecord = "record" // a request, answered when the fact is durable
	overIntake = "intake" // a message to intake.<source>, until its outcome is heard
	overBatch  = "batch"  // the same, but what waits to be sent goes as one batch
)

// natsConns is how many connections the clients share, as those of one program do.
const natsConns = 4

// natsDoor is a checkout that sends the same messages as the webhooks.
type natsDoor struct {
	conns     []*nats.Conn
	gatherers []*gatherer // one for each

	mu    sync.Mutex
	heard map[string]chan []byte // by message id: who waits for its outcome
}

func openNATSDoor(dir string) (*natsDoor, error) {
	d := &natsDoor{heard: map[string]chan []byte{}}
	for range natsConns {
		conn, err := connectBy(dir, natsnode.CheckoutCredentials)
		if err != nil {
			d.close()
			return nil, err
		}
		d.conns = append(d.conns, conn)
		g, err := newGatherer(conn)
		if err != nil {
			d.close()
			return nil, err
		}
		d.gatherers = append(d.gatherers, g)
	}
	if _, err := d.conns[0].Subscribe("outcome."+string(bench.Source), d.outcome); err != nil {
		d.close()
		return nil, err
	}
	return d, d.conns[0].Flush()
}

func (d *natsDoor) close() {
	for _, g := range d.gatherers {
		g.close()
	}
	for _, conn := range d.conns {
		conn.Close()
	}
}

// outcome hands an outcome to who waits for it.
func (d *natsDoor) outcome(m *nats.Msg) {
	id := m.Header.Get(nats.MsgIdHdr)
	d.mu.Lock()
	waiting := d.heard[id]
	delete(d.heard, id)
	d.mu.Unlock()
	if waiting != nil {
		waiting <- m.Data
	}
}

// record sends a fact and waits until it is durable.
func (d *natsDoor) record(ctx context.Context, client int, _ string, body []byte) (answer []byte, failure string) {
	m, err := d.conns[client%len(d.conns)].RequestWithContext(ctx, "comanda.record."+string(bench.Source), body)
	if err != nil {
		return nil, "connection"
	}
	return m.Data, m.Header.Get(micro.ErrorCodeHeader)
}

// intake publishes a message and waits until it is acknowledged and its outcome heard.
func (d *natsDoor) intake(ctx context.Context, client int, id string, body []byte) (answer []byte, failure string) {
	return d.stored(ctx, id, body, func(m *nats.Msg) string {
		stored, err := d.conns[client%len(d.conns)].RequestMsgWithContext(ctx, m)
		switch {
		case err != nil:
			return "connection"
		case bytes.Contains(stored.Data, []byte(`"error"`)):
			return "not stored"
		}
		return ""
	})
}

// batch is intake, but the message goes with those of the clients beside.
func (d *natsDoor) batch(ctx context.Context, client int, id string, body []byte) (answer []byte, failure string) {
	return d.stored(ctx, id, body, func(m *nats.Msg) string {
		return d.gatherers[client%len(d.gatherers)].send(m)
	})
}

// stored has send store a message and waits for its outcome.
func (d *natsDoor) stored(ctx context.Context, id string, body []byte, send func(*nats.Msg) (failure string)) (answer []byte, failure string) {
	outcome := make(chan []byte, 1)
	d.mu.Lock()
	d.heard[id] = outcome
	d.mu.Unlock()
	m := nats.NewMsg("intake." + string(bench.Source))
	m.Data = body
	m.Header.Set(nats.MsgIdHdr, id)
	if failure = send(m); failure != "" {
		return nil, failure
	}
	select {
	case answer = <-outcome:
		return answer, ""
	case <-ctx.Done():
		return nil, "no outcome"
	}
}

// answerLimit is when a message over NATS counts as lost.
const answerLimit = 30 * time.Second

// overNATS drives the server as comanda does, over NATS.
func (b *ingestBench) overNATS(ctx context.Context, over string, clients int) bench.Result {
	b.serial++
	send := b.nats.record
	switch over {
	case overIntake:
		send = b.nats.intake
	case overBatch:
		send = b.nats.batch
	}
	buffers := make([][]byte, clients)
	load := bench.Load{Clients: clients, Duration: b.cmd.Duration, PerSecond: b.cmd.Rate}
	return bench.Drive(ctx, b.io.now, load, func(ctx context.Context, client, n int) string {
		ctx, cancel := context.WithTimeout(ctx, answerLimit)
		defer cancel()
		order := bench.AppendOrder(nil, b.run, int64(b.serial), int64(client), int64(n/2))
		buffers[client] = b.bodies[n%2].AppendBody(buffers[client][:0], order)
		answer, failure := send(ctx, client, string(order)+strconv.Itoa(n%2), buffers[client])
		switch {
		case failure != "":
			return failure
		case !bytes.Contains(answer, applied):
			return "not applied"
		}
		b.orders.offer(answer) //nolint:contextcheck // the view is asked for longer than the call is
		return ""
	})
}
