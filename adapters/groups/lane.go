package groups

import (
	"cmp"
	"slices"
	"time"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// lane is what a desk does for one order. Only the desk's loop touches it; while
// busy, a worker has a copy of what it needs.
type lane struct {
	order domain.OrderID
	// queue are the events that arrived and are not acknowledged, by revision.
	queue []*arrival
	// hold is what is held of the order; nil: nothing.
	hold *hold
	// stamp is that of the newest record of the order that is known, of its removal too.
	stamp uint64
	// news is a change of the record that was seen while the lane was not free.
	news *news

	flight *flight  // an event of it is with a member
	after  *outcome // the flight's, which came while a worker was busy with it
	busy   bool
	listed bool // in todo or waiting
	known  bool // the head's predecessor is settled
	// doubted says that the head's predecessor was not found to be settled.
	doubted bool

	restsUntil time.Time
}

// news is a record as the bucket has it now; nil: removed.
type news struct {
	to    *hold
	stamp uint64
}

// flight is an event that is with a member.
type flight struct {
	id       string
	lane     *lane
	member   *Member
	rec      *domain.Recorded
	entry    *ring.Entry
	attempt  int
	deadline time.Time
	held     bool // it is what the lane holds
	given    bool // the member has it; else it is being claimed
	sent     bool // under the member's lock
}

type outcomeKind uint8

const (
	acked   outcomeKind = iota
	skipped             // passed over
	retried             // given in vain
	parked
	returned // given back, which does not count
)

var outcomeWords = [...]string{acked: "acked", skipped: "skipped", retried: "retried", parked: "parked", returned: "returned"}

// outcome is what became of a delivery.
type outcome struct {
	kind   outcomeKind
	after  time.Duration
	reason string
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
	l.known = l.known && i > 0
}

// through acknowledges and drops the queued events up to and including revision.
// Acknowledgements are not waited for: one that is lost means a redelivery.
func (l *lane) through(revision uint64) {
	n := 0
	for ; n < len(l.queue) && l.queue[n].rec.Event.Revision <= revision; n++ {
		_ = l.queue[n].msg.Ack() // otherwise it comes again
	}
	if n > 0 {
		l.queue, l.known = slices.Delete(l.queue, 0, n), false
	}
}

// last is the newest revision that waits.
func (l *lane) last() uint64 { return l.queue[len(l.queue)-1].rec.Event.Revision }

type step uint8

const (
	stepNone   step = iota
	stepEmpty       // nothing is left
	stepRest        // until later
	stepDrop        // the head was settled before
	stepPass        // the head is not wanted
	stepSeen        // the queue was seen before, and waits behind what is held
	stepJoin        // the queue waits behind what is held: record that
	stepRecall      // find out whether the head's predecessor is settled
	stepGive        // the head, or what is held, to a member
)

// step is what there is to do in l now.
func (d *desk) step(l *lane) step {
	now := d.now()
	switch {
	case l.busy || l.flight != nil:
		return stepNone
	case l.hold == nil && len(l.queue) == 0:
		return stepEmpty
	case l.restsUntil.After(now):
		return stepRest
	case l.hold != nil && len(l.queue) > 0 && l.last() <= l.hold.Seen:
		return stepSeen
	case l.hold != nil && len(l.queue) > 0:
		return stepJoin
	case l.hold != nil && l.hold.Parked:
		return stepNone
	case l.hold != nil && l.hold.NextAt.After(now):
		return stepRest
	case l.hold != nil:
		return stepGive
	default:
		return d.stepHead(l)
	}
}

func (d *desk) stepHead(l *lane) step {
	rec := &l.queue[0].rec
	settled, any := d.settled.get(l.order)
	switch {
	case any && settled >= rec.Event.Revision:
		return stepDrop
	case !l.known && rec.Event.Revision > 1 && settled+1 != rec.Event.Revision:
		return stepRecall
	}
	entry, err := ring.EntryOf(rec)
	if err != nil || !d.wants(&entry) { // what was decoded can be encoded
		return stepPass
	}
	return stepGive
}

// settle does what can be done at once in l, and lists it for the rest.
func (d *desk) settle(l *lane) {
	if n := l.news; n != nil && !l.busy && l.flight == nil {
		l.news = nil
		d.adopt(l, *n)
	}
	for !l.listed && !d.draining {
		switch d.step(l) {
		case stepNone, stepRest:
			return
		case stepEmpty:
			delete(d.lanes, l.order)
			return
		case stepDrop:
			l.through(l.queue[0].rec.Event.Revision)
		case stepSeen:
			l.through(l.hold.Seen)
		case stepPass:
			d.pass(l, l.queue[0].rec.Event.Revision)
		case stepJoin, stepRecall:
			l.listed = true
			d.todo = append(d.todo, l)
		case stepGive:
			l.listed = true
			d.waiting = append(d.waiting, l)
		}
	}
}

// pass notes that a revision is settled, and acknowledges it.
func (d *desk) pass(l *lane, revision uint64) {
	d.settled.put(l.order, revision)
	l.through(revision)
}

// memory remembers, for the orders used last, the revision up to which they were
// settled. What it forgets is found out again.
type memory struct {
	size       int
	young, old map[domain.OrderID]uint64
}

func newMemory(size int) *memory {
	return &memory{size: size, young: map[domain.OrderID]uint64{}, old: map[domain.OrderID]uint64{}}
}

func (m *memory) get(id domain.OrderID) (uint64, bool) {
	if revision, ok := m.young[id]; ok {
		return revision, true
	}
	revision, ok := m.old[id]
	return revision, ok
}

func (m *memory) put(id domain.OrderID, revision uint64) {
	m.young[id] = revision
	if len(m.young) >= m.size {
		m.young, m.old = map[domain.OrderID]uint64{}, m.young
	}
}
