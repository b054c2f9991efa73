package provider

import (
	"fmt"
	"slices"
	"strings"

	"comanda.internal/domain"
)

// Codec reads one platform's messages. It is pure: no clock, no I/O, no state,
// safe for concurrent use.
type Codec interface {
	// Decode reads the facts of m, in the order in which they are to be
	// appended; at least one. The error is an [*Error], and then there are no facts.
	Decode(m domain.Message) ([]domain.Fact, error)
}

// Relayer is a codec whose platform also sends events that belong to no order.
type Relayer interface {
	Codec
	// Relay reads m as such an event. false: m is about an order, so Decode it.
	Relay(m domain.Message) (RelayEvent, bool, error)
}

// RelayEvent is a catalogue or operational event that is passed on as it came.
type RelayEvent struct {
	Type string // product.changed, product.removed, stock.changed, category.changed, category.removed
	Key  string // idempotency key
	Body []byte
}

// ErrorReason says why a message could not become a fact; it is a token of the
// quarantine's subject and a metric's label, so the set is closed.
type ErrorReason string

// The reasons.
const (
	Malformed      ErrorReason = "malformed"       // not strict JSON
	InvalidFields  ErrorReason = "invalid_fields"  // a required or money field is missing or of the wrong type
	UnknownStatus  ErrorReason = "unknown_status"  // a status that the map does not have
	UnknownAction  ErrorReason = "unknown_action"  // a path's action that the platform does not have
	TooManyFacts   ErrorReason = "too_many_facts"  // the order has its 1,000 facts (the recorder says so)
	NotConfigured  ErrorReason = "not_configured"  // the source's settings do not say how to read it
	RefusedContent ErrorReason = "refused_content" // well formed, but not a fact by the domain's rules
)

// Error says why a message could not become a fact. Its text and fields name
// fields and rules, never values: values may be personal.
type Error struct {
	Reason ErrorReason
	// Fields are the bad fields and what is wrong with each; nil for Malformed.
	Fields map[string][]string
	// Detail is more for the operator, as "offset 12: duplicate name".
	Detail string
}

// Error is the reason, the detail and the fields in order.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Reason))
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	names := make([]string, 0, len(e.Fields))
	for name := range e.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "; %s: %s", name, strings.Join(e.Fields[name], ", "))
	}
	return b.String()
}
