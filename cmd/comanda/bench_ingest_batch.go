package main

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/stream"
)

// gatherer sends what waits on a connection as one atomic batch, and meanwhile gathers
// the next: what a checkout with many messages at once can do.
type gatherer struct {
	publisher *stream.Publisher
	waiting   chan gathered
	done      sync.WaitGroup
}

type gathered struct {
	message *nats.Msg
	failure chan<- string
}

// batchMost is how many messages nats-server takes as one batch.
const batchMost = 1000

func newGatherer(conn *nats.Conn) (*gatherer, error) {
	publisher, err := stream.NewPublisher(conn)
	if err != nil {
		return nil, err
	}
	g := &gatherer{publisher: publisher, waiting: make(chan gathered, batchMost)}
	g.done.Go(g.run)
	return g, nil
}

// close ends it; nobody may send any more.
func (g *gatherer) close() {
	close(g.waiting)
	g.done.Wait()
	g.publisher.Close() //nolint:errcheck,gosec // the connection ends as well
}

// send is back when m is stored: "", or not.
func (g *gatherer) send(m *nats.Msg) (failure string) {
	answer := make(chan string, 1)
	g.waiting <- gathered{m, answer}
	return <-answer
}

func (g *gatherer) run() {
	for first := range g.waiting {
		batch := []gathered{first}
		for len(batch) < batchMost && len(g.waiting) > 0 {
			batch = append(batch, <-g.waiting)
		}
		failure := ""
		if err := g.publish(batch); err != nil {
			failure = "not stored"
		}
		for _, one := range batch {
			one.failure <- failure
		}
	}
}

func (g *gatherer) publish(batch []gathered) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	if len(batch) == 1 {
		_, err := g.publisher.Publish(ctx, batch[0].message)
		return err
	}
	messages := make([]*nats.Msg, len(batch))
	for i := range batch {
		messages[i] = batch[i].message
	}
	_, err := g.publisher.PublishBatch(ctx, messages)
	return err
}
