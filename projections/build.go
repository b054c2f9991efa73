package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync/atomic"

	"go.etcd.io/bbolt"
	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	"comanda.internal/proto/wire"
)

// Of a build: how many events, and events of order changes, one transaction
// writes, and how many sorted entries.
const (
	buildEvents  = 32_768
	buildEntries = 100_000
)

// Progress is how far a build of views is.
type Progress struct {
	Total  uint64 // events up to which the log is read
	Read   uint64 // events that were read
	Folded uint64 // events that are in the orders that were written
}

// counted is a Progress that is counted while others look.
type counted struct{ total, read, folded atomic.Uint64 }

func (c *counted) progress() Progress {
	return Progress{Total: c.total.Load(), Read: c.read.Load(), Folded: c.folded.Load()}
}

// builder is one build: a new file with all that is in the log up to some
// position, with its checkpoint and on disk.
//
// It reads the log once. What each event makes by itself is written at once; the
// event then waits, on disk, for its range of order ids. The ranges are folded
// one after the other, so that every order is written once and in its place; what
// has other keys waits for all orders, and is sorted. Beside what kv and the log's
// reader need, there are in memory the events of two ranges (a 256th each), 4 MB
// of those that wait, and some 16 MB for each bucket with other keys.
//
// Events are decoded when they are folded. So an order whose events do not follow one
// another is known only when others of its events were written; the build then begins
// again, without those. And so it does when it finds an event that the log holds in another form than
// the views, as a newer program may have written it: then each event is decoded before it is written.
type builder struct {
	runner  *Runner
	path    string
	head    domain.Position
	without map[domain.OrderID]parking // orders that go no further than to an event
	careful bool                       // to decode before writing
	counted *counted
	// remembered is what the views hold of the log; the build holds it too, or fails.
	remembered []mark

	bolt   *bbolt.DB
	db     *kv.DB
	spill  *spill
	marks  []mark
	parked []parking // found in folding
	other  bool      // found in folding: an event in another form
	sorted map[sortedBucket]*sorter
}

// sortedBucket is a bucket that is written at the end: that of a view, or one in it.
type sortedBucket struct{ view, name string }

func (s sortedBucket) in(tx *kv.Tx) *kv.Bucket {
	if s.name == "" {
		return tx.Bucket(s.view)
	}
	return tx.Bucket(s.view, s.name)
}

// built is a file that a build made. Its database is open.
type built struct {
	path   string
	db     *kv.DB
	marks  []mark
	parked map[domain.OrderID]struct{}
}

// build makes a file at path of the log up to head. When it ends with an error it
// leaves none.
func (r *Runner) build(ctx context.Context, path string, head domain.Position, c *counted) (*built, error) {
	b := &builder{
		runner: r, path: path, head: head, without: map[domain.OrderID]parking{}, counted: c, remembered: r.visible(),
	}
	for {
		done, err := b.attempt(ctx)
		switch {
		case err != nil || done != nil:
			return done, err
		case b.other && b.careful:
			return nil, domain.Errorf(domain.Internal, "build the views: an event is still in another form")
		case len(b.parked) > 0 && len(b.without) > 0:
			return nil, fmt.Errorf("build the views: the order %s: %w", b.parked[0].order, b.parked[0].err)
		}
		b.careful = b.careful || b.other
		for _, p := range b.parked {
			b.without[p.order] = p
		}
	}
}

// attempt is nil when there were found orders that go no further, or events in another form.
func (b *builder) attempt(ctx context.Context) (done *built, err error) {
	if err := os.Remove(b.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("build the views: %w", err)
	}
	r := b.runner
	b.marks, b.parked, b.other, b.sorted = make([]mark, len(r.marks)), nil, false, map[sortedBucket]*sorter{}
	b.count()
	if b.bolt, err = openDB(b.path); err != nil {
		return nil, err
	}
	b.bolt.NoSync = true // until it is whole
	b.db = kv.New(b.bolt)
	defer func() {
		err = errors.Join(err, b.close())
		if err != nil || done == nil {
			done, err = nil, errors.Join(err, b.bolt.Close(), os.Remove(b.path))
		}
	}()
	if b.spill, err = newSpill(b.path + ".events"); err != nil {
		return nil, err
	}
	if err := carry(b.db, r.folder.skipped); err != nil {
		return nil, fmt.Errorf("build the views: %w", err)
	}
	if err := prepare(b.db, r.deps.Log.Identity(), r.deps.Machine.Version(), r.all); err != nil {
		return nil, fmt.Errorf("build the views: %w", err)
	}
	r.deps.at(PointBuildBegun)
	for i, step := range []func(context.Context) error{b.read, b.fold, b.entries, b.finish} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("build the views: %w", err)
		}
		if b.again() {
			return nil, nil //nolint:nilnil // to begin again
		}
		r.deps.at([...]Point{PointBuildRead, PointBuildFolded, PointBuildSorted, PointBuildWhole}[i])
	}
	done = &built{path: b.path, db: kv.New(b.bolt), marks: b.marks, parked: map[domain.OrderID]struct{}{}}
	for id := range b.without {
		done.parked[id] = struct{}{}
	}
	return done, nil
}

// again reports whether what was found makes the build begin again.
func (b *builder) again() bool { return len(b.parked) > 0 || b.other }

// count begins to count.
func (b *builder) count() {
	var total uint64
	for partition := range b.marks {
		total += b.head.At(partition)
	}
	b.counted.total.Store(total)
	b.counted.read.Store(0)
	b.counted.folded.Store(0)
}

// close ends what only the build needed.
func (b *builder) close() error {
	var errs []error
	if b.spill != nil {
		errs = append(errs, b.spill.close())
	}
	for _, s := range b.sorted {
		errs = append(errs, s.close())
	}
	b.spill, b.sorted = nil, nil
	return errors.Join(errs...)
}

// read reads the log up to the head, partition by partition.
func (b *builder) read(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan []domain.Stored, 4)
	group.Go(func() error {
		defer close(batches)
		for partition := range b.marks {
			if err := b.scan(ctx, partition, b.head.At(partition), batches); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error { return b.write(ctx, batches) })
	return group.Wait()
}

// scan sends the events of a partition up to a sequence.
func (b *builder) scan(ctx context.Context, partition int, until uint64, batches chan<- []domain.Stored) error {
	m := &b.marks[partition]
	return b.runner.deps.Log.Stored(ctx, partition, 0, until, func(events []domain.Stored) error {
		if len(events) == 0 {
			return nil
		}
		if err := b.compare(events); err != nil {
			return err
		}
		last := &events[len(events)-1]
		*m = mark{sequence: last.Sequence, hash: last.Hash}
		select {
		case batches <- events:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// compare looks for another event than the views remember.
func (b *builder) compare(events []domain.Stored) error {
	known, first := b.remembered[events[0].Partition], events[0].Sequence
	if known.sequence < first || known.sequence > events[len(events)-1].Sequence {
		return nil
	}
	at, found := slices.BinarySearchFunc(events, known.sequence, func(e domain.Stored, sequence uint64) int {
		return cmp.Compare(e.Sequence, sequence)
	})
	if !found || events[at].Hash != known.hash {
		return domain.Errorf(domain.Corrupt, "partition %d went backwards: at sequence %d the log holds another event than the views remember",
			events[0].Partition, known.sequence)
	}
	return nil
}

// write stores what events make by themselves, many in a transaction, and spills
// them.
func (b *builder) write(ctx context.Context, batches <-chan []domain.Stored) error {
	for open := true; open; {
		err := b.db.Load(func(tx *kv.Tx) error {
			for written := 0; written < buildEvents; {
				var events []domain.Stored
				select {
				case events, open = <-batches:
				case <-ctx.Done():
					return ctx.Err()
				}
				if !open {
					return nil
				}
				written += len(events)
				if err := b.writeEvents(tx, events); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) writeEvents(tx *kv.Tx, events []domain.Stored) error {
	b.counted.read.Add(uint64(len(events)))
	if b.careful {
		if err := encodeAnew(events); err != nil {
			return err
		}
	}
	if len(b.without) > 0 || len(b.runner.folder.skipped) > 0 {
		events = slices.DeleteFunc(events, b.isLeftOut)
	}
	for _, p := range b.runner.all {
		if bulk, ok := p.(Bulk); ok {
			if err := bulk.BuildEvents(tx.Bucket(p.Name()), events); err != nil {
				return fmt.Errorf("build the view %s: %w", p.Name(), err)
			}
		}
	}
	for i := range events {
		if err := b.spill.add(&events[i]); err != nil {
			return err
		}
	}
	return nil
}

// encodeAnew gives events the one form.
func encodeAnew(events []domain.Stored) error {
	for i := range events {
		e := &events[i]
		event, err := wire.DecodeEvent(e.Encoded)
		if err == nil {
			e.Order = event.OrderID
			e.Encoded, err = wire.Marshal(wire.Event(&event))
		}
		if err != nil {
			return fmt.Errorf("the event at %d of partition %d: %w", e.Sequence, e.Partition, err)
		}
	}
	return nil
}

// isLeftOut reports whether e was skipped, or is or comes after what its order
// cannot follow.
func (b *builder) isLeftOut(e domain.Stored) bool {
	if _, skipped := b.runner.folder.skipped[place{e.Partition, e.Sequence}]; skipped {
		return true
	}
	p, ok := b.without[e.Order]
	return ok && cmp.Or(cmp.Compare(e.Partition, p.partition), cmp.Compare(e.Sequence, p.sequence)) >= 0
}

// foldedRange is a range's changes, and the room that their events take up.
type foldedRange struct {
	changes []Change
	room    []domain.Recorded
}

// rooms is how many ranges have their events in memory.
const rooms = 2

// fold makes the orders, range by range.
func (b *builder) fold(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	folds, free := make(chan foldedRange), make(chan []domain.Recorded, rooms)
	for range rooms {
		free <- nil
	}
	group.Go(func() error {
		defer close(folds)
		f := &folder{machine: b.runner.deps.Machine, facts: nothing{b.runner.folder.facts}, recent: newCache(0)}
		for n := range ranges {
			var done foldedRange
			var err error
			select {
			case done.room = <-free:
			case <-ctx.Done():
				return ctx.Err()
			}
			if done.changes, done.room, err = b.foldRange(f, n, done.room); err != nil {
				return err
			}
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
	})
	group.Go(func() error { return b.writeOrders(folds, free) })
	return group.Wait()
}

// foldRange notes what makes the build begin again.
func (b *builder) foldRange(f *folder, n int, room []domain.Recorded) ([]Change, []domain.Recorded, error) {
	changes, room, own, err := b.spill.changes(n, room)
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

// writeOrders stores what orders make, many in a transaction.
func (b *builder) writeOrders(folds <-chan foldedRange, free chan<- []domain.Recorded) error {
	for open := true; open; {
		err := b.db.Load(func(tx *kv.Tx) error {
			for written := 0; written < buildEvents; {
				var done foldedRange
				if done, open = <-folds; !open {
					return nil
				}
				if err := b.writeChanges(tx, done.changes); err != nil {
					return err
				}
				written += len(done.room)
				b.counted.folded.Add(uint64(len(done.room)))
				free <- done.room
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) writeChanges(tx *kv.Tx, changes []Change) error {
	for _, p := range b.runner.all {
		var err error
		if bulk, ok := p.(Bulk); ok {
			err = bulk.BuildOrders(tx.Bucket(p.Name()), changes, func(name string, key, value []byte) error {
				return b.put(sortedBucket{view: p.Name(), name: name}, key, value)
			})
		} else {
			err = p.Apply(tx.Bucket(p.Name()), changes)
		}
		if err != nil {
			return fmt.Errorf("build the view %s: %w", p.Name(), err)
		}
	}
	return nil
}

// put keeps an entry until all are known.
func (b *builder) put(to sortedBucket, key, value []byte) error {
	s := b.sorted[to]
	if s == nil {
		s = &sorter{path: b.path + ".entries", most: sorterBytes}
		b.sorted[to] = s
	}
	return s.add(key, value)
}

// entries writes what was sorted.
func (b *builder) entries(ctx context.Context) error {
	byName := func(x, y sortedBucket) int { return cmp.Or(cmp.Compare(x.view, y.view), cmp.Compare(x.name, y.name)) }
	for _, to := range slices.SortedFunc(maps.Keys(b.sorted), byName) {
		s := b.sorted[to]
		if err := b.writeSorted(ctx, to, s); err != nil {
			return fmt.Errorf("write %s of the view %s: %w", to.name, to.view, err)
		}
		if err := s.close(); err != nil {
			return err
		}
		delete(b.sorted, to)
	}
	return nil
}

func (b *builder) writeSorted(ctx context.Context, to sortedBucket, s *sorter) error {
	var waiting []sortedEntry
	write := func() error {
		err := b.db.Load(func(tx *kv.Tx) error {
			bucket := to.in(tx)
			bucket.Appended()
			for _, e := range waiting {
				if err := bucket.Put(e.key, e.value); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
		waiting = waiting[:0]
		return err
	}
	err := s.each(func(key, value []byte) error {
		waiting = append(waiting, sortedEntry{key: key, value: value})
		if len(waiting) < buildEntries {
			return nil
		}
		return write()
	})
	if err != nil {
		return err
	}
	return write()
}

// finish writes the checkpoint once the rest is on disk, and then that.
func (b *builder) finish(context.Context) error {
	if err := b.bolt.Sync(); err != nil {
		return err
	}
	b.bolt.NoSync = false
	return b.db.Load(func(tx *kv.Tx) error {
		for _, p := range b.without {
			if err := putParked(tx, &p); err != nil {
				return err
			}
		}
		for partition, m := range b.marks {
			if m.sequence == 0 {
				continue
			}
			if err := putMark(tx, partition, m); err != nil {
				return err
			}
		}
		return nil
	})
}
