package delivery

import "comanda.internal/domain"

// Rules say which events of an order an endpoint is told.
type Rules struct {
	Tenant domain.TenantID
	Filter Filter
}

// Chain is what an endpoint was told of one order, as far as the order was
// read. The zero value is an order of which nothing was read.
type Chain struct {
	// Revision is of the last event that was considered, told or not.
	Revision uint64
	// Told is the revision of the last event that the endpoint was told; 0: none.
	Told uint64
	// ToldAt is that event's sequence in its partition; 0: none.
	ToldAt uint64
	// Status is the one that the endpoint was told last. It means nothing while
	// Told is 0.
	Status domain.Status
}

// Notification is one event for one endpoint. Its pointer shares the event,
// which nobody changes.
type Notification struct {
	Endpoint string
	Event    *domain.Event
	Position domain.Position
	// Type is the one that the endpoint asked for, or the event's own for a
	// correction that the endpoint is told whatever its filter.
	Type string
	// PreviousRevision is of the order's event that the endpoint was told before
	// this one; 0: this is its first of the order.
	PreviousRevision uint64
	// Attempt counts from 1.
	Attempt int
}

// Next considers the order's next event. It answers the chain after it, and the
// type under which the endpoint is told of it: "" when it is not.
//
// An endpoint that was told a status is also told when a correction leaves
// that status, whatever its filter: it would believe it for ever.
func (r Rules) Next(c Chain, rec *domain.Recorded) (Chain, string) {
	e := &rec.Event
	c.Revision = e.Revision
	told := r.typeFor(c, e)
	if told == "" {
		return c, ""
	}
	c.Told, c.ToldAt, c.Status = e.Revision, rec.Sequence, e.To
	return c, told
}

func (r Rules) typeFor(c Chain, e *domain.Event) string {
	if e.Tenant != r.Tenant {
		return ""
	}
	if t := r.Filter.typeFor(e); t != "" {
		return t
	}
	leaves := e.Verdict == domain.VerdictApplied && e.Correction && c.Told > 0 && c.Status == e.From
	if leaves {
		return e.Type()
	}
	return ""
}

// ChainBefore folds the chain of the order whose events are history (by
// revision, from 1) up to but not including revision, for an endpoint that began
// at sequence since in the order's partition: what lies before it was never told.
func (r Rules) ChainBefore(history []domain.Recorded, revision, since uint64) Chain {
	var c Chain
	for i := range history {
		rec := &history[i]
		if rec.Event.Revision >= revision {
			break
		}
		if rec.Sequence < since {
			c.Revision = rec.Event.Revision
			continue
		}
		c, _ = r.Next(c, rec)
	}
	return c
}
