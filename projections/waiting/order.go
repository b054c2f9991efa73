package waiting

import (
	"context"
	"errors"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Orders is the view that answers. [*orders.View] is one.
type Orders interface {
	Get(id domain.OrderID) (*comandav1.Order, bool, error)
	List(filter orders.Filter, page orders.Page) ([]*comandav1.Order, string, error)
}

var _ Orders = (*orders.View)(nil)

// Target says which order: the one with an id, or, without it, those of Tenant that
// have Reference. An id that a provider's order would have is
// [domain.Identity.OrderID], whether it exists or not.
type Target struct {
	Order     domain.OrderID
	Reference string
	// Tenant is whose order it must be: another's is as one that does not exist.
	// "" is anybody's, and only with an id.
	Tenant domain.TenantID
}

// Condition is what an order must be: all that is set. The zero value is met by
// any order that exists.
type Condition struct {
	Statuses []domain.Status // one of them; none: any
	Revision uint64          // this one or a later one
	Settled  bool            // see [Settled]
}

// Settled reports whether an order is no longer pending: it was approved or
// refused, or whatever came after.
func Settled(s domain.Status) bool {
	switch s {
	case domain.StatusNone, domain.StatusStarted, domain.StatusPending:
		return false
	default:
		return true
	}
}

// Met reports whether row is as c wants it.
func (c *Condition) Met(row *comandav1.Order) bool {
	status, ok := wire.FromStatus(row.GetStatus())
	return row.GetRevision() >= c.Revision &&
		(len(c.Statuses) == 0 || ok && slices.Contains(c.Statuses, status)) &&
		(!c.Settled || ok && Settled(status))
}

// Answer is how a wait for an order ended.
type Answer struct {
	// Order is the one that met the condition, or what it was at the deadline; nil: there is none. Of
	// several with one reference it is the one recorded last, of those that meet
	// the condition if any does.
	Order *comandav1.Order
	Met   bool
}

// pageSize bounds what is read at once of the orders with one reference, which is
// nearly always one or two.
const pageSize = 100

// Order waits until target's order meets the condition. A deadline of ctx that
// passes is an answer; the error is otherwise the context's, the view's, or of kind Unavailable
// when the room was closed.
func (r *Room) Order(ctx context.Context, target Target, condition Condition) (Answer, error) {
	var answer Answer
	look := func() (bool, error) {
		var err error
		answer, err = r.Look(target, condition)
		return answer.Met, err
	}
	key := ByOrder(target.Order)
	if target.Order == "" {
		key = ByReference(target.Tenant, target.Reference)
	}
	err := r.Until(ctx, key, look)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return answer, err
}

// Look is what Order would answer if its deadline had passed.
func (r *Room) Look(target Target, condition Condition) (Answer, error) {
	if target.Order == "" {
		return r.lookByReference(&target, &condition)
	}
	row, found, err := r.orders.Get(target.Order)
	if err != nil || !found || target.Tenant != "" && row.GetTenant() != string(target.Tenant) {
		return Answer{}, err
	}
	return Answer{Order: row, Met: condition.Met(row)}, nil
}

func (r *Room) lookByReference(target *Target, condition *Condition) (Answer, error) {
	var answer Answer
	for page := (orders.Page{Size: pageSize}); ; {
		rows, next, err := r.orders.List(orders.Filter{Tenant: target.Tenant, Reference: target.Reference}, page)
		if err != nil {
			return Answer{}, err
		}
		for _, row := range rows {
			if condition.Met(row) {
				return Answer{Order: row, Met: true}, nil
			}
			if answer.Order == nil {
				answer.Order = row
			}
		}
		if next == "" {
			return answer, nil
		}
		page.Token = next
	}
}
