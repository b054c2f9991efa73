package notify

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// arrival is an event as the durable delivered it.
type arrival struct {
	rec  domain.Recorded
	msg  jetstream.Msg
	from *durable.Consumer
}

// ack tells the server that the endpoint, or a blockade, has the event. It is
// not waited for: one that is lost means a redelivery, which is harmless.
func (a *arrival) ack() error {
	if err := a.msg.Ack(); err != nil {
		return fmt.Errorf("acknowledge %s: %w", a.rec.Event.ID, err)
	}
	return nil
}

// lane is what a feed does for one order. Only the feed's loop touches it; while
// busy, a worker has a copy of what it needs.
type lane struct {
	order domain.OrderID
	// queue are the events that arrived and are not acknowledged, by revision.
	queue []*arrival
	// blocked is the order's blockade; nil: none.
	blocked *blockade
	// news is a change of the blockade that was seen while a worker was busy with it.
	news *change
	// due says that the blockade's next attempt may be made.
	due bool

	busy   bool // a worker has it
	listed bool // it is in the feed's ready list
	parked bool // its head waits for its predecessor

	// stopTimer ends the wait for the blockade's next attempt; nil: none runs.
	stopTimer context.CancelFunc
}

// change is a record as the bucket has it now; nil: removed.
type change struct {
	to    *blockade
	stamp uint64
}

// insert puts a in its place. An event that is already there was redelivered:
// the newer delivery is the one to acknowledge.
func (l *lane) insert(a *arrival) {
	i, found := slices.BinarySearchFunc(l.queue, a.rec.Event.Revision, func(q *arrival, revision uint64) int {
		return cmp.Compare(q.rec.Event.Revision, revision)
	})
	if found {
		l.queue[i] = a
		return
	}
	l.queue = slices.Insert(l.queue, i, a)
}

// through drops the queued events up to and including revision.
func (l *lane) through(revision uint64) {
	n := 0
	for n < len(l.queue) && l.queue[n].rec.Event.Revision <= revision {
		n++
	}
	l.queue = slices.Delete(l.queue, 0, n)
}

// task is what there is to do in the lane now; nil: nothing.
func (l *lane) task() taskKind {
	switch {
	case l.busy || l.parked:
		return taskNone
	case l.blocked != nil && len(l.queue) > 0:
		return taskJoin
	case l.blocked != nil && l.due:
		return taskRetry
	case l.blocked == nil && len(l.queue) > 0:
		return taskDeliver
	}
	return taskNone
}

type taskKind uint8

const (
	taskNone    taskKind = iota
	taskDeliver          // the head of the queue, for the first time
	taskJoin             // the queue waits behind a blockade: record that, and acknowledge
	taskRetry            // the blockade's next attempt
)

// chains remember, for the orders used last, what the endpoint was told. What it
// forgets is folded from the log again.
type chains struct {
	most   int
	byID   map[domain.OrderID]*list.Element
	recent *list.List
}

type chainEntry struct {
	id    domain.OrderID
	chain delivery.Chain
}

func newChains(most int) *chains {
	return &chains{most: most, byID: make(map[domain.OrderID]*list.Element), recent: list.New()}
}

func (c *chains) get(id domain.OrderID) (delivery.Chain, bool) {
	el, ok := c.byID[id]
	if !ok {
		return delivery.Chain{}, false
	}
	c.recent.MoveToFront(el)
	return el.Value.(*chainEntry).chain, true
}

func (c *chains) put(id domain.OrderID, chain delivery.Chain) {
	if el, ok := c.byID[id]; ok {
		el.Value.(*chainEntry).chain = chain
		c.recent.MoveToFront(el)
		return
	}
	c.byID[id] = c.recent.PushFront(&chainEntry{id: id, chain: chain})
	for c.recent.Len() > c.most {
		oldest := c.recent.Back()
		c.recent.Remove(oldest)
		delete(c.byID, oldest.Value.(*chainEntry).id)
	}
}
