package order

import (
	"time"

	"comanda.internal/domain"
)

// History is an order's stored facts, compactly: what the fold needs and no
// more. It is immutable: With makes another. The nil *History is a new order.
type History struct {
}

// With is h after e was stored. e must be the order's next revision.
func (h *History) With(e *domain.Event) (*History, error) { panic("seam") }

// Revision is the number of events in h; 0 for nil.
func (h *History) Revision() uint64 { panic("seam") }

// Event returns the revision and verdict of the stored event with this id.
func (h *History) Event(id domain.EventID) (revision uint64, ok bool) { panic("seam") }

// Meta is what Decide needs beside the fact.
type Meta struct {
	Tenant     domain.TenantID
	Source     domain.SourceID
	ReceivedAt time.Time
	Now        time.Time // the recorder's clock; RecordedAt is never before the order's last one
	Cause      domain.Cause
}

// Machine folds and decides by one transition table. It is immutable and safe
// for concurrent use.
type Machine struct{}

// Default is the machine of the committed table, [Version].
func Default() *Machine { panic("seam") }

// Decision is what Decide answers.
type Decision struct {
	// Event is the event to store. When Verdict is VerdictDuplicate nothing is to be
	// stored: only ID, OrderID and Fact are set, and Original is the id of the stored event.
	Event    domain.Event
	Original domain.EventID
	IDReused bool
	// Before and After are the order's states without and with the fact; for a duplicate they are the same.
	Before, After *State
	History       *History // after; the same as before for a duplicate
}

// Decide says what fact does to the order whose history is h, without I/O or
// clock. The error's kind is Invalid (a fact that breaks the domain's rules), Refused
// (a resolution that is not legal) or Exhausted (an order has at most MaxFacts).
func (m *Machine) Decide(h *History, fact domain.Fact, meta Meta) (Decision, error) { panic("seam") }

// Fold is the order's state; deterministic, whatever the order of delivery was.
func (m *Machine) Fold(h *History) *State { panic("seam") }

// MaxFacts is how many facts an order may have; more go to quarantine.
const MaxFacts = 1000

// State is an order as its facts make it: status, facets, money, conflicts. It
// is a value for readers and is never changed.
type State struct {
	Status   domain.Status
	Revision uint64 // number of events

	Identity  domain.Identity
	Reference string

	Currency        string
	Total           domain.Amount
	Paid            domain.Amount
	Refunded        domain.Amount
	Freight         domain.Amount
	Discount        domain.Amount
	FullyRefunded   bool
	PaymentIDs      []string // sorted
	Dispute         string   // "", "open", "won", "lost"… as the machine defines
	RefundRequested bool

	Method       string
	Phase        string // of the pending payment, while pending
	Installments int32
	Reason       domain.Reason // of a refusal or cancellation
	Detail       string

	StartedAt, AbandonedAt, ApprovedAt time.Time // minimum; zero: never
	UpdatedAt                          time.Time // effective time of the newest fact in sort order
	RecordedAt                         time.Time // of the newest event

	Items       []domain.Item
	UTM         map[string]string
	Shipping    *domain.Shipping
	CustomEvent string
	Flags       []string // sorted, of flagged facts

	Gap            bool
	Conflicts      []domain.EventID // open, in sort order
	HeldBack       []domain.EventID // undated facts that may not move a paid order
	Attention      []Attention
	Path           []domain.Step // every edge of the fold
	MachineVersion uint32
}

// Attention is something an operator should see, with the event that caused it.
type Attention struct {
	Kind  string // underpaid, overpaid, amount_changed, currency_mismatch, duplicate_payment, paid_after_cancel, …
	Event domain.EventID
}
