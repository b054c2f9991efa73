package intake

import (
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// Receipt says what became of an accepted message: recorded, quarantined or
// relayed.
type Receipt struct {
	// Outcomes has one entry for each recorded fact, in the message's order. A
	// quarantined message has those of the facts before the one that could not be recorded.
	Outcomes []domain.Outcome

	// QuarantineID is "" unless the message is in quarantine, and then Reason,
	// Detail and Fields say why. They name fields and rules, never values.
	QuarantineID string
	Reason       provider.ErrorReason
	Detail       string
	Fields       map[string][]string

	// Relayed says that the message belongs to no order and was passed on.
	Relayed bool
}

// The words of an answer that are no verdict.
const (
	wordQuarantined = "quarantined"
	wordRelayed     = "relayed"
)

// Position is the position at which all outcomes can be read; zero when there are none.
func (r *Receipt) Position() domain.Position {
	var p domain.Position
	for i := range r.Outcomes {
		if i == 0 {
			p = r.Outcomes[i].Position
			continue
		}
		p = p.Merge(r.Outcomes[i].Position)
	}
	return p
}

// Quarantined reports whether the message is in quarantine.
func (r *Receipt) Quarantined() bool { return r.QuarantineID != "" }

// Duplicate reports whether every fact of the message was recorded before.
func (r *Receipt) Duplicate() bool {
	return len(r.Outcomes) > 0 && !r.Quarantined() &&
		!slices.ContainsFunc(r.Outcomes, func(o domain.Outcome) bool { return o.Verdict != domain.VerdictDuplicate })
}

// Word is the outcome in one word: the last fact's verdict, "quarantined" or "relayed".
func (r *Receipt) Word() string {
	switch {
	case r.Quarantined():
		return wordQuarantined
	case r.Relayed || len(r.Outcomes) == 0:
		return wordRelayed
	default:
		return r.Outcomes[len(r.Outcomes)-1].Verdict.String()
	}
}

// AppendJSON appends the answer of DESIGN section 7 as one JSON object: the
// members of the last fact's outcome, and results when there are several.
func (r *Receipt) AppendJSON(b []byte) []byte {
	b = append(b, '{')
	b = r.AppendMembers(b)
	return append(b, '}')
}

// AppendMembers is AppendJSON without the braces, for an object that says more.
func (r *Receipt) AppendMembers(b []byte) []byte {
	n := len(r.Outcomes)
	switch {
	case r.Quarantined():
		b = append(b, `"outcome":"quarantined","quarantine_id":`...)
		b = appendString(b, r.QuarantineID)
		b = append(b, `,"reason":`...)
		b = appendString(b, string(r.Reason))
		if r.Detail != "" {
			b = append(b, `,"detail":`...)
			b = appendString(b, r.Detail)
		}
		if len(r.Fields) > 0 {
			b = append(b, `,"errors":`...)
			b = AppendFields(b, r.Fields)
		}
		if n == 0 {
			return b
		}
	case n == 0:
		return append(b, `"outcome":"relayed"`...)
	default:
		b = appendOutcome(b, &r.Outcomes[n-1])
		if n == 1 {
			return b
		}
	}
	b = append(b, `,"results":[`...)
	for i := range r.Outcomes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = appendOutcome(b, &r.Outcomes[i])
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendOutcome(b []byte, o *domain.Outcome) []byte {
	b = append(b, `"outcome":"`...)
	b = append(b, o.Verdict.String()...)
	b = append(b, `","order_id":`...)
	b = appendString(b, string(o.OrderID))
	b = append(b, `,"status":"`...)
	b = append(b, o.Status.String()...)
	b = append(b, `","revision":`...)
	b = strconv.AppendUint(b, o.Revision, 10)
	b = append(b, `,"event_id":`...)
	b = appendString(b, string(o.EventID))
	b = append(b, `,"position":`...)
	b = appendString(b, o.Position.String())
	if o.IDReused {
		b = append(b, `,"id_reused":true`...)
	}
	return b
}

// AppendFields appends {field: [messages]} with its names in order.
func AppendFields(b []byte, fields map[string][]string) []byte {
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, name)
		b = append(b, ":["...)
		for j, message := range fields[name] {
			if j > 0 {
				b = append(b, ',')
			}
			b = appendString(b, message)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// appendString appends s as JSON; bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the error only reports those bytes
	return b
}
