package orders

import (
	"bytes"
	"slices"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Among are orders that something else has found, as those of one customer.
type Among struct {
	Orders []domain.OrderID // in any order; what the view does not hold is left out
	// Written tells one search from another: it binds page tokens.
	Written string
}

// page reads the matching orders on the way: of those that were found already, whose
// places are at, or of the ranges.
func (l *lister) page(at func(*comandav1.Order) place, on way, ranges func() spans) (last place, more bool, err error) {
	if l.filter.Among == nil {
		return l.list(ranges())
	}
	var places []place
	for _, id := range l.filter.Among.Orders {
		row, err := rowIn(l.rows, id)
		if err != nil {
			return last, false, err
		}
		if row == nil || !l.filter.ofTenant(row) {
			continue // the view has not read it yet, or never will: it is parked
		}
		if p := at(row); on.holds(&p) {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int {
		if on.up {
			return bytes.Compare(a[:], b[:])
		}
		return bytes.Compare(b[:], a[:])
	})
	for _, p := range places {
		if len(l.found) == l.size {
			return last, true, nil
		}
		last = p
		if err := l.look(p.orderID()); err != nil {
			return last, false, err
		}
	}
	return last, false, nil
}

// ofTenant decides what the ranges of tenants do.
func (f *Filter) ofTenant(row *comandav1.Order) bool {
	tenant := domain.TenantID(row.GetTenant())
	return (f.Tenant == "" || tenant == f.Tenant) && (f.Within == nil || slices.Contains(f.Within, tenant))
}

// placeOf is the place of an order in the index that f reads.
func (f *Filter) placeOf() func(*comandav1.Order) place {
	if f.Sort.By == SortFirst || f.best() == indexProviderOrderID {
		return firstPlaceOf
	}
	return placeOf
}
