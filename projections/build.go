package projections

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	"comanda.internal/proto/wire"
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
// has other keys waits for all orders, and is sorted. A view that is no [Bulk] is applied
// to a file aside, which is copied at the end. Beside what the log's reader needs, there
// are in memory the encoded events of two ranges (a 256th each), some 1,000 that are decoded, 4 MB of
// those that wait, a quarter of one for each bucket, and some 6 MB for each bucket with other keys.
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
	// intact says that the spill holds what marks say and no more, and is to be kept when
	// ctx ends.
	intact bool

	loader *kv.Loader
	others []Projection // those that are no Bulk
	aside  *kv.DB       // a file for the others, until it is copied; nil without any
	spill  *spill
	replay replay // what was kept, as far as it is not written yet
	marks  []mark
	parked []parking // found in folding
	other  bool      // found in folding: an event in another form
	sorted map[sortedBucket]*sorter
}

// sortedBucket is a bucket that is written at the end: that of a view, or one in it.
type sortedBucket struct{ view, name string }

func (s sortedBucket) in(l *kv.Loader) *kv.Bucket {
	if s.name == "" {
		return l.Bucket(s.view)
	}
	return l.Bucket(s.view, s.name)
}

// built is a file that a build made. Its database is open.
type built struct {
	path   string
	db     *kv.DB
	marks  []mark
	parked map[domain.OrderID]struct{}
}

// build makes a file at path of the log up to head, from what a build before it has kept,
// if any. When it ends with an error it leaves none, but keeps what it has read when that is
// the end of ctx.
func (r *Runner) build(ctx context.Context, path string, head domain.Position, c *counted) (*built, error) {
	if r.deps.Building != nil {
		defer r.deps.Building()()
	}
	b := &builder{
		runner: r, path: path, head: head, without: map[domain.OrderID]parking{}, counted: c, remembered: r.visible(),
	}
	b.count()
	from, err := b.takeUp(ctx)
	if err != nil {
		return nil, fmt.Errorf("build the views: %w", err)
	}
	for ; ; from = nil {
		done, err := b.attempt(ctx, from)
		switch {
		case errors.Is(err, errKept) && ctx.Err() == nil:
			b.forget(ctx, err)
			b.careful, b.parked, b.other = false, nil, false
			clear(b.without)
			continue
		case err != nil || done != nil:
			return done, err
		case b.other && b.careful:
			return nil, domain.Errorf(domain.Internal, "build the views: an event is still in another form")
		}
		b.careful = b.careful || b.other
		for _, p := range b.parked {
			if _, again := b.without[p.order]; again {
				return nil, fmt.Errorf("build the views: the order %s: %w", p.order, p.err)
			}
			b.without[p.order] = p
		}
	}
}

// errKept says that what was kept of a build before cannot be read again.
var errKept = errors.New("read what was kept")

// attempt is nil when there were found orders that go no further, or events in another form.
// It begins with what was kept, unless that is nil.
func (b *builder) attempt(ctx context.Context, from *kept) (done *built, err error) {
	r := b.runner
	b.marks, b.parked, b.other, b.sorted = make([]mark, len(r.marks)), nil, false, map[sortedBucket]*sorter{}
	b.intact, b.replay = false, nil
	b.count()
	defer func() {
		err = errors.Join(err, b.close(err != nil && ctx.Err() != nil))
		if err == nil && done != nil {
			return
		}
		if done != nil {
			err = errors.Join(err, done.db.Discard())
		}
		done = nil
		if removed := os.Remove(b.path); !errors.Is(removed, os.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}()
	if err := b.open(from); err != nil {
		return nil, fmt.Errorf("build the views: %w", err)
	}
	r.deps.at(PointBuildBegun)
	if from != nil {
		if err := b.resume(from); err != nil {
			return nil, fmt.Errorf("build the views: %w", err)
		}
	}
	b.intact = true
	for i, step := range []func(context.Context) error{b.read, b.fold, b.entries} {
		if err := step(ctx); err != nil {
			return nil, fmt.Errorf("build the views: %w", err)
		}
		if b.again() {
			return nil, nil //nolint:nilnil // to begin again
		}
		r.deps.at([...]Point{PointBuildRead, PointBuildFolded, PointBuildSorted}[i])
	}
	if done, err = b.finish(); err != nil {
		return done, fmt.Errorf("build the views: %w", err)
	}
	r.deps.at(PointBuildWhole)
	return done, nil
}

// open makes the files of the build, but for what was kept.
func (b *builder) open(from *kept) (err error) {
	if b.loader, err = kv.NewLoader(b.path); err != nil {
		return err
	}
	if from == nil {
		b.spill, err = newSpill(b.path + eventsSuffix)
	} else {
		b.spill, err = openSpill(b.path+eventsSuffix, from)
	}
	if err != nil {
		return err
	}
	b.others = nil
	for _, p := range b.runner.all {
		if _, ok := p.(Bulk); !ok {
			b.others = append(b.others, p)
		}
	}
	if len(b.others) == 0 {
		return nil
	}
	path := b.path + ".aside"
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	bolt, err := openDB(path)
	if err != nil {
		return err
	}
	bolt.NoSync = true // it ends with the process
	b.aside = kv.New(bolt)
	return os.Remove(path)
}

// again reports whether what was found makes the build begin again.
func (b *builder) again() bool { return len(b.parked) > 0 || b.other }

// count begins to count.
func (b *builder) count() {
	var total uint64
	for partition := range b.remembered {
		total += b.head.At(partition)
	}
	b.counted.total.Store(total)
	b.counted.read.Store(0)
	b.counted.folded.Store(0)
}

// close ends what only the build needed. What was read is kept when that is wanted.
func (b *builder) close(keep bool) error {
	var errs []error
	if b.spill != nil {
		errs = append(errs, b.closeSpill(keep))
	}
	if b.loader != nil {
		errs = append(errs, b.loader.Close())
	}
	if b.aside != nil {
		errs = append(errs, b.aside.Discard())
	}
	for _, s := range b.sorted {
		errs = append(errs, s.close())
	}
	b.loader, b.aside, b.spill, b.sorted = nil, nil, nil, nil
	return errors.Join(errs...)
}

// closeSpill removes the spilled events, unless they are kept.
func (b *builder) closeSpill(keep bool) error {
	if read := b.counted.read.Load(); keep && b.intact && read > 0 {
		err := b.keep()
		if err == nil {
			b.runner.deps.Logger.Info("a build of views keeps what it has read", "read", read, "events", b.counted.total.Load())
			return b.spill.close()
		}
		b.runner.deps.Logger.Warn("a build of views cannot keep what it has read", "error", err)
	}
	return errors.Join(b.spill.close(), dropKept(b.path))
}

// batch is of events that are read: of the log, or of those that were kept.
type batch struct {
	events []domain.Stored
	kept   bool
}

// read reads the log up to the head, partition by partition, and of each first what was kept.
func (b *builder) read(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan batch, 4)
	group.Go(func() error {
		defer close(batches)
		for partition := range b.marks {
			if err := b.scan(ctx, partition, batches); err != nil {
				return err
			}
		}
		return nil
	})
	group.Go(func() error { return b.write(batches) })
	return group.Wait()
}

// scan sends the events of a partition.
func (b *builder) scan(ctx context.Context, partition int, batches chan<- batch) error {
	send := func(read batch) error {
		select {
		case batches <- read:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	after, until := b.marks[partition].sequence, b.head.At(partition)
	err := b.replay.partition(partition, func(events []domain.Stored) error { return send(batch{events: events, kept: true}) })
	if err != nil {
		return err
	}
	return b.runner.deps.Log.Stored(ctx, partition, after, until, func(events []domain.Stored) error {
		if len(events) == 0 {
			return nil
		}
		if err := b.compare(events); err != nil {
			return err
		}
		return send(batch{events: events})
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

// write stores what events make by themselves, and spills them: all that were read, whatever
// ended that.
func (b *builder) write(batches <-chan batch) error {
	for read := range batches {
		write := b.writeEvents
		if read.kept {
			write = b.buildEvents
		}
		if err := write(read.events); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) writeEvents(events []domain.Stored) error {
	b.intact = false
	b.counted.read.Add(uint64(len(events)))
	last := &events[len(events)-1]
	partition, read := last.Partition, mark{sequence: last.Sequence, hash: last.Hash}
	if b.careful {
		if err := encodeAnew(events); err != nil {
			return err
		}
	}
	if len(b.without) > 0 || len(b.runner.folder.skipped) > 0 {
		events = slices.DeleteFunc(events, b.isLeftOut)
	}
	if err := b.buildEvents(events); err != nil {
		return err
	}
	for i := range events {
		if err := b.spill.add(&events[i]); err != nil {
			return err
		}
	}
	b.marks[partition] = read
	b.intact = true
	return nil
}

// buildEvents stores what events make by themselves.
func (b *builder) buildEvents(events []domain.Stored) error {
	for _, p := range b.runner.all {
		if bulk, ok := p.(Bulk); ok {
			if err := bulk.BuildEvents(b.loader.Bucket(p.Name()), events); err != nil {
				return fmt.Errorf("build the view %s: %w", p.Name(), err)
			}
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
			e.Encoded, err = wire.EncodeEvent(&event)
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

// atOnce is how many buckets are sorted and written at a time.
const atOnce = 2

// entries writes what was sorted.
func (b *builder) entries(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for to, s := range b.sorted {
		group.Go(func() error {
			bucket := to.in(b.loader)
			err := s.each(func(key, value []byte) error { return errors.Join(ctx.Err(), bucket.Put(key, value)) })
			if err != nil {
				return fmt.Errorf("write %s of the view %s: %w", to.name, to.view, err)
			}
			return s.close()
		})
	}
	return group.Wait()
}

// finish makes a file of it, and writes the checkpoint once the rest is on disk, and then
// that. A built that it returns with an error is open.
func (b *builder) finish() (*built, error) {
	var err error
	if b.aside == nil {
		err = b.loader.Finish(nil)
	} else {
		err = b.aside.Handed(b.loader.Finish)
	}
	if err != nil {
		return nil, err
	}
	bolt, err := openDB(b.path)
	if err != nil {
		return nil, err
	}
	r, done := b.runner, &built{path: b.path, db: kv.New(bolt), marks: b.marks, parked: map[domain.OrderID]struct{}{}}
	for id := range b.without {
		done.parked[id] = struct{}{}
	}
	if err := carry(done.db, r.folder.skipped); err != nil {
		return done, err
	}
	if err := prepare(done.db, r.deps.Log.Identity(), r.deps.Machine.Version(), r.all); err != nil {
		return done, err
	}
	return done, done.db.Load(b.checkpoint)
}

// checkpoint writes how far the build is.
func (b *builder) checkpoint(tx *kv.Tx) error {
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
}
