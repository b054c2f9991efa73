package proof

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"runtime/debug"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/stats"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// The rules that a view can break, as in comanda.v1.VerifyProblem.
const (
	RuleDiffers = "view_differs"
	RuleMissing = "view_missing"
	RuleExtra   = "view_extra"
	RuleSkipped = "view_skipped" // an operator left an event out of the views
)

// Order is an order as the log has it.
type Order struct {
	ID        domain.OrderID
	Source    domain.SourceID // of the first event
	State     *order.State    // the fold of all its events
	History   *order.History  // those events; nil: the order is counted from its timeline
	Partition int
	Sequence  uint64 // of the last event
	// Sequences are those of all its events, by revision; none: the places in its
	// timeline are not compared.
	Sequences []uint64
	// Told is how many of its events [Checker.Event] was called with. When those
	// are all, and the views have none beyond them, the timeline is not read again.
	Told uint64
}

// Waiter waits for the views; [projections.Runner] is one.
type Waiter interface {
	Wait(ctx context.Context, position domain.Position) error
}

// Checker compares. It is used by one goroutine. What it is given it gathers, and
// compares some thousands at a time in another, in the order of the views' keys, while the
// next are gathered: [Checker.Flush] compares the rest. [Checker.Close] ends it.
type Checker struct {
	file    *projections.File
	views   Waiter
	machine *order.Machine
	report  func(*comandav1.VerifyProblem)

	gathered gathered
	events   *stats.Tally // of the events told
	told     uint64       // how many those are
	running  chan error   // the comparing of what was gathered before; nil: none
	spare    gathered     // its room, once it has ended

	// Of the comparing.
	seeds    [2]maphash.Seed
	seen     map[orderKey]seen // small, and never in the views' order
	compared uint64
	differs  bool         // a problem was reported
	tally    *stats.Tally // of orders of seen
	whole    *whole       // nil: nothing is left to Finish
}

// orderKey stands for an order's id.
type orderKey [16]byte

// seen is what is kept of an order.
type seen struct {
	counted uint32 // up to which revision it is in tally
	expected
}

// gathered is what is compared together.
type gathered struct {
	events []timeline.Told
	bytes  []byte // of events
	orders []Order
	until  domain.Position // up to which the views are needed
}

// mostGathered is how many events, and how many orders, are compared at a time.
const mostGathered = 4096

// New is a checker of the views in file, which views keeps; report gets what
// does not hold, from whichever goroutine finds it.
func New(file *projections.File, views Waiter, machine *order.Machine, report func(*comandav1.VerifyProblem)) *Checker {
	return &Checker{
		file: file, views: views, machine: machine, report: report,
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: map[orderKey]seen{}, tally: stats.NewTally(), events: stats.NewTally(),
	}
}

// Compared is how many orders' rows were compared, each counted once.
func (c *Checker) Compared() uint64 { return c.compared }

// Event compares what the timeline stores of r, byte for byte, when the views hold
// it. It keeps nothing of r but a copy of its bytes, its ids and its count. Errors are as Order's, also of
// what came before.
func (c *Checker) Event(ctx context.Context, r *domain.Recorded) error {
	encoded, err := wire.Encoded(r)
	if err != nil {
		return err
	}
	c.events.Event(&r.Event)
	c.told++
	g := &c.gathered
	kept := len(g.bytes)
	g.bytes = append(g.bytes, encoded...) // as it grows, what was kept stays where it was
	g.events = append(g.events, timeline.Told{
		Partition: r.Partition, Sequence: r.Sequence, Order: r.Event.OrderID, ID: r.Event.ID, Revision: r.Event.Revision,
		Encoded: g.bytes[kept:len(g.bytes):len(g.bytes)],
	})
	g.need(r.Partition, r.Sequence)
	if len(g.events) < mostGathered {
		return nil
	}
	return c.handOver(ctx)
}

// Order compares o when the views hold it. It may be called again for an
// order that has moved on. The error is of the waiting or
// the reading; what differs is reported.
func (c *Checker) Order(ctx context.Context, o Order) error {
	g := &c.gathered
	g.orders = append(g.orders, o)
	g.need(o.Partition, o.Sequence)
	if len(g.orders) < mostGathered {
		return nil
	}
	return c.handOver(ctx)
}

// need has the comparing wait for the views to hold this.
func (g *gathered) need(partition int, sequence uint64) {
	if g.until.At(partition) < sequence {
		g.until = g.until.With(partition, sequence)
	}
}

// Flush waits until the views hold what was gathered, and it was compared.
func (c *Checker) Flush(ctx context.Context) error {
	if err := c.handOver(ctx); err != nil {
		return err
	}
	return c.ended()
}

// Close waits for a comparing that is still on its way. An end of its context ends it.
func (c *Checker) Close() { _ = c.ended() }

// handOver has what was gathered compared once what was gathered before is.
func (c *Checker) handOver(ctx context.Context) error {
	if err := c.ended(); err != nil {
		return err
	}
	g, running := c.gathered, make(chan error, 1)
	c.gathered, c.spare, c.running = c.spare, g, running
	go func() { running <- survive(func() error { return c.compare(ctx, &g) }) }()
	return nil
}

// survive does what reads the views. Over a damaged page of their file bbolt panics, or reads
// behind its end, and nobody else is there in a goroutine of ours to see to it: the error is
// then of kind Corrupt.
func survive(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = domain.Errorf(domain.Corrupt, "the file of the views is damaged (%v): stop the server, delete the file, and it is built anew", r)
		}
	}()
	return do()
}

// ended waits for the comparing on its way, and takes its room back.
func (c *Checker) ended() error {
	if c.running == nil {
		return nil
	}
	err := <-c.running
	c.running = nil
	clear(c.spare.events)
	clear(c.spare.orders)
	c.spare = gathered{events: c.spare.events[:0], bytes: c.spare.bytes[:0], orders: c.spare.orders[:0]}
	return err
}

// compare waits until the views hold what g has, and compares it.
func (c *Checker) compare(ctx context.Context, g *gathered) error {
	if err := c.views.Wait(ctx, g.until); err != nil {
		return err
	}
	err := timeline.New(c.file).CheckEvents(g.events, func(e *timeline.Told, problem string) {
		c.problem(RuleDiffers, Order{ID: e.Order, Partition: e.Partition, Sequence: e.Sequence}, "timeline: "+problem)
	})
	if err != nil {
		return err
	}
	g.orders = slices.DeleteFunc(g.orders, func(o Order) bool { return c.expect(&o) })
	if len(g.orders) == 0 {
		return nil
	}
	slices.SortStableFunc(g.orders, func(a, b Order) int { return cmp.Compare(a.ID, b.ID) })
	return c.file.Snapshot(func(s *projections.Snapshot) error {
		for i := range g.orders {
			if err := c.order(s, &g.orders[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// order compares one order with the views as they are in s, and counts it.
func (c *Checker) order(s *projections.Snapshot, o *Order) error {
	key := c.key(o.ID)
	kept, again := c.seen[key]
	c.seen[key] = kept
	same, err := c.hold(s, o, again)
	if err == nil && same {
		c.count(key, o)
	}
	return err
}

// count has the tally count an order that it has not yet.
func (c *Checker) count(key orderKey, o *Order) {
	kept := c.seen[key]
	if kept.counted > 0 || o.History == nil {
		return
	}
	c.tally.Order(o.History, o.State, 1)
	kept.counted = uint32(o.State.Revision) //nolint:gosec // an order has a thousand at most
	c.seen[key] = kept
}

// hold compares one order with the views as they are in s, and reports whether they hold
// just what o is.
func (c *Checker) hold(s *projections.Snapshot, o *Order, again bool) (same bool, err error) {
	level, err := c.places(s, o)
	if err != nil {
		return false, err
	}
	if level && o.Told == o.State.Revision {
		same, err = orders.New(s).Holds(o.ID, o.Source, o.State)
	}
	if err != nil {
		return false, err
	}
	if !same {
		return false, c.slowly(s, o, level, again)
	}
	if !again {
		c.compared++
	}
	return true, c.others(s, o, o.State, "of the log: ")
}

// places compares where the timeline has the events of o, and reports whether it
// has those and no more.
func (c *Checker) places(s *projections.Snapshot, o *Order) (level bool, err error) {
	if len(o.Sequences) == 0 {
		return false, nil
	}
	problem, more, err := timeline.New(s).CheckPlaces(o.ID, o.Partition, o.Sequences)
	if problem != "" {
		c.problem(RuleDiffers, *o, "timeline: "+problem)
	}
	return problem == "" && !more && uint64(len(o.Sequences)) == o.State.Revision, err
}

// slowly says what differs, and compares views that have moved on.
func (c *Checker) slowly(s *projections.Snapshot, o *Order, level, again bool) error {
	row, found, err := orders.New(s).Get(o.ID)
	if err != nil {
		return c.unreadable(*o, err)
	}
	if !found {
		c.problem(RuleMissing, *o, "the view of orders has no row")
		return nil
	}
	if !again {
		c.compared++
	}
	if source := row.GetSource(); source != string(o.Source) {
		c.problem(RuleDiffers, *o, fmt.Sprintf("source: the view has %s, the log %s", source, o.Source))
	}
	if level && o.Told == o.State.Revision {
		for _, difference := range orders.Compare(o.State, row) {
			c.problem(RuleDiffers, *o, "of the log: "+difference)
		}
		return c.others(s, o, o.State, "of the log: ")
	}
	history, err := c.facts(s, *o)
	if err != nil {
		return c.unreadable(*o, err)
	}
	state := c.machine.Fold(history)
	for _, difference := range orders.Compare(state, row) {
		c.problem(RuleDiffers, *o, "of its own facts: "+difference)
	}
	return c.others(s, o, state, "of its own facts: ")
}

// facts folds the timeline's events of o, and compares the fold at o's revision
// with o's state.
func (c *Checker) facts(s *projections.Snapshot, o Order) (*order.History, error) {
	var events []domain.Event
	err := s.View(func(tx *kv.Tx) error {
		var err error
		events, err = timeline.New(s).Events(tx, o.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	var h *order.History
	for i := range events {
		if h, err = h.With(&events[i]); err != nil {
			return nil, err
		}
		if h.Revision() != o.State.Revision {
			continue
		}
		for _, difference := range orders.Compare(o.State, orders.Row(o.ID, o.Source, c.machine.Fold(h))) {
			c.problem(RuleDiffers, o, "of the log: "+difference)
		}
	}
	if h.Revision() < o.State.Revision {
		c.problem(RuleMissing, o, fmt.Sprintf("the timeline has %d events, the log %d", h.Revision(), o.State.Revision))
	}
	return h, nil
}

// unreadable reports a view that cannot be read, and goes on; another error ends.
func (c *Checker) unreadable(o Order, err error) error {
	if domain.KindOf(err) != domain.Corrupt {
		return err
	}
	c.problem(RuleDiffers, o, err.Error())
	return nil
}

// Finish looks for what is in the views and not in the log, whose events were
// read up to head. It comes after Flush.
func (c *Checker) Finish(head domain.Position) error {
	return survive(func() error { return c.file.Snapshot(func(s *projections.Snapshot) error { return c.rest(s, head) }) })
}

// rest is Finish in one state of the views.
func (c *Checker) rest(s *projections.Snapshot, head domain.Position) error {
	if err := c.leftOut(s); err != nil {
		return err
	}
	if err := c.rows(s, head); err != nil {
		return err
	}
	if err := timeline.New(s).Orders(func(id domain.OrderID) error { return c.extra(s, id, head) }); err != nil {
		return err
	}
	err := timeline.New(s).CheckBeyond(s.Position(), func(partition int, sequence uint64, problem string) {
		c.problem(RuleExtra, Order{Partition: partition, Sequence: sequence}, "timeline: "+problem)
	})
	if err != nil {
		return err
	}
	return c.counts(s, head)
}

// leftOut reports the orders and events that are in no view, and are known not to be.
func (c *Checker) leftOut(s *projections.Snapshot) error {
	err := s.Parked(func(id domain.OrderID, why string) {
		key := c.key(id)
		kept := c.seen[key]
		kept.counted = 0
		c.seen[key] = kept
		c.problem(RuleDiffers, Order{ID: id}, "parked: "+why)
	})
	if err != nil {
		return err
	}
	return s.Skipped(func(e projections.Skipped) {
		c.problem(RuleSkipped, Order{ID: e.Order, Partition: e.Partition, Sequence: e.Sequence}, "an operator left it out of the views: "+e.Why)
	})
}

// rows goes through the rows of orders, and what is made of them.
func (c *Checker) rows(s *projections.Snapshot, head domain.Position) error {
	var halves [2]half
	err := s.View(func(tx *kv.Tx) error {
		var each [2]orders.RowFunc
		for i := range halves {
			halves[i].checker, halves[i].places = c, timeline.New(s).Places(tx)
			each[i] = halves[i].row
		}
		return orders.New(s).CheckIndexes(each, func(id domain.OrderID, problem string) {
			c.problem(RuleDiffers, Order{ID: id}, problem)
		})
	})
	if err != nil {
		return err
	}
	all := &halves[0]
	all.join(&halves[1])
	c.compared += all.compared
	for _, id := range all.unknown {
		if err := c.extra(s, id, head); err != nil {
			return err
		}
	}
	if err := c.settle(s, all); err != nil {
		return err
	}
	return c.strays(s, &all.members)
}

// extra reports an order that is in orders or timeline and not in the log.
func (c *Checker) extra(s *projections.Snapshot, id domain.OrderID, head domain.Position) error {
	key := c.key(id)
	if _, ok := c.seen[key]; ok {
		return nil
	}
	c.seen[key] = seen{} // once for both views
	partition, first, err := timeline.New(s).First(id)
	if err != nil {
		return c.unreadable(Order{ID: id}, err)
	}
	if first == 0 || first <= head.At(partition) {
		c.problem(RuleExtra, Order{ID: id, Partition: partition, Sequence: first}, "the log has no such order, or its events do not hold")
	}
	return nil
}

func (c *Checker) problem(rule string, o Order, detail string) {
	c.differs = true
	c.report(&comandav1.VerifyProblem{
		Rule: rule, Partition: uint32(o.Partition), Sequence: o.Sequence, //nolint:gosec // at most 256 partitions
		OrderId: string(o.ID), Detail: detail,
	})
}

// key is the digest that the id encodes, or one of its text.
func (c *Checker) key(id domain.OrderID) orderKey {
	if d, ok := id.Digest(); ok {
		return d
	}
	var k orderKey
	for i, seed := range c.seeds {
		binary.BigEndian.PutUint64(k[8*i:], maphash.String(seed, string(id)))
	}
	return k
}
