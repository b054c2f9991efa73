package projections

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"comanda.internal/domain"
)

// A build that is told to end keeps what it has read of the log: the events that it has
// spilled, and beside them what they are of, in a small file that is written last. Its
// content is keptMagic, the SHA-256 of the rest, and a [kept] as gob. It is removed before
// anything else is spilled, so that a build which is killed keeps nothing.
const (
	eventsSuffix = ".events"
	keptSuffix   = ".kept"
	keptMagic    = "kept1\n"
)

// kept is what a build had read when it was told to end.
type kept struct {
	Of          keptOf
	Total, Read uint64 // of its progress
	Careful     bool
	Marks       []keptMark // by partition
	Without     []keptOrder
	Counts      [ranges]int
	Blocks      []keptBlock // in the order of the file
}

// keptOf is what must be as it was for a build to go on.
type keptOf struct {
	Log     string
	Epoch   uint64
	Machine uint32
	Views   map[string]uint32
	Skipped []string
}

// keptMark is a mark.
type keptMark struct {
	Sequence uint64
	Hash     [hashSize]byte
}

// keptOrder is a parking.
type keptOrder struct {
	Order     string
	Partition int
	Sequence  uint64
	Why       string
}

// keptBlock is a block, which begins where the one before it ends, and its range.
type keptBlock struct {
	Range uint8
	Size  int
	Sum   uint32
	Run   int
}

// keptOf is of what r builds.
func (r *Runner) keptOf() keptOf {
	of := keptOf{Log: r.deps.Log.Identity(), Epoch: r.deps.Log.Epoch(), Machine: r.deps.Machine.Version(), Views: map[string]uint32{}}
	for _, p := range r.all {
		of.Views[p.Name()] = p.Version()
	}
	for at, entry := range r.folder.skipped {
		of.Skipped = append(of.Skipped, fmt.Sprintf("%d %d %s", at.partition, at.sequence, entry))
	}
	slices.Sort(of.Skipped)
	return of
}

// differs says what of a build is another than k's; "" for nothing.
func (k *keptOf) differs(now *keptOf) string {
	switch {
	case k.Log != now.Log:
		return "it is of another log"
	case k.Epoch != now.Epoch:
		return "the log was restored since"
	case k.Machine != now.Machine:
		return "the machine has another version"
	case !maps.Equal(k.Views, now.Views):
		return "views have another version"
	case !slices.Equal(k.Skipped, now.Skipped):
		return "other events are skipped"
	default:
		return ""
	}
}

// keep writes down what b has read, for the next build of its file to go on with.
func (b *builder) keep() error {
	at := b.runner.deps.at
	at(PointKeep)
	if err := b.spill.sync(); err != nil {
		return err
	}
	at(PointKeepSpilled)
	progress := b.counted.progress()
	k := &kept{Of: b.runner.keptOf(), Total: progress.Total, Read: progress.Read, Careful: b.careful, Counts: b.spill.counts}
	for _, m := range b.marks {
		k.Marks = append(k.Marks, keptMark{Sequence: m.sequence, Hash: m.hash})
	}
	for _, p := range b.without {
		k.Without = append(k.Without, keptOrder{Order: string(p.order), Partition: p.partition, Sequence: p.sequence, Why: p.err.Error()})
	}
	k.Blocks = b.spill.index()
	if err := k.write(b.path + keptSuffix); err != nil {
		return fmt.Errorf("write down what is read: %w", err)
	}
	at(PointKept)
	return nil
}

// write makes the file at path, whole, or none.
func (k *kept) write(path string) (err error) {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(k); err != nil {
		return err
	}
	sum := sha256.Sum256(body.Bytes())
	beside := path + ".new"
	file, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // beside the views
	if err != nil {
		return err
	}
	_, err = file.Write(slices.Concat([]byte(keptMagic), sum[:], body.Bytes()))
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(beside, path)
	}
	if err != nil {
		return errors.Join(err, remove(beside))
	}
	return syncDir(filepath.Dir(path))
}

// readKept is what a build of the file at path has kept; nil: nothing. The error's kind is
// Corrupt when that cannot be used.
func readKept(path string) (*kept, error) {
	text, err := os.ReadFile(path + keptSuffix) //nolint:gosec // beside the views
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing
	}
	if err != nil {
		return nil, err
	}
	body, sum := []byte(nil), sha256.Size
	if len(text) >= len(keptMagic)+sum && string(text[:len(keptMagic)]) == keptMagic {
		text = text[len(keptMagic):]
		if of := sha256.Sum256(text[sum:]); bytes.Equal(of[:], text[:sum]) {
			body = text[sum:]
		}
	}
	k := new(kept)
	if err := gob.NewDecoder(bytes.NewReader(body)).Decode(k); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "it is damaged: %w", err)
	}
	return k, nil
}

// dropKept removes what a build of the file at path has kept: first what says so.
func dropKept(path string) error {
	err := remove(path + keptSuffix + ".new")
	if exists(path + keptSuffix) {
		err = errors.Join(err, remove(path+keptSuffix), syncDir(filepath.Dir(path)))
	}
	return errors.Join(err, remove(path+eventsSuffix))
}

// takeUp is what a build before this one has kept; nil: nothing that can be used. It
// stays on disk until the build has it.
func (b *builder) takeUp(ctx context.Context) (*kept, error) {
	k, err := readKept(b.path)
	if err == nil && k != nil {
		err = b.fits(ctx, k)
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && k != nil:
		b.runner.deps.Logger.InfoContext(ctx, "a build of views goes on from where it was ended", "read", k.Read, "events", b.counted.total.Load())
		return k, nil
	case err != nil:
		b.forget(ctx, err)
	}
	return nil, dropKept(b.path)
}

func (b *builder) forget(ctx context.Context, why error) {
	b.runner.deps.Logger.WarnContext(ctx, "what a build of views has kept cannot be used; it begins anew", "error", why)
}

// fits is nil when the log holds all that k is of, and nothing else has changed.
func (b *builder) fits(ctx context.Context, k *kept) error {
	now := b.runner.keptOf()
	if why := k.Of.differs(&now); why != "" {
		return domain.Errorf(domain.Refused, "%s", why)
	}
	if len(k.Marks) != len(b.remembered) {
		return domain.Errorf(domain.Corrupt, "it is of %d partitions", len(k.Marks))
	}
	var size int64
	for _, block := range k.Blocks {
		size += int64(block.Size)
	}
	if has := sizeOf(b.path + eventsSuffix); has != size {
		return domain.Errorf(domain.Corrupt, "%d bytes of events, want %d", has, size)
	}
	for partition, m := range k.Marks {
		if err := b.holds(ctx, partition, mark{sequence: m.Sequence, hash: m.Hash}); err != nil {
			return err
		}
		// A build that begins anew comes by what the views remember; this one may be beyond.
		if known := b.remembered[partition]; known.sequence <= m.Sequence {
			if err := b.holds(ctx, partition, known); err != nil {
				return err
			}
		}
	}
	return nil
}

// holds wants the log to hold the event of a mark.
func (b *builder) holds(ctx context.Context, partition int, m mark) error {
	if m.sequence == 0 {
		return nil
	}
	backwards := domain.Errorf(domain.Corrupt, "partition %d went backwards: at sequence %d the log does not hold what was read", partition, m.sequence)
	if b.head.At(partition) < m.sequence {
		return backwards
	}
	return b.runner.persist(ctx, "log cannot be read now; trying again", func() error {
		found := false
		err := b.runner.deps.Log.Stored(ctx, partition, m.sequence-1, m.sequence, func(events []domain.Stored) error {
			found = len(events) == 1 && events[0].Hash == m.hash
			return nil
		})
		if err == nil && !found {
			err = backwards
		}
		return err
	})
}

// resume begins where k ends, which is kept no more.
func (b *builder) resume(k *kept) (err error) {
	b.careful = k.Careful
	for _, o := range k.Without {
		id := domain.OrderID(o.Order)
		b.without[id] = parking{order: id, partition: o.Partition, sequence: o.Sequence, err: errors.New(o.Why)}
	}
	for partition, m := range k.Marks {
		b.marks[partition] = mark{sequence: m.Sequence, hash: m.Hash}
	}
	b.counted.read.Store(k.Read)
	if b.goesBack() {
		b.spill.run++
	}
	if err := errors.Join(remove(b.path+keptSuffix), syncDir(filepath.Dir(b.path))); err != nil {
		return err
	}
	b.runner.deps.at(PointResumed)
	b.replay, err = newReplay(b.spill)
	return err
}

// goesBack reports whether there is more to read of a partition before the last one that was
// begun.
func (b *builder) goesBack() bool {
	back, begun := false, false
	for partition, m := range slices.Backward(b.marks) {
		back = back || begun && b.head.At(partition) > m.sequence
		begun = begun || m.sequence > 0
	}
	return back
}

// openSpill opens the spill that k is of.
func openSpill(path string, k *kept) (*spill, error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0o600) //nolint:gosec // beside the views
	if err != nil {
		return nil, fmt.Errorf("spill events: %w", err)
	}
	s := &spill{file: file, counts: k.Counts}
	for _, b := range k.Blocks {
		s.blocks[b.Range] = append(s.blocks[b.Range], block{at: s.end, size: b.Size, sum: b.Sum, run: b.Run})
		s.run = b.Run
		s.end += int64(b.Size)
	}
	return s, nil
}

// sync puts all events into the file, and that on disk.
func (s *spill) sync() error {
	for n := range ranges {
		if len(s.newest[n]) == 0 {
			continue
		}
		if err := s.write(n); err != nil {
			return err
		}
	}
	return s.file.Sync()
}

// index are all blocks.
func (s *spill) index() []keptBlock {
	type placed struct {
		keptBlock

		at int64
	}
	var all []placed
	for n, blocks := range s.blocks {
		for _, b := range blocks {
			all = append(all, placed{keptBlock{Range: uint8(n), Size: b.size, Sum: b.sum, Run: b.run}, b.at})
		}
	}
	slices.SortFunc(all, func(x, y placed) int { return cmp.Compare(x.at, y.at) })
	index := make([]keptBlock, len(all))
	for i := range all {
		index[i] = all[i].keptBlock
	}
	return index
}
