package delivery

import (
	"errors"
	"slices"
	"strings"

	"comanda.internal/domain"
)

// MoneyChanged is the type of an event that moved no status but changed what is
// paid, refunded or disputed.
const MoneyChanged = "order.money_changed"

const (
	orderPrefix = "order."
	factPrefix  = "fact."
	wildcard    = "*"
)

// Filter says which types of events an endpoint asked for. The zero value asks
// for none. It is immutable.
type Filter struct {
	types map[string]bool
	// anyOrder and anyFact stand for "order.*" and "fact.*".
	anyOrder, anyFact bool
}

// ParseFilter reads patterns: "order.*", "order." and a status, "order.money_changed",
// "fact.*", "fact." and a kind, or "*" for all of them. The error joins every
// pattern that names nothing.
func ParseFilter(patterns []string) (Filter, error) {
	f := Filter{types: make(map[string]bool, len(patterns))}
	var errs []error
	for _, p := range patterns {
		if err := f.add(p); err != nil {
			errs = append(errs, err)
		}
	}
	return f, errors.Join(errs...)
}

func (f *Filter) add(pattern string) error {
	switch pattern {
	case wildcard:
		f.anyOrder, f.anyFact = true, true
		return nil
	case orderPrefix + wildcard:
		f.anyOrder = true
		return nil
	case factPrefix + wildcard:
		f.anyFact = true
		return nil
	}
	if !knownType(pattern) {
		return domain.Errorf(domain.Invalid, "events: %q is no type of event; use order.*, order.<status>, %s, fact.* or fact.<kind>",
			pattern, MoneyChanged)
	}
	f.types[pattern] = true
	return nil
}

func knownType(name string) bool {
	if name == MoneyChanged {
		return true
	}
	if word, ok := strings.CutPrefix(name, orderPrefix); ok {
		// "none" too: an operator may reject the only fact of an order.
		_, known := domain.ParseStatus(word)
		return known
	}
	word, ok := strings.CutPrefix(name, factPrefix)
	if !ok {
		return false
	}
	kind, known := domain.ParseKind(word)
	return known && kind != domain.KindUnknown
}

// Match reports whether f asks for events of this type.
func (f Filter) Match(eventType string) bool {
	if f.types[eventType] {
		return true
	}
	return f.anyOrder && strings.HasPrefix(eventType, orderPrefix) ||
		f.anyFact && strings.HasPrefix(eventType, factPrefix)
}

// IsZero reports whether f asks for nothing.
func (f Filter) IsZero() bool { return len(f.types) == 0 && !f.anyOrder && !f.anyFact }

// Patterns are f's patterns, sorted.
func (f Filter) Patterns() []string {
	out := make([]string, 0, len(f.types)+2)
	for t := range f.types {
		out = append(out, t)
	}
	if f.anyOrder {
		out = append(out, orderPrefix+wildcard)
	}
	if f.anyFact {
		out = append(out, factPrefix+wildcard)
	}
	slices.Sort(out)
	return out
}

// TypesOf are the types under which e may be asked for, the first the more
// telling one. An applied event has one. Any other event is "fact.<kind>", and
// "order.money_changed" first when it changed money, whether it was noted, late
// or a conflict: in all three the sums are not what the endpoint was told.
func TypesOf(e *domain.Event) []string {
	if e.Verdict != domain.VerdictApplied && e.MoneyChanged {
		return []string{MoneyChanged, e.Type()}
	}
	return []string{e.Type()}
}

// typeFor is the first of e's types that f asks for; "" when it asks for none.
func (f Filter) typeFor(e *domain.Event) string {
	for _, t := range TypesOf(e) {
		if f.Match(t) {
			return t
		}
	}
	return ""
}
