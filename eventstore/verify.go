package eventstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore/stream"
)

// Rule names what a problem breaks, as in comanda.v1.VerifyProblem.
type Rule string

// The rules of the log. The views' are their readers'.
const (
	RuleHole       Rule = "hole"       // sequences that should be there are not
	RuleUnreadable Rule = "unreadable" // sequences that the server counts and cannot read: their bytes are damaged
	RuleBackwards  Rule = "backwards"  // what a view or a scrub remembers of the log is not there any more
	RuleSequence   Rule = "sequence"   // a sequence that does not come after the one before
	RuleDecode     Rule = "decode"     // the bytes are no event
	RuleMisfiled   Rule = "misfiled"   // subject, partition or headers are not the event's
	RuleRevision   Rule = "revision"   // a revision that does not follow the order's last
	RuleChain      Rule = "chain"      // prev_hash is not the hash of the order's last event
	RuleIllegal    Rule = "illegal"    // not what the machine decides on the order's events before it
)

// Problem is one thing that does not hold.
type Problem struct {
	Rule      Rule
	Partition int
	Sequence  uint64 // 0: about none
	Through   uint64 // the last sequence of those that are lost; 0: about one or none
	OrderID   domain.OrderID
	Detail    string
}

// VerifiedOrder is how an order ends, folded afresh from its events.
type VerifiedOrder struct {
	ID        domain.OrderID
	Tenant    domain.TenantID
	Source    domain.SourceID // of the first event
	State     *order.State
	History   *order.History // of all its events
	Partition int
	Sequence  uint64 // of the last event
	Hash      [32]byte
	Sequences []uint64 // of its events, by revision
	Told      uint64   // how many of them VerifyOptions.Event was called with
}

// VerifyOptions is what a check reads, and reports while it runs. The zero value
// reads everything and reports at the end. The functions are called from one goroutine.
type VerifyOptions struct {
	// Since is a place in the log: only what comes after it is read, and the
	// earlier events of the orders that it is about.
	Since domain.Position
	// Limit is how many events are read at most; 0 is all. Report.Head says how
	// far that went.
	Limit uint64
	// Progress is called now and then with the events read and those to read.
	Progress func(events, total uint64)
	// Event is called for every event that can be read, to compare views with. Its
	// error ends the check. What it is given is valid until it returns, and so is what that
	// points to, but for texts.
	Event func(*domain.Recorded) error
	// Order is called for every order whose revisions hold, to compare views
	// with. Its error ends the check.
	Order func(VerifiedOrder) error
	// MostProblems are listed in the report; 0 is 1,000. All are counted.
	MostProblems int
	// EventsInMemory bounds the events whose orders are held at a time, beside some
	// 40 bytes for every order; 0 is 262,144, some 150 MB. An order is reported some
	// 10,000 events after its last one, and again when it has another event after that.
	// One that had none for as long as there is memory is read again by its subject.
	EventsInMemory int
}

// Report is what a check found.
type Report struct {
	Events, Orders uint64
	Head           domain.Position // up to which the log was read
	Problems       []Problem
	ProblemCount   uint64
}

// Verify reads the log as it is when it begins, and proves: sequences without
// holes, events that can be read and lie where they belong, revisions without holes, hash chains,
// and that each event says what the machine decides at its revision. What does not hold is in
// the report; the error is of the reading itself.
//
// With Since the sequences after it are proven, and the whole history of every
// order that has an event among them: its earlier events are read from the log by its subject, so
// that chain, revisions and decisions follow from the first event on. Nothing is proven
// of other orders, nor of the sequences before. A partition that Since does not name is read whole.
func (l *Log) Verify(ctx context.Context, opts VerifyOptions) (*Report, error) {
	if opts.MostProblems == 0 {
		opts.MostProblems = 1000
	}
	if opts.EventsInMemory == 0 {
		opts.EventsInMemory = 1 << 18
	}
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	if !head.Covers(opts.Since) {
		return nil, domain.Errorf(domain.Invalid, "verify since %s: the log ends at %s", describe(opts.Since), describe(head))
	}
	v := &verification{
		log: l, ctx: ctx, opts: opts, report: &Report{Head: opts.Since}, seed: maphash.MakeSeed(),
		seen: make(map[uint64]struct{}), young: make(map[domain.OrderID]*verifiedOrder), old: make(map[domain.OrderID]*verifiedOrder),
		kept: make(map[domain.OrderID]keptOrder),
	}
	for i := range l.damage {
		v.problem(l.damage[i])
	}
	v.plan(head)
	for p := range l.identity.Partitions {
		if err := v.partition(p, opts.Since.At(p), v.report.Head.At(p)); err != nil {
			return v.report, fmt.Errorf("verify %s: %w", OrdersStream(p), err)
		}
	}
	v.progress()
	return v.report, nil
}

// plan sets how far each partition is read.
func (v *verification) plan(head domain.Position) {
	for p := range v.log.identity.Partitions {
		n := head.At(p) - v.opts.Since.At(p)
		if v.opts.Limit > 0 {
			n = min(n, v.opts.Limit-v.total)
		}
		if n > 0 {
			v.total += n
			v.report.Head = v.report.Head.With(p, v.opts.Since.At(p)+n)
		}
	}
}

// verification is one run of Verify.
type verification struct {
	log    *Log
	ctx    context.Context //nolint:containedctx // of the one run
	opts   VerifyOptions
	report *Report
	ranges int // of the problems, those of sequences that are lost: they come first
	total  uint64

	seed  maphash.Seed
	seen  map[uint64]struct{}               // digests of the orders that had an event so far
	young map[domain.OrderID]*verifiedOrder // that had an event lately
	held  int                               // events of young
	old   map[domain.OrderID]*verifiedOrder // that had one before that; reported next
	kept  map[domain.OrderID]keptOrder      // that were reported
	older map[domain.OrderID]keptOrder      // that had one before those; forgotten next
	bytes int                               // events of kept
}

// verifiedOrder is what is known of an order so far.
type verifiedOrder struct {
	VerifiedOrder

	history  *order.History
	state    *order.State // of history; nil: to be folded
	revision uint64
	broken   bool // its revisions do not hold: nothing more is folded

	subject  string          // of the last event that lay where it belongs
	identity domain.Identity // of that event
	texts    []string        // its events, encoded
}

const progressEvery = 1 << 13

// partition reads without a filter, so that no message escapes, and checks the
// sequences and the events.
func (v *verification) partition(p int, since, head uint64) error {
	if since == head {
		return nil
	}
	last, holes := since, ranges(nil)
	damaged, err := v.log.scan(v.ctx, p, since, head, true, func(r *read) error {
		holes = v.sequence(p, &last, r.message.Sequence, holes)
		return v.event(p, r)
	})
	if err != nil {
		return err
	}
	if last < head {
		holes = append(holes, [2]uint64{last + 1, head})
	}
	if err := v.holes(p, holes); err != nil {
		return err
	}
	if damaged > 0 {
		if err := v.files(p, damaged, head, holes); err != nil {
			return err
		}
	}
	return errors.Join(v.age(), v.age()) // all that are young
}

// sequence compares a sequence with the last, and adds what lies between to holes.
func (v *verification) sequence(p int, last *uint64, sequence uint64, holes ranges) ranges {
	switch {
	case sequence <= *last:
		v.problem(Problem{Rule: RuleSequence, Partition: p, Sequence: sequence, Detail: fmt.Sprintf("it follows %d", *last)})
	case sequence > *last+1:
		holes = append(holes, [2]uint64{*last + 1, sequence - 1})
	}
	*last = max(*last, sequence)
	return holes
}

// event checks one message against what came before it in its order. The error is of the options' own functions, or of reading the order's earlier events.
func (v *verification) event(p int, r *read) error {
	v.count()
	m := r.message
	id := orderOf(m.Subject)
	if slot, ok := slotOf(m.Subject); !ok || partitionOf(slot, v.log.identity.Partitions) != p {
		v.problem(Problem{Rule: RuleMisfiled, Partition: p, Sequence: m.Sequence, Detail: "a subject that is not of this partition"})
		return nil
	}
	o, err := v.order(p, m, id)
	if err != nil {
		return err
	}
	if v.check(p, o, r, false) && v.opts.Event != nil {
		if err := v.opts.Event(r.event); err != nil {
			return err
		}
		o.Told++
	}
	if v.held++; v.held >= min(mostYoung, v.opts.EventsInMemory)/2 {
		return v.age()
	}
	return nil
}

// order is what is known of m's order, which is young from now on.
func (v *verification) order(p int, m *stream.Message, id domain.OrderID) (*verifiedOrder, error) {
	if o := v.young[id]; o != nil {
		return o, nil
	}
	digest := maphash.String(v.seed, string(id))
	_, again := v.seen[digest]
	if again {
		if o, err := v.recall(id); o != nil || err != nil {
			return o, err
		}
	}
	o := &verifiedOrder{VerifiedOrder: VerifiedOrder{ID: id, Partition: p}}
	v.young[id] = o
	if again || v.opts.Since.At(p) > 0 {
		if err := v.before(p, m, o, again); err != nil {
			return nil, err
		}
	}
	if !again {
		v.seen[digest] = struct{}{}
		v.report.Orders++
	}
	return o, nil
}

// errReached ends the reading of an order's earlier events.
var errReached = errors.New("the event itself")

// before checks the events that an order has before m; quietly when they were
// checked already.
func (v *verification) before(p int, m *stream.Message, o *verifiedOrder, quiet bool) error {
	var r domain.Recorded
	err := v.log.readers[p].Subject(v.ctx, m.Subject, func(earlier stream.Message) error {
		if earlier.Sequence >= m.Sequence {
			return errReached
		}
		text, broken := decode(p, &earlier, &r)
		v.check(p, o, &read{message: &earlier, event: &r, text: text, broken: broken}, quiet)
		return nil
	})
	if err == nil || errors.Is(err, errReached) {
		return nil
	}
	return storeError(fmt.Sprintf("read the events of %s before %d", o.ID, m.Sequence), err)
}

// check holds one message against what came before it in its order; false when it
// is no event. quiet reports nothing.
func (v *verification) check(p int, o *verifiedOrder, r *read, quiet bool) bool {
	m := r.message
	found := finding{v: v, partition: p, sequence: m.Sequence, order: o.ID, quiet: quiet}
	prev := o.Hash
	if r.broken != nil {
		o.Sequence, o.Hash = m.Sequence, hashOf(m.Data)
		found.report(RuleDecode, r.broken.Error())
		o.broken = true
		return false
	}
	o.Sequence, o.Hash = m.Sequence, r.event.Hash
	e := &r.event.Event
	if err := v.filed(o, e, m, p); err != nil {
		found.report(RuleMisfiled, err.Error())
	}
	if e.PrevHash != prev {
		found.report(RuleChain, fmt.Sprintf("prev_hash of revision %d is %x, should be %x", e.Revision, e.PrevHash[:6], prev[:6]))
	}
	if e.Revision != o.revision+1 {
		found.report(RuleRevision, fmt.Sprintf("revision %d follows %d", e.Revision, o.revision))
		o.broken = true
	}
	o.revision = e.Revision
	o.fold(e, r.content, &found)
	if !o.broken {
		o.keep(r)
	}
	o.Sequences = append(o.Sequences, m.Sequence)
	return true
}

// finding is the place of a message whose problems are reported.
type finding struct {
	v         *verification
	partition int
	sequence  uint64
	order     domain.OrderID
	quiet     bool
}

func (f *finding) report(rule Rule, detail string) {
	if !f.quiet {
		f.v.problem(Problem{Rule: rule, Partition: f.partition, Sequence: f.sequence, OrderID: f.order, Detail: detail})
	}
}

// filed says why a message is not where, or not marked as, its event belongs.
func (v *verification) filed(o *verifiedOrder, e *domain.Event, m *stream.Message, p int) error {
	// What was right for this identity and subject is right again.
	identity := e.Fact.Identity(e.Tenant)
	if m.Subject != o.subject || identity != o.identity || e.OrderID != o.ID {
		if err := misfiled(e, m.Subject, p, v.log.identity.Partitions); err != nil {
			return err
		}
		o.subject, o.identity = m.Subject, identity
	}
	if !m.Is(headerID, string(e.ID)) {
		return domain.Errorf(domain.Corrupt, "header %s is %q, should be %q", headerID, m.Value(headerID), e.ID)
	}
	if !m.Is(HeaderType, e.Type()) {
		return domain.Errorf(domain.Corrupt, "header %s is %q, should be %q", HeaderType, m.Value(HeaderType), e.Type())
	}
	return nil
}

// fold decides e, with its content if that is known, again on the events before it, and adds
// it to them.
func (o *verifiedOrder) fold(e *domain.Event, content *order.Content, found *finding) {
	if o.broken {
		return
	}
	if o.history == nil {
		o.Tenant, o.Source = e.Tenant, e.Source
	}
	machine, err := order.ForVersion(e.MachineVersion)
	if err == nil {
		var h *order.History
		var after *order.State
		if h, after, err = machine.Replay(o.history, o.state, e, content); err == nil {
			o.history, o.state = h, after
			return
		}
	}
	found.report(RuleIllegal, err.Error())
	h, err := o.history.With(e)
	if err != nil {
		found.report(RuleIllegal, err.Error())
		o.broken = true
		return
	}
	o.history, o.state = h, nil
}

func (v *verification) count() {
	v.report.Events++
	if v.report.Events%progressEvery == 0 {
		v.progress()
	}
}

func (v *verification) progress() {
	if v.opts.Progress != nil {
		v.opts.Progress(v.report.Events, v.total)
	}
}

// problem counts a problem, and lists it while there is room: first those that name sequences,
// from which others may follow by the thousand.
func (v *verification) problem(p Problem) {
	v.report.ProblemCount++
	if p.Through > 0 && v.ranges < v.opts.MostProblems {
		v.report.Problems = slices.Insert(v.report.Problems, v.ranges, p)
		v.ranges++
	} else if p.Through == 0 {
		v.report.Problems = append(v.report.Problems, p)
	}
	if len(v.report.Problems) > v.opts.MostProblems {
		v.report.Problems = v.report.Problems[:v.opts.MostProblems]
	}
}

// orderOf is the order that a subject names last.
func orderOf(subject string) domain.OrderID {
	return domain.OrderID(subject[strings.LastIndexByte(subject, '.')+1:])
}

// slotOf is the slot in an order's subject.
func slotOf(subject string) (byte, bool) {
	rest, ok := strings.CutPrefix(subject, "orders.")
	text, rest, _ := strings.Cut(rest, ".")
	if !ok || len(text) != 2 || strings.Count(rest, ".") != 1 {
		return 0, false
	}
	slot, err := strconv.ParseUint(text, 16, 8)
	return byte(slot), err == nil
}
