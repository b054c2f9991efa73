package order

import (
	"time"

	"comanda.internal/domain"
)

// MaxFacts is how many facts an order may have; more go to quarantine.
const MaxFacts = 1000

// MaxAhead is how far after its receipt a provider's date may lie. One further
// ahead is no date: the fact is placed at its receipt.
const MaxAhead = 5 * time.Minute

// Meta is what Decide needs beside the fact.
type Meta struct {
	Tenant     domain.TenantID
	Source     domain.SourceID
	ReceivedAt time.Time
	Now        time.Time // the recorder's clock; RecordedAt is never before the order's last one
	Cause      domain.Cause
}

// Decision is what Decide answers.
type Decision struct {
	// Event is the event to store, but for the key, the seals and the hash of
	// the one before it. When Verdict is VerdictDuplicate nothing is to be
	// stored: only ID, OrderID, Fact and Verdict are set, and Original is the id
	// of the stored event: its own, or that of the real fact that makes an
	// inferred one needless.
	Event    domain.Event
	Original domain.EventID
	// IDReused says that the duplicate's content differs from what is stored.
	IDReused bool
	// Before and After are the order's states without and with the fact; for a duplicate they are the same.
	Before, After *State
	History       *History // after; the same as before for a duplicate
}
