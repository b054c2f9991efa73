package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// folder folds every order of the log, a bucket of orders at a time.
type folder struct {
	cfg     *Config
	through domain.Position
	told    *told

	orders    sink[Order] // nil: not wanted, and so on
	intervals sink[Interval]
	movements sink[Movement]
	customers *customers

	leftOut uint64 // events that cannot follow their orders' histories
}

// run reads the whole log, spills it below dir, and hands the rows of each order to
// the sinks, by order id.
func (f *folder) run(ctx context.Context, dir string) error {
	buckets, err := newSpool(filepath.Join(dir, "orders"))
	if err != nil {
		return err
	}
	if err := f.customers.begin(filepath.Join(dir, "sealed")); err != nil {
		return err
	}
	for p := range f.through.Partitions() {
		if err := f.cfg.Log.Scan(ctx, p, 0, f.through.At(p), func(r *domain.Recorded) error {
			f.told.one()
			if err := f.customers.keep(r); err != nil {
				return err
			}
			return buckets.addEvent(r)
		}); err != nil {
			return err //nolint:wrapcheck // names the place
		}
	}
	names, err := buckets.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		orders, err := buckets.readEvents(name)
		if err == nil {
			err = f.customers.read(name)
		}
		if err != nil {
			return err
		}
		for _, id := range slices.Sorted(maps.Keys(orders)) {
			if err := errors.Join(ctx.Err(), f.order(ctx, id, orders[id])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folder) order(ctx context.Context, id domain.OrderID, events []domain.Recorded) error {
	last := &events[len(events)-1]
	if last.Sequence <= f.cfg.After.At(last.Partition) || !f.cfg.Filter.judgedAny(events) {
		return nil
	}
	h, events := f.history(events)
	if len(events) == 0 || !f.cfg.Filter.judgedAny(events) {
		return nil
	}
	s := f.cfg.Machine.Fold(h)
	var err error
	takes := func(status string, recorded time.Time) bool {
		return f.cfg.Filter.takes(string(s.Identity.Tenant), string(s.Source), status, recorded)
	}
	if r := OrderOf(id, s); takes(r.Status, r.FirstRecordedAt) {
		if f.orders != nil {
			err = f.orders.add(&r)
		}
		if err == nil {
			err = f.customers.add(ctx, &r, events)
		}
	}
	if f.intervals != nil && err == nil {
		err = addAll(f.intervals, IntervalsOf(id, s, events), func(r *Interval) bool { return takes(r.Status, r.RecordedAt) })
	}
	if f.movements != nil && err == nil {
		err = addAll(f.movements, MovementsOf(id, s, f.cfg.Machine.Movements(h)), func(r *Movement) bool { return takes(s.Status.String(), r.RecordedAt) })
	}
	return err
}

// history is that of an order, and the events that it is made of: one that cannot follow
// those before it is left out, as an operator leaves it out of the views, and told of
// when tenant and source are asked for. They are those of the history's first event.
func (f *folder) history(events []domain.Recorded) (*order.History, []domain.Recorded) {
	var h *order.History
	var strange []misfit
	followed := make([]domain.Recorded, 0, len(events))
	for i := range events {
		next, err := h.With(&events[i].Event)
		if err != nil {
			strange = append(strange, misfit{&events[i], err})
			continue
		}
		h, followed = next, append(followed, events[i])
	}
	first := &events[0].Event
	if len(followed) > 0 {
		first = &followed[0].Event
	}
	if !f.cfg.Filter.owns(string(first.Tenant), string(first.Source)) {
		return nil, nil
	}
	for _, m := range strange {
		f.leftOut++
		if f.cfg.LeftOut != nil {
			f.cfg.LeftOut(m.event, m.why)
		}
	}
	return h, followed
}

// misfit is an event that cannot follow its order's history.
type misfit struct {
	event *domain.Recorded
	why   error
}

func addAll[T row](to sink[T], rows []T, takes func(*T) bool) error {
	for i := range rows {
		if !takes(&rows[i]) {
			continue
		}
		if err := to.add(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// byDay takes rows of any days and gives them to parts day after day, so that one
// file is open at a time.
type byDay[T row] struct {
	days  *spool
	parts *parts[T]
}

func newByDay[T row](dir, table, format string) (*byDay[T], error) {
	days, err := newSpool(filepath.Join(partialOf(dir, table), "days"))
	return &byDay[T]{days: days, parts: newParts[T](dir, table, format, "orders")}, err
}

func (d *byDay[T]) add(r *T) error {
	day := dayOf((*r).recorded())
	b := d.days.to(day)
	if err := json.MarshalWrite(b, r, jsontext.AllowInvalidUTF8(true)); err != nil {
		return fmt.Errorf("spill a row: %w", err)
	}
	_ = b.WriteByte('\n')
	return d.days.flushed(day, b)
}

func (d *byDay[T]) finish() ([]File, error) {
	days, err := d.days.names()
	if err != nil {
		return nil, err
	}
	defer d.parts.abandon()
	for _, day := range days {
		if err := d.write(d.days.path(day)); err != nil {
			return nil, fmt.Errorf("read back the rows of %s: %w", day, err)
		}
	}
	return d.parts.finish()
}

func (d *byDay[T]) write(path string) (err error) {
	in, err := os.Open(path) //nolint:gosec // a file of the spool
	if err != nil {
		return err //nolint:wrapcheck // the caller says what it is
	}
	defer func() { err = errors.Join(err, in.Close(), os.Remove(path)) }()
	rows := jsontext.NewDecoder(bufio.NewReaderSize(in, partBytes), jsontext.AllowInvalidUTF8(true))
	for {
		var r T
		err := json.UnmarshalDecode(rows, &r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = d.parts.add(&r)
		}
		if err != nil {
			return err
		}
	}
}
