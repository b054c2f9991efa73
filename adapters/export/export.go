package export

import (
	"context"
	"errors"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Log is what is read.
type Log interface {
	// Scan hands every event of partition after the sequence after and up to upTo to
	// handle, in order. The event is valid until handle returns.
	Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error
}

// Config says what is written. Log, Identity, Machine, Format and Tables are required.
type Config struct {
	Log      Log
	Identity string // of the log
	Epoch    uint64
	Head     domain.Position // of the log, now
	Machine  *order.Machine

	Format string
	Tables []string
	Filter Filter
	// After leaves out the events up to it, and the orders that have none after it.
	After domain.Position
	// Through is where it ends; the beginning: Head, and for an export that was
	// interrupted, where that was to end.
	Through domain.Position
	// Reveal has the tables personal and customers written; nil: they are not named.
	Reveal *Reveal
	// SegmentEvents are how many sequences are written between two states of the
	// manifest; 0 is 262,144.
	SegmentEvents uint64
	// Progress is called now and then with the events that were read, of those that
	// will be: a folded table needs all of them once more. nil: nobody asks.
	Progress func(events, total uint64)
	// LeftOut is called for each event that is left out of the folded tables, for it
	// cannot follow its order's history. nil: nobody asks.
	LeftOut func(r *domain.Recorded, why error)
}

const segmentEvents = 1 << 18

// Validate joins all mistakes.
func (c *Config) Validate() error {
	errs := []error{c.Filter.Validate(), c.validateReveal()}
	if !slices.Contains([]string{FormatParquet, FormatCSV, FormatJSONL}, c.Format) {
		errs = append(errs, domain.Errorf(domain.Invalid, "format %q: want parquet, csv or jsonl", c.Format))
	}
	for i, t := range c.Tables {
		if !isOfLog(t) && !isFolded(t) || slices.Contains(c.Tables[:i], t) {
			errs = append(errs, domain.Errorf(domain.Invalid, "table %q: want events, transitions, orders, intervals or movements, each once, or personal or customers", t))
		}
	}
	if len(c.Tables) == 0 {
		errs = append(errs, domain.Errorf(domain.Invalid, "no table is named"))
	}
	if !c.Head.Covers(c.Through) || !c.Head.Covers(c.After) {
		errs = append(errs, domain.Errorf(domain.Invalid, "the position is beyond the log's end"))
	}
	if err := errors.Join(errs...); err != nil {
		return domain.Errorf(domain.Invalid, "%w", err)
	}
	return nil
}

func isOfLog(table string) bool {
	return table == TableEvents || table == TableTransitions || table == TablePersonal
}

func isFolded(table string) bool {
	return table == TableOrders || table == TableIntervals || table == TableMovements || table == TableCustomers
}

// end is where an export ends that begins now.
func (c *Config) end() domain.Position {
	if c.Through.IsZero() {
		return c.Head
	}
	return c.Through
}

// told counts what was read.
type told struct {
	events, total uint64
	tell          func(events, total uint64)
}

const tellEvery = 1 << 10

func (t *told) one() {
	if t.events++; t.tell != nil && (t.events%tellEvery == 0 || t.events == t.total) {
		t.tell(t.events, t.total)
	}
}

// logTables takes the events of the log.
type logTables struct {
	filter      *Filter
	told        *told
	events      sink[Event] // nil: not wanted
	transitions sink[Transition]
	personal    *opener

	event      Event // the last one, in one place for all
	transition Transition
}

func (t *logTables) add(r *domain.Recorded) error {
	t.told.one()
	e := &r.Event
	if !t.filter.judged(e.Verdict) || !t.filter.takes(string(e.Tenant), string(e.Source), e.To.String(), e.RecordedAt) {
		return nil
	}
	if t.events != nil {
		t.event = EventOf(r)
		if err := t.events.add(&t.event); err != nil {
			return err
		}
	}
	if t.personal != nil {
		if err := t.personal.add(r); err != nil {
			return err
		}
	}
	if t.transitions == nil {
		return nil
	}
	var moved bool
	if t.transition, moved = TransitionOf(r); !moved {
		return nil
	}
	return t.transitions.add(&t.transition)
}
