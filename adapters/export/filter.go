package export

import (
	"errors"
	"slices"
	"time"

	"comanda.internal/domain"
)

// Filter says which rows are written. What is empty asks nothing; of several
// values one must hold. The zero value is every row.
type Filter struct {
	Tenants []string `json:"tenants,omitempty"`
	Sources []string `json:"sources,omitempty"`
	// Statuses are an event's after it, an interval's own, and of an order and a
	// movement the order's now.
	Statuses []string `json:"statuses,omitempty"`
	// Verdicts are an event's own. An order, and what is folded from it, has those of
	// all its events up to the export's end, whatever the other filters leave of them.
	Verdicts []string `json:"verdicts,omitempty"`
	// From and To bound the recorded time, of an order that of its first event; To
	// is not in it.
	From time.Time `json:"from,omitzero"`
	To   time.Time `json:"to,omitzero"`
}

// Validate joins all mistakes.
func (f *Filter) Validate() error {
	var errs []error
	for _, s := range f.Statuses {
		if _, ok := domain.ParseStatus(s); !ok {
			errs = append(errs, domain.Errorf(domain.Invalid, "%q is not a status", s))
		}
	}
	for _, v := range f.Verdicts {
		if parsed, ok := domain.ParseVerdict(v); !ok || parsed == domain.VerdictUnknown || parsed == domain.VerdictDuplicate {
			errs = append(errs, domain.Errorf(domain.Invalid, "%q is not a verdict of a stored event", v))
		}
	}
	if !f.To.IsZero() && !f.To.After(f.From) {
		errs = append(errs, domain.Errorf(domain.Invalid, "the end of the recorded time is not after its beginning"))
	}
	if err := errors.Join(errs...); err != nil {
		return domain.Errorf(domain.Invalid, "%w", err)
	}
	return nil
}

func (f *Filter) isZero() bool {
	return len(f.Tenants) == 0 && len(f.Sources) == 0 && len(f.Statuses) == 0 && len(f.Verdicts) == 0 && f.From.IsZero() && f.To.IsZero()
}

// takes reports whether a row that says so is written, as far as verdicts do not matter.
func (f *Filter) takes(tenant, source, status string, recorded time.Time) bool {
	return f.owns(tenant, source) && among(f.Statuses, status) &&
		!recorded.Before(f.From) && (f.To.IsZero() || recorded.Before(f.To))
}

// owns reports whether rows of this tenant and source may be wanted.
func (f *Filter) owns(tenant, source string) bool {
	return among(f.Tenants, tenant) && among(f.Sources, source)
}

// judged reports whether an event with this verdict is wanted.
func (f *Filter) judged(v domain.Verdict) bool { return among(f.Verdicts, v.String()) }

// judgedAny reports whether one of an order's events is.
func (f *Filter) judgedAny(events []domain.Recorded) bool {
	for i := range events {
		if f.judged(events[i].Event.Verdict) {
			return true
		}
	}
	return false
}

func among(wanted []string, have string) bool {
	return len(wanted) == 0 || slices.Contains(wanted, have)
}
