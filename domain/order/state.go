package order

import (
	"time"

	"comanda.internal/domain"
)

// State is an order as its facts make it: status, facets, money, conflicts. It
// is a value for readers and is never changed; its slices, maps and pointers
// may be shared with the history.
type State struct {
	Status   domain.Status
	Revision uint64 // number of events

	Identity  domain.Identity
	Source    domain.SourceID // of the first event
	Reference string
	// FormerReferences are the others that facts gave, whatever became of those
	// facts; sorted.
	FormerReferences []string

	Currency        string
	Total           domain.Amount
	Paid            domain.Amount
	Refunded        domain.Amount
	Freight         domain.Amount
	Discount        domain.Amount
	FullyRefunded   bool     // the sums make a full refund, whatever the status
	PaymentIDs      []string // sorted
	Dispute         string   // "", DisputeOpen or DisputeWon
	RefundRequested bool     // ever

	Method       string
	Phase        string // of the pending payment, while pending
	Installments int32
	// Reason and Detail are those of the greatest refusal or cancellation that
	// gives either, also when the order has moved on.
	Reason domain.Reason
	Detail string

	StartedAt, AbandonedAt, ApprovedAt time.Time // minimum; zero: never
	UpdatedAt                          time.Time // effective time of the newest fact in sort order
	FirstRecordedAt                    time.Time // of the first event
	RecordedAt                         time.Time // of the newest event

	Items       []domain.Item
	UTM         domain.UTM
	Shipping    *domain.Shipping // nil: no news
	CustomEvent string
	Flags       []string // sorted: reason of flagged facts, or their detail where they give none

	Gap            bool             // some step's predecessor was never seen
	Conflicts      []domain.EventID // open, in sort order
	HeldBack       []domain.EventID // undated facts that may not move a paid order, in sort order
	Attention      []Attention      // in sort order of the causing events, then by kind
	Path           []domain.Step    // every edge of the fold
	MachineVersion uint32
}

// Attention is something an operator should see, with the event that caused it:
// another cause is another item. A `resolved` that accepts the event, or names
// the kind in its detail, takes it off the list.
type Attention struct {
	Kind  string // one of the Attention constants
	Event domain.EventID
}
