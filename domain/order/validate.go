package order

import (
	"slices"

	"comanda.internal/domain"
)

// validate reports, as an error of kind Invalid with fields, what makes f no
// fact by the domain's rules. Messages name rules, never values.
func validate(f *domain.Fact, meta *Meta) error {
	var fields map[string][]string
	need := func(ok bool, field, rule string) {
		if !ok {
			if fields == nil {
				fields = map[string][]string{}
			}
			fields[field] = append(fields[field], rule)
		}
	}
	need(f.Kind > domain.KindUnknown && f.Kind < domain.KindCount, "kind", "is not one of the fact kinds")
	need(f.Provider != "", "provider", "is required")
	need(f.ProviderOrderID != "", "provider_order_id", "is required")
	need(f.Key != "", "key", "is required: two deliveries of one fact have one key")
	need(meta.Tenant != "", "tenant", "is required")
	need(meta.Source != "", "source", "is required")
	need(!meta.ReceivedAt.IsZero(), "received_at", "is required")
	a := &f.Amounts
	for _, amount := range []struct {
		field string
		domain.Amount
	}{
		{"total", a.Total},
		{"paid", a.Paid},
		{"refunded", a.Refunded},
		{"refund_amount", a.Refund},
		{"freight", a.Freight},
		{"discount", a.Discount},
	} {
		need(amount.Minor >= 0, amount.field, "must not be negative")
		need(amount.Known || amount.Minor == 0, amount.field, "has a value and is unknown")
	}
	resolved := f.Kind == domain.KindResolved
	need(resolved == (f.Resolution != nil), "resolution", "stands in facts of kind resolved, and in no other")
	if resolved && f.Resolution != nil {
		validateResolution(f, need)
	}
	if len(fields) == 0 {
		return nil
	}
	err := domain.Errorf(domain.Invalid, "not a fact: %s", firstField(fields))
	err.Fields = fields
	return err
}

func validateResolution(f *domain.Fact, need func(ok bool, field, rule string)) {
	r := f.Resolution
	need(r.Event != "", "resolution.event", "is required")
	switch r.Action {
	case domain.ActionAccept, domain.ActionReopen:
	case domain.ActionReject:
		need(f.Detail == "", "detail", "an attention item is accepted or reopened; reject is of the whole event")
	default:
		need(false, "resolution.action", "is accept, reject or reopen")
	}
}

// firstField names the first bad field and its first rule, for the error's text.
func firstField(fields map[string][]string) string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names[0] + " " + fields[names[0]][0]
}
