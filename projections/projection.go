package projections

import (
	"context"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
)

// Log is what the runner reads.
type Log interface {
	// Identity names the log; a recreated one has another.
	Identity() string
	// Epoch counts how often it was restored from a backup.
	Epoch() uint64
	// Partitions is how many there are; it never changes.
	Partitions() int
	// Head is the position of the newest event.
	Head(ctx context.Context) (domain.Position, error)
	// Follow hands every event of partition with a sequence above after to
	// handle, in order, and goes on with new ones until ctx ends. The runner
	// follows again after an error of kind Unavailable; any other ends it.
	Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error
	// Scan hands every event of partition above after and up to upTo to handle,
	// in order, and returns; one that is missing is an error. The event is valid until
	// handle returns, what it points to stays.
	Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error
	// Stored is Scan without decoding, many events at a time, which are handle's own.
	Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error
}

// Projection keeps one view in a bucket of its own. It is called from one
// goroutine, within the transaction that also stores the checkpoint.
type Projection interface {
	// Name is the view's bucket, as "orders". It never changes.
	Name() string
	// Version is raised whenever the same events would give other bytes; it
	// makes the file be rebuilt.
	Version() uint32
	// Apply writes what the changes do. There is one change an order, in
	// ascending order of order id.
	Apply(b *kv.Bucket, changes []Change) error
}

// Facts is the projection that gives an order's events back, so that a fold
// needs no read of the log.
type Facts interface {
	Projection
	// Events are the order's events by revision, as far as tx holds them; none
	// for an order that is not known.
	Events(tx *kv.Tx, id domain.OrderID) ([]domain.Event, error)
}

// Bulk is a projection that can be built from nothing in the order of its keys,
// which is several times faster than by Apply. Its bucket is empty then, what is put
// cannot be read, and the result is what Apply gives. Each bucket is written by one of the ways
// below, in ascending order of its keys: one that comes too late ends the build. A build hands
// any other projection to Apply, with all events of an order in one change.
type Bulk interface {
	Projection
	// BuildEvents writes what each event makes by itself, as far as that is known of it
	// before it is decoded. Every event comes once, in the order of the log: by partition
	// and then by sequence. Encoded is as of [domain.Recorded], or the build begins again;
	// Hash may be none.
	BuildEvents(b *kv.Bucket, events []domain.Stored) error
	// BuildOrders writes the rest. Every order comes once, after all events, in
	// ascending order of order id, and without Before. What has other keys is given
	// to put, which writes it into the named bucket in b at the end, or into b
	// itself for "".
	BuildOrders(b *kv.Bucket, changes []Change, put Put) error
}

// Put keeps a key and its value for later. They are copied; no key may come twice.
type Put func(bucket string, key, value []byte) error

// Change is what one batch does to one order. Sealed parts, the key's id, the event's hash
// and the previous one's are no view's concern: a build leaves them out of Events.
// Nothing of Events is to be kept.
type Change struct {
	Order domain.OrderID
	// Events are the batch's events of the order, by revision; at least one.
	Events []domain.Recorded
	// History holds every event up to the last of Events; State is its fold.
	History *order.History
	State   *order.State
	// Before is the fold of every event before the first of Events, which is what
	// the view holds; nil when it knows no such order.
	Before *order.State
}

// Reader gives read transactions: a [File] gives the newest state, a
// [Snapshot] always the same one.
type Reader interface {
	View(fn func(tx *kv.Tx) error) error
}
