package eventstore

import (
	"context"
	"fmt"
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
	RuleHole     Rule = "hole"     // sequences that should be there are not
	RuleSequence Rule = "sequence" // a sequence that does not come after the one before
	RuleDecode   Rule = "decode"   // the bytes are no event
	RuleMisfiled Rule = "misfiled" // subject, partition or headers are not the event's
	RuleRevision Rule = "revision" // a revision that does not follow the order's last
	RuleChain    Rule = "chain"    // prev_hash is not the hash of the order's last event
	RuleIllegal  Rule = "illegal"  // not what the machine decides on the order's events before it
)

// Problem is one thing that does not hold.
type Problem struct {
	Rule      Rule
	Partition int
	Sequence  uint64 // 0: about none
	OrderID   domain.OrderID
	Detail    string
}

// VerifiedOrder is how an order ends, folded afresh from its events.
type VerifiedOrder struct {
	ID        domain.OrderID
	Tenant    domain.TenantID
	Source    domain.SourceID // of the first event
	State     *order.State
	Partition int
	Sequence  uint64 // of the last event
	Hash      [32]byte
}

// VerifyOptions is what a check reports while it runs. The zero value reports
// at the end only. The functions are called from one goroutine.
type VerifyOptions struct {
	// Progress is called now and then with the events read and those to read.
	Progress func(events, total uint64)
	// Event is called for every event that can be read, to compare views with. Its
	// error ends the check.
	Event func(*domain.Recorded) error
	// Order is called for every order whose revisions hold, to compare views
	// with. Its error ends the check.
	Order func(VerifiedOrder) error
	// MostProblems are listed in the report; 0 is 1,000. All are counted.
	MostProblems int
	// EventsInMemory bounds what is held at a time; 0 is 131,072. A larger
	// partition is read in several passes, each for some slots.
	EventsInMemory int
}

// Report is what a check found.
type Report struct {
	Events, Orders uint64
	Head           domain.Position // up to which the log was read
	Problems       []Problem
	ProblemCount   uint64
}

// Verify reads the whole log as it is when it begins, and proves: sequences
// without holes, events that can be read and lie where they belong, revisions without holes,
// hash chains, and that each event says what the machine decides at its revision. What
// does not hold is in the report; the error is of the reading itself.
func (l *Log) Verify(ctx context.Context, opts VerifyOptions) (*Report, error) {
	if opts.MostProblems == 0 {
		opts.MostProblems = 1000
	}
	if opts.EventsInMemory == 0 {
		opts.EventsInMemory = 1 << 17
	}
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	v := &verification{log: l, opts: opts, report: &Report{Head: head}}
	for p := range l.identity.Partitions {
		v.total += head.At(p)
	}
	for p := range l.identity.Partitions {
		if err := v.partition(ctx, p, head.At(p)); err != nil {
			return v.report, fmt.Errorf("verify %s: %w", OrdersStream(p), err)
		}
	}
	v.progress()
	return v.report, nil
}

// verification is one run of Verify.
type verification struct {
	log    *Log
	opts   VerifyOptions
	report *Report
	total  uint64

	orders map[domain.OrderID]*verifiedOrder // of this pass
}

// verifiedOrder is what is known of an order so far.
type verifiedOrder struct {
	VerifiedOrder

	history  *order.History
	revision uint64
	broken   bool // its revisions do not hold: nothing more is folded
}

const progressEvery = 1 << 13

func (v *verification) partition(ctx context.Context, p int, head uint64) error {
	own := slots / v.log.identity.Partitions
	passes := min(own, 1+int(head)/v.opts.EventsInMemory) //nolint:gosec // a head fits an int
	per := (own + passes - 1) / passes
	for from := 0; from < own; from += per {
		first, n := p*own+from, min(per, own-from)
		v.orders = make(map[domain.OrderID]*verifiedOrder)
		scan := v.slots
		if from == 0 {
			scan = v.everything
		}
		if err := scan(ctx, p, head, first, n); err != nil {
			return err
		}
		if err := v.finish(); err != nil {
			return err
		}
	}
	return nil
}

// everything reads the partition without a filter, so that no message escapes,
// and checks the sequences; of the events those of n slots from first on.
func (v *verification) everything(ctx context.Context, p int, head uint64, first, n int) error {
	var last uint64
	err := v.log.readers[p].Scan(ctx, head, nil, func(ms []stream.Message) error {
		for i := range ms {
			v.sequence(p, &last, ms[i].Sequence)
			slot, ok := slotOf(ms[i].Subject)
			switch {
			case !ok || partitionOf(slot, v.log.identity.Partitions) != p:
				v.problem(Problem{Rule: RuleMisfiled, Partition: p, Sequence: ms[i].Sequence, Detail: "a subject that is not of this partition"})
				v.count()
			case int(slot) >= first && int(slot) < first+n:
				if err := v.event(p, &ms[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err //nolint:wrapcheck // Verify wraps it
	}
	if last < head {
		v.hole(p, last+1, head)
	}
	return nil
}

// slots reads the events of n slots from first on.
func (v *verification) slots(ctx context.Context, p int, head uint64, first, n int) error {
	return v.log.readers[p].Scan(ctx, head, slotSubjects(first, n), func(ms []stream.Message) error { //nolint:wrapcheck // Verify wraps it
		for i := range ms {
			if err := v.event(p, &ms[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (v *verification) sequence(p int, last *uint64, sequence uint64) {
	switch {
	case sequence <= *last:
		v.problem(Problem{Rule: RuleSequence, Partition: p, Sequence: sequence, Detail: fmt.Sprintf("it follows %d", *last)})
	case sequence > *last+1:
		v.hole(p, *last+1, sequence-1)
	}
	*last = max(*last, sequence)
}

func (v *verification) hole(p int, from, to uint64) {
	v.problem(Problem{Rule: RuleHole, Partition: p, Sequence: from, Detail: fmt.Sprintf("%d to %d are missing", from, to)})
}

// event checks one message against what came before it in its order. The error
// is of the options' own Event.
func (v *verification) event(p int, m *stream.Message) error {
	v.count()
	id := domain.OrderID(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
	o := v.orders[id]
	if o == nil {
		o = &verifiedOrder{VerifiedOrder: VerifiedOrder{ID: id, Partition: p}}
		v.orders[id] = o
	}
	found := func(rule Rule, detail string) {
		v.problem(Problem{Rule: rule, Partition: p, Sequence: m.Sequence, OrderID: id, Detail: detail})
	}
	prev := o.Hash
	o.Sequence, o.Hash = m.Sequence, hashOf(m.Data)
	r, err := decode(p, m)
	if err != nil {
		found(RuleDecode, err.Error())
		o.broken = true
		return nil
	}
	e := &r.Event
	if err := v.filed(e, m, p); err != nil {
		found(RuleMisfiled, err.Error())
	}
	if e.PrevHash != prev {
		found(RuleChain, fmt.Sprintf("prev_hash of revision %d is %x, should be %x", e.Revision, e.PrevHash[:6], prev[:6]))
	}
	if e.Revision != o.revision+1 {
		found(RuleRevision, fmt.Sprintf("revision %d follows %d", e.Revision, o.revision))
		o.broken = true
	}
	o.revision = e.Revision
	o.fold(e, found)
	if v.opts.Event != nil {
		return v.opts.Event(&r)
	}
	return nil
}

// filed says why a message is not where, or not marked as, its event belongs.
func (v *verification) filed(e *domain.Event, m *stream.Message, p int) error {
	if err := misfiled(e, m.Subject, p, v.log.identity.Partitions); err != nil {
		return err
	}
	if got := m.Header.Get(headerID); got != string(e.ID) {
		return domain.Errorf(domain.Corrupt, "header %s is %q, should be %q", headerID, got, e.ID)
	}
	if got := m.Header.Get(HeaderType); got != e.Type() {
		return domain.Errorf(domain.Corrupt, "header %s is %q, should be %q", HeaderType, got, e.Type())
	}
	return nil
}

// fold decides e again on the events before it, and adds it to them.
func (o *verifiedOrder) fold(e *domain.Event, found func(Rule, string)) {
	if o.broken {
		return
	}
	if o.history == nil {
		o.Tenant, o.Source = e.Tenant, e.Source
	}
	machine, err := order.ForVersion(e.MachineVersion)
	if err == nil {
		err = machine.Check(o.history, e)
	}
	if err != nil {
		found(RuleIllegal, err.Error())
	}
	h, err := o.history.With(e)
	if err != nil {
		found(RuleIllegal, err.Error())
		o.broken = true
		return
	}
	o.history = h
}

// finish reports the orders of a pass.
func (v *verification) finish() error {
	for _, o := range v.orders {
		v.report.Orders++
		if o.broken || v.opts.Order == nil {
			continue
		}
		machine, err := order.ForVersion(o.history.MachineVersion())
		if err != nil {
			continue // reported at its event
		}
		o.State = machine.Fold(o.history)
		if err := v.opts.Order(o.VerifiedOrder); err != nil {
			return err
		}
	}
	return nil
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

func (v *verification) problem(p Problem) {
	v.report.ProblemCount++
	if len(v.report.Problems) < v.opts.MostProblems {
		v.report.Problems = append(v.report.Problems, p)
	}
}

// slotOf is the slot in an order's subject.
func slotOf(subject string) (byte, bool) {
	tokens := strings.Split(subject, ".")
	if len(tokens) != 4 || tokens[0] != "orders" || len(tokens[1]) != 2 {
		return 0, false
	}
	slot, err := strconv.ParseUint(tokens[1], 16, 8)
	return byte(slot), err == nil
}
