package customers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// Rule is what a problem breaks.
type Rule int

// The rules.
const (
	Missing Rule = iota // an entry that the log gives is not there
	Differs             // an entry does not say what the log gives
	Extra               // an entry is there that the log does not give
)

// Problem is one thing that does not hold. It names nobody.
type Problem struct {
	Rule      Rule
	Partition int
	Sequence  uint64         // of the event that gives the entry; 0: none does
	OrderID   domain.OrderID // "": the entry is of none
	Detail    string
}

// Proof is what was compared.
type Proof struct {
	Position domain.Position // up to which the index had read the log
	Entries  uint64          // that the log gives, and that are there
	LeftOver uint64          // of data keys that were destroyed
}

// Verify compares the index, while it goes on, with what the log gives up to where the
// index has read, and reports what differs. It opens the personal data of every event,
// and keeps some 30 bytes of every entry. An event that cannot be opened gives no entry.
// One check runs at a time, and no build takes the index's place meanwhile.
// progress is called now and then with the events read and those to read. The error's kind is Unavailable before
// Ready, and when a [Look] finds an index that remembers more than the log holds; Corrupt when the
// log or the file cannot be read. One of the key bucket that may pass is waited for until ctx ends.
func (x *Index) Verify(ctx context.Context, report func(Problem), progress func(events, total uint64)) (Proof, error) {
	select { // so that it reads one file to its end
	case x.proving <- struct{}{}:
		defer func() { <-x.proving }()
	case <-ctx.Done():
		return Proof{}, fmt.Errorf("verify the customer index: %w", ctx.Err())
	}
	c := &check{
		index: x, report: report, progress: progress, view: x.db().View, partitions: x.deps.Log.Partitions(),
		seeds:   [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		derived: map[digest]struct{}{}, differing: map[digest]claim{},
	}
	err := x.made()
	if err == nil {
		err = x.survive(func(*kv.DB) error { return c.run(ctx) })
	}
	if errors.Is(err, errDamaged) {
		err = domain.Errorf(domain.Corrupt, "the next start makes it anew: %w", err)
	}
	if err != nil {
		return Proof{}, fmt.Errorf("verify the customer index: %w", err)
	}
	return c.proof, nil
}

// digest stands for an entry's key.
type digest [16]byte

// check is one Verify.
type check struct {
	index      *Index
	report     func(Problem)
	progress   func(events, total uint64)
	view       func(func(*kv.Tx) error) error
	partitions int
	seeds      [2]maphash.Seed

	derived   map[digest]struct{} // entries that the log gives
	differing map[digest]claim    // of those, where the index has another key, which a later event may have given
	marks     []mark              // of the index when the check began
	read      domain.Position
	events    uint64
	total     uint64
	proof     Proof
}

// claim is that something does not hold unless a data key was destroyed.
type claim struct {
	Problem

	key string
}

const (
	// checkAtOnce is how many events, or entries, are gone through together.
	checkAtOnce = 512
	// mostPasses end the chase after an index that goes on as fast as it is compared.
	mostPasses = 10
)

func (c *check) run(ctx context.Context) error {
	head, err := c.index.deps.Log.Head(ctx)
	if err != nil {
		return err //nolint:wrapcheck // Verify says of what
	}
	c.index.mu.Lock()
	c.marks = slices.Clone(c.index.marks)
	c.index.mu.Unlock()
	have := positionOf(c.marks)
	if c.index.looking && !head.Covers(have) {
		return domain.Errorf(domain.Unavailable, "it remembers more than the log holds; the next start makes it anew")
	}
	// Most of it in many states of the index: one that is held for long keeps pages of its file.
	for n := 0; n == 0 || n < mostPasses && c.left(have) > checkAtOnce; n++ {
		if err := c.log(ctx, have); err != nil {
			return err
		}
		have, _ = c.index.position()
	}
	return c.view(func(tx *kv.Tx) error { // the rest, and the index, in one
		c.view = func(fn func(*kv.Tx) error) error { return fn(tx) }
		c.proof.Position = positionOf(marksIn(tx, c.partitions))
		if err := c.log(ctx, c.proof.Position); err != nil {
			return err
		}
		claims := make([]claim, 0, len(c.differing))
		for _, differs := range c.differing {
			claims = append(claims, differs)
		}
		if _, err := c.hold(ctx, claims); err != nil {
			return err
		}
		return c.entries(ctx, tx)
	})
}

// log compares what the log gives up to upTo, after what was read before.
func (c *check) log(ctx context.Context, upTo domain.Position) error {
	c.total += c.left(upTo)
	for p := range c.partitions {
		last := upTo.At(p)
		batch := make([]domain.Recorded, 0, checkAtOnce)
		err := c.index.deps.Log.Scan(ctx, p, c.read.At(p), last, func(r *domain.Recorded) error {
			if batch = append(batch, *r); len(batch) < checkAtOnce && r.Sequence < last {
				return nil
			}
			err := c.batch(ctx, batch)
			batch = batch[:0]
			return err
		})
		if err != nil {
			return err //nolint:wrapcheck // names the place
		}
		if last > 0 {
			c.read = c.read.With(p, last)
		}
	}
	return nil
}

// left is how many events up to upTo were not read.
func (c *check) left(upTo domain.Position) (n uint64) {
	for p := range c.partitions {
		n += upTo.At(p) - c.read.At(p)
	}
	return n
}

// batch compares what events give.
func (c *check) batch(ctx context.Context, events []domain.Recorded) error {
	made, err := c.index.open(ctx, events, func(*domain.Event, error) {}) // Run has told
	if err != nil {
		return err
	}
	var missing []claim
	err = c.view(func(tx *kv.Tx) error {
		b := tx.Bucket(entriesBucket)
		for i := range events {
			c.remembered(&events[i])
			for _, e := range made[i] {
				if c.isMissing(b, &events[i], &e) {
					missing = append(missing, c.claim(Missing, &events[i], "the customer index lacks an entry of this order"))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, err := c.hold(ctx, missing); err != nil {
		return err
	}
	c.events += uint64(len(events))
	c.progress(c.events, c.total)
	return nil
}

// remembered holds r to what the index remembers of its place.
func (c *check) remembered(r *domain.Recorded) {
	if m := c.marks[r.Partition]; m.sequence == r.Sequence && m.hash != r.Hash {
		c.report(Problem{
			Rule: Differs, Partition: r.Partition, Sequence: r.Sequence, OrderID: r.Event.OrderID,
			Detail: "the customer index remembers another event here",
		})
	}
}

// isMissing notes that r gives e, and reports whether that is new and e is not there.
func (c *check) isMissing(b *kv.Bucket, r *domain.Recorded, e *entry) bool {
	d := c.digest(e.key)
	_, known := c.derived[d]
	c.derived[d] = struct{}{}
	have := b.Get(e.key)
	switch {
	case have == nil:
		return !known
	case string(have) == string(e.value):
		delete(c.differing, d)
	default:
		c.differing[d] = c.claim(Differs, r, "an entry of this order in the customer index names another data key")
	}
	if !known {
		c.proof.Entries++
	}
	return false
}

func (c *check) claim(rule Rule, r *domain.Recorded, detail string) claim {
	return claim{Problem{Rule: rule, Partition: r.Partition, Sequence: r.Sequence, OrderID: r.Event.OrderID, Detail: detail}, r.Event.KeyID}
}

// hold reports those of claims whose data key is still there, and counts the others: a key
// may be destroyed while this process remembers it.
func (c *check) hold(ctx context.Context, claims []claim) (others uint64, err error) {
	for some := range slices.Chunk(claims, checkAtOnce) {
		ids := make([]string, 0, len(some))
		for i := range some {
			if some[i].key != "" {
				ids = append(ids, some[i].key)
			}
		}
		slices.Sort(ids)
		ids = slices.Compact(ids)
		var held map[string]bool
		err := c.index.persist(ctx, func() (err error) {
			held, err = c.index.deps.Vault.Held(ctx, ids)
			return err //nolint:wrapcheck // names the key
		})
		if err != nil {
			return 0, err
		}
		for i := range some {
			if some[i].key == "" || held[some[i].key] {
				c.report(some[i].Problem)
			} else {
				others++
			}
		}
	}
	return others, nil
}

func (c *check) digest(key []byte) (d digest) {
	for i, seed := range c.seeds {
		binary.BigEndian.PutUint64(d[8*i:], maphash.Bytes(seed, key))
	}
	return d
}
