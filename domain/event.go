package domain

import "time"

// Event is the immutable record of one fact: the fact, its verdict, and what it
// did to its order when it was recorded.
type Event struct {
	ID       EventID
	OrderID  OrderID
	Tenant   TenantID
	Source   SourceID
	Revision uint64 // of the order, from 1, without holes

	Fact Fact // without Personal, which is sealed

	Verdict  Verdict
	Why      string // closed set of the machine's reasons, as "later_fact_known"; "" when applied
	From, To Status // of the whole order, before and after this fact was known
	// Correction says that the fact's own cell (From, kind) does not give To: the
	// past changed, or a refund became complete. Path is then the re-folded way.
	Correction bool
	Path       []Step
	Gap        bool // a predecessor was never seen
	// MoneyChanged says that paid, refunded or the dispute are not as before.
	MoneyChanged bool
	// Opens and Closes are the conflicts that exist only after, and only
	// before, this event was known.
	Opens, Closes []EventID

	// EffectiveAt is the fact's place in time, in UTC; TimeInferred says that
	// it is the receipt's because the provider's date was absent or in the future.
	EffectiveAt  time.Time
	TimeInferred bool
	ReceivedAt   time.Time // when the stored delivery came in
	RecordedAt   time.Time // never before the order's previous one

	// Digest is SHA-256 over the fact's content: the same id with another
	// digest is a reused id.
	Digest         [32]byte
	MachineVersion uint32
	Cause          Cause

	// KeyID names the order's data key. SealedPersonal and SealedRaw are
	// nonce and ciphertext of the two sealed parts; empty: none.
	KeyID          string
	SealedPersonal []byte
	SealedRaw      []byte
	// PrevHash is SHA-256 of the stored bytes of the order's previous event;
	// zeros for the first.
	PrevHash [32]byte
}

// Step is one edge of a fold.
type Step struct {
	Event    EventID // the fact that made it
	From, To Status
	Forced   bool // an operator's accept, not an edge of the table
	Gap      bool
	// Why is "" for an edge of the fact's own cell, or "refund_complete".
	Why string
}

// Type is the event's type: "order.<status after>" when applied, "fact.<kind>"
// otherwise.
func (e *Event) Type() string {
	if e.Verdict == VerdictApplied {
		return "order." + e.To.String()
	}
	return "fact." + e.Fact.Kind.String()
}

// Recorded is an event with its place in the log.
type Recorded struct {
	Event     Event
	Partition int
	Sequence  uint64
	Hash      [32]byte // SHA-256 of the stored bytes
	// Encoded is Event without its sealed parts, as the wire contract's one form
	// of it; nil: to be encoded. Whoever changes Event sets it to nil.
	Encoded []byte
}

// Stored is an event in its place in the log that is not decoded.
type Stored struct {
	Order     OrderID // as the event has it, which is not checked
	Partition int
	Sequence  uint64
	Hash      [32]byte // as of Recorded
	// Encoded is the event without its sealed parts in the wire contract's form, as
	// the log holds it: not always the one form that Recorded.Encoded has. It may be no event.
	Encoded []byte
}

// Position is the place of r alone: one component.
func (r *Recorded) Position() Position { return Position{}.With(r.Partition, r.Sequence) }

// Outcome is what the recorder answers for one fact of a message, in the
// message's order.
type Outcome struct {
	Verdict  Verdict // VerdictDuplicate: EventID, Revision and Position are the first delivery's
	OrderID  OrderID
	Status   Status // of the order, now
	Revision uint64
	EventID  EventID
	Position Position
	// IDReused says that the duplicate's content differs from what is stored.
	IDReused bool
	// First is what a duplicate did when it was stored; VerdictUnknown for all else.
	First Verdict
}
