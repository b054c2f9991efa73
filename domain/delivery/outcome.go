package delivery

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// OutcomeKind is what one attempt came to.
type OutcomeKind uint8

// The kinds. The zero value is Retry, so that an outcome nobody set is never a
// success.
const (
	// Retry: it did not work, and may work later.
	Retry OutcomeKind = iota
	// OK: the endpoint has it.
	OK
	// Skipped: there is nothing to tell; as good as OK.
	Skipped
	// Final: it will never work for this event. The order goes on without it.
	Final
	// Disable: the endpoint wants no more, or lets us in no more. The event stays
	// undelivered and the endpoint stops.
	Disable

	// OutcomeKindCount is one more than the greatest kind.
	OutcomeKindCount
)

var outcomeKindNames = [OutcomeKindCount]string{"retry", "ok", "skipped", "final", "disable"}

// String is the kind's plain word, as "ok".
func (k OutcomeKind) String() string {
	if k >= OutcomeKindCount {
		return "invalid"
	}
	return outcomeKindNames[k]
}

// Done reports whether the order may go on to its next event.
func (k OutcomeKind) Done() bool { return k == OK || k == Skipped || k == Final }

// Outcome is what one attempt came to, and why.
type Outcome struct {
	Kind OutcomeKind
	// After is what the endpoint asked to wait (Retry-After); 0: nothing. Only for Retry.
	After time.Duration
	// Reason is a word of the sink's closed set, as "status" or "timeout"; "" when OK.
	Reason string
	// Detail is for the operator, as "302" or a provider's trace id. Never
	// personal data, and never any part of a URL.
	Detail string
}

// Err is o as an error that [OutcomeOf] turns back; nil when o is OK. A sink
// returns it from Publish, which has no other way to say more than failed.
func (o Outcome) Err() error {
	if o.Kind == OK {
		return nil
	}
	return &OutcomeError{Outcome: o}
}

// OutcomeError carries an outcome other than OK, Skipped included.
type OutcomeError struct{ Outcome Outcome }

// Error is the kind, the reason and the detail.
func (e *OutcomeError) Error() string {
	parts := []string{e.Outcome.Kind.String(), e.Outcome.Reason, e.Outcome.Detail}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// OutcomeOf is the outcome that err carries: OK for nil, and Retry for reason
// "internal" for an error that carries none. Such an error's text is not kept,
// because nobody vouches that it holds no personal data.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return Outcome{Kind: OK}
	}
	if e, ok := errors.AsType[*OutcomeError](err); ok {
		return e.Outcome
	}
	return Outcome{Kind: Retry, Reason: "internal"}
}
