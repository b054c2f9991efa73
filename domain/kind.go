package domain

// Kind is what a fact says happened. The order of the constants is their rank:
// facts of one moment fold in it (DESIGN section 5). Kinds from KindDetails on
// never move the status.
type Kind uint8

// The kinds, in rank order. The zero value is no kind.
const (
	KindUnknown Kind = iota
	KindStarted
	KindAbandoned
	KindPending
	KindRefused
	KindCancelled
	KindExpired
	KindApproved
	KindRefundRequested
	KindPartiallyRefunded
	KindRefunded
	KindChargeback
	KindChargebackReversed
	KindDetails
	KindShipping
	KindFlagged
	KindResolved

	// KindCount is one more than the greatest kind.
	KindCount
)

var kindNames = [KindCount]string{
	"unknown", "started", "abandoned", "pending", "refused", "cancelled", "expired", "approved", "refund_requested",
	"partially_refunded", "refunded", "chargeback", "chargeback_reversed", "details", "shipping", "flagged", "resolved",
}

// String is the kind's plain word, as "approved".
func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// ParseKind is the kind of a plain word; false when there is none.
func ParseKind(s string) (Kind, bool) {
	i, ok := parseName(kindNames[:], s)
	return Kind(i), ok //nolint:gosec // an index of kindNames
}

// Moves reports whether facts of this kind may move the status.
func (k Kind) Moves() bool { return k >= KindStarted && k <= KindChargebackReversed }

// Status is where an order is. The zero value is StatusNone: an order known
// only by facts that move nothing.
type Status uint8

// The statuses, in the order of the table's rows.
const (
	StatusNone Status = iota
	StatusStarted
	StatusPending
	StatusApproved
	StatusRefused
	StatusCancelled
	StatusRefunded
	StatusChargeback

	// StatusCount is one more than the greatest status.
	StatusCount
)

var statusNames = [StatusCount]string{
	"none", "started", "pending", "approved", "refused", "cancelled", "refunded", "chargeback",
}

// String is the status' plain word, as "approved".
func (s Status) String() string { return nameOf(statusNames[:], int(s)) }

// ParseStatus is the status of a plain word; false when there is none.
func ParseStatus(s string) (Status, bool) {
	i, ok := parseName(statusNames[:], s)
	return Status(i), ok //nolint:gosec // an index of statusNames
}

// Verdict is what a fact did when it was recorded. It is history: later facts
// never change it.
type Verdict uint8

// The verdicts. The zero value is no verdict.
const (
	VerdictUnknown Verdict = iota
	// VerdictApplied moved the status.
	VerdictApplied
	// VerdictNoted moved nothing.
	VerdictNoted
	// VerdictLate moved nothing, and a later-dated fact of a status kind was known.
	VerdictLate
	// VerdictConflict was refused by the fold at its place in time.
	VerdictConflict
	// VerdictDuplicate was already stored; the only verdict that stores nothing.
	VerdictDuplicate

	verdictCount
)

var verdictNames = [verdictCount]string{"unknown", "applied", "noted", "late", "conflict", "duplicate"}

// String is the verdict's plain word, as "applied".
func (v Verdict) String() string { return nameOf(verdictNames[:], int(v)) }

// ParseVerdict is the verdict of a plain word; false when there is none.
func ParseVerdict(s string) (Verdict, bool) {
	i, ok := parseName(verdictNames[:], s)
	return Verdict(i), ok //nolint:gosec // an index of verdictNames
}

func nameOf(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "invalid"
	}
	return names[i]
}

func parseName(names []string, s string) (int, bool) {
	for i, n := range names {
		if n == s {
			return i, true
		}
	}
	return 0, false
}
