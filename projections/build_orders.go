package projections

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// foldedOrders are the changes of some orders of a range, and the room that their events
// take up.
type foldedOrders struct {
	changes []Change
	room    []domain.Recorded
}

// Of the events that are decoded: how many rooms there are for them, and how many are in each,
// or little more.
const (
	rooms    = 2
	roomFits = 512
)

// fold makes the orders, range by range.
func (b *builder) fold(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	folds, free := make(chan foldedOrders), make(chan []domain.Recorded, rooms)
	for range rooms {
		free <- nil
	}
	group.Go(func() error {
		defer close(folds)
		f := &folder{machine: b.runner.deps.Machine, facts: nothing{b.runner.folder.facts}, recent: newCache(0)}
		for n := range ranges {
			if err := b.foldRange(ctx, f, n, folds, free); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error { return b.writeOrders(folds, free) })
	return group.Wait()
}

// foldRange folds the orders of a range, some at a time, and sends them on.
func (b *builder) foldRange(ctx context.Context, f *folder, n int, folds chan<- foldedOrders, free chan []domain.Recorded) error {
	all, events, err := b.spill.read(n)
	if err != nil {
		return err
	}
	for len(events) > 0 {
		var done foldedOrders
		select {
		case done.room = <-free:
		case <-ctx.Done():
			return ctx.Err()
		}
		some := wholeOrders(events, roomFits)
		if done.changes, done.room, err = b.foldOrders(f, all, events[:some], done.room); err != nil {
			return err
		}
		events = events[some:]
		if b.again() { // to find all
			free <- done.room
			continue
		}
		select {
		case folds <- done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// foldOrders notes what makes the build begin again.
func (b *builder) foldOrders(f *folder, all []byte, events []spilled, room []domain.Recorded) ([]Change, []domain.Recorded, error) {
	changes, room, own, err := changesOf(all, events, room)
	if err != nil {
		return nil, nil, err
	}
	b.other = b.other || !own
	var found folded
	for i := range changes {
		if err := f.foldOrder(nil, &changes[i], &found); err != nil {
			return nil, nil, err
		}
	}
	b.parked = append(b.parked, found.parked...)
	return changes, room, nil
}

// nothing is facts that know no order yet.
type nothing struct{ Facts }

// Events are none.
func (nothing) Events(*kv.Tx, domain.OrderID) ([]domain.Event, error) { return nil, nil }

// writeOrders stores what orders make.
func (b *builder) writeOrders(folds <-chan foldedOrders, free chan<- []domain.Recorded) error {
	for done := range folds {
		if err := b.writeChanges(done.changes); err != nil {
			return err
		}
		b.counted.folded.Add(uint64(len(done.room)))
		free <- done.room
	}
	return nil
}

func (b *builder) writeChanges(changes []Change) error {
	for _, p := range b.runner.all {
		bulk, ok := p.(Bulk)
		if !ok {
			continue
		}
		err := bulk.BuildOrders(b.loader.Bucket(p.Name()), changes, func(name string, key, value []byte) error {
			return b.put(sortedBucket{view: p.Name(), name: name}, key, value)
		})
		if err != nil {
			return fmt.Errorf("build the view %s: %w", p.Name(), err)
		}
	}
	if len(b.others) == 0 || len(changes) == 0 {
		return nil
	}
	return b.aside.Load(func(tx *kv.Tx) error {
		for _, p := range b.others {
			if err := p.Apply(tx.Bucket(p.Name()), changes); err != nil {
				return fmt.Errorf("build the view %s: %w", p.Name(), err)
			}
		}
		return nil
	})
}

// put keeps an entry until all are known.
func (b *builder) put(to sortedBucket, key, value []byte) error {
	s := b.sorted[to]
	if s == nil {
		s = &sorter{path: fmt.Sprintf("%s.entries-%d", b.path, len(b.sorted)), most: sorterBytes}
		b.sorted[to] = s
	}
	return s.add(key, value)
}
