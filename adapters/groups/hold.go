package groups

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
)

// Why an event is held, beside the words of members.
const (
	ReasonMaxDeliveries = "max_deliveries"
	reasonAckWait       = "ack_wait"
	reasonMemberGone    = "member_gone"
)

// hold is what is kept of an order with an event that was not settled, in the bucket as JSON.
type hold struct {
	// Revision is the order's first one that is not settled.
	Revision uint64 `json:"revision"`
	// Seen is the last revision that was acknowledged because this record holds it.
	Seen uint64 `json:"seen"`
	// Deliveries is how often Revision was given.
	Deliveries int `json:"deliveries"`
	// NextAt is when it may be given again. While a member has it, that is its deadline.
	NextAt time.Time `json:"next_at"`
	// Parked says that an operator is waited for.
	Parked   bool      `json:"parked,omitempty"`
	ParkedAt time.Time `json:"parked_at,omitzero"`
	Reason   string    `json:"reason,omitempty"`

	// Of the event, as far as it was given.
	EventID    domain.EventID  `json:"event_id,omitempty"`
	Tenant     domain.TenantID `json:"tenant"`
	Partition  int             `json:"partition"`
	Sequence   uint64          `json:"sequence,omitempty"`
	RecordedAt time.Time       `json:"recorded_at"`

	// stamp is the record's revision in the bucket; 0: not stored.
	stamp uint64
}

// of sets what h says of the event.
func (h *hold) of(r *domain.Recorded) {
	e := &r.Event
	h.EventID, h.Tenant, h.Partition, h.Sequence, h.RecordedAt = e.ID, e.Tenant, r.Partition, r.Sequence, e.RecordedAt
}

// fail notes that the event was given in vain.
func (h *hold) fail(o outcome, now time.Time, most int) {
	h.NextAt, h.Reason = now.Add(o.after).UTC(), o.reason
	if o.kind == parked || h.Deliveries >= most {
		h.Parked, h.ParkedAt = true, now.UTC()
		if o.kind != parked {
			h.Reason = ReasonMaxDeliveries
		}
	}
}

// past is h after its event was settled; nil when nothing is left.
func (h hold) past(now time.Time) *hold {
	if h.Revision >= h.Seen {
		return nil
	}
	h.Revision++
	h.Deliveries, h.NextAt, h.Parked, h.ParkedAt, h.Reason, h.EventID, h.Sequence = 0, now.UTC(), false, time.Time{}, "", "", 0
	return &h
}

// sameTurn reports whether two records differ at most in what waits behind.
func sameTurn(a, b *hold) bool {
	return a.Revision == b.Revision && a.Deliveries == b.Deliveries && a.Parked == b.Parked && a.NextAt.Equal(b.NextAt)
}

// holds keeps what a generation of a group holds.
type holds struct{ durable.Book }

func (b holds) get(ctx context.Context, id domain.OrderID) (*hold, error) {
	h := new(hold)
	var err error
	if h.stamp, err = b.Get(ctx, string(id), h); err != nil || h.stamp == 0 {
		return nil, err //nolint:wrapcheck // the book names the order
	}
	return h, nil
}

// change makes the record what to says that it becomes, nil to remove it, and
// answers what it is then. When somebody else changed it, other than by letting more wait
// behind it, theirs is the answer.
func (b holds) change(ctx context.Context, id domain.OrderID, base hold, to func(hold) *hold) (*hold, error) {
	for {
		next := to(base)
		err := b.store(ctx, id, &base, next)
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, durable.ErrChanged) {
			return nil, err
		}
		now, err := b.get(ctx, id)
		if err != nil || now == nil || !sameTurn(now, &base) {
			return now, err
		}
		base = *now
	}
}

func (b holds) store(ctx context.Context, id domain.OrderID, base, next *hold) error {
	switch {
	case next != nil:
		stamp, err := b.Put(ctx, string(id), next, base.stamp)
		next.stamp = stamp
		return err //nolint:wrapcheck // the book names the order
	case base.stamp == 0:
		return nil
	default:
		return b.Remove(ctx, string(id), base.stamp) //nolint:wrapcheck // the book names the order
	}
}

// readHold is the record of an entry; nil when the entry marks its removal.
func readHold(entry jetstream.KeyValueEntry) (*hold, error) {
	if durable.Removed(entry) {
		return nil, nil //nolint:nilnil // absence is no error
	}
	h := &hold{stamp: entry.Revision()}
	return h, durable.Decode(entry, h) //nolint:wrapcheck // names the key
}

// claimed is h when the event rec of it is given until a deadline; or parked, when that
// was done often enough. Without an event, none up to the revision upTo is wanted: it is h
// with what follows, nil when nothing does.
func (h hold) claimed(rec *domain.Recorded, upTo uint64, deadline, now time.Time, most int) *hold {
	if rec == nil {
		h.Revision = upTo
		return h.past(now)
	}
	if rec.Event.Revision != h.Revision {
		h.Revision, h.Deliveries = rec.Event.Revision, 0
	}
	h.of(rec)
	if h.Deliveries >= most {
		h.Parked, h.ParkedAt, h.Reason = true, now.UTC(), ReasonMaxDeliveries
		return &h
	}
	h.Deliveries++
	h.NextAt = deadline.UTC()
	return &h
}
