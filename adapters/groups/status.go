package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
)

// Status says how a group stands.
type Status struct {
	Group

	// Members, and InFlight, what they have and did not answer, are of this process.
	Members, InFlight int
	// Lag is how many events of the group's tenants are neither settled nor held.
	Lag uint64
	// Retrying and Parked are orders that hold an event.
	Retrying, Parked int
	// Oldest is when the oldest event was recorded that is neither settled nor parked;
	// zero: there is none.
	Oldest time.Time
}

// List is how the groups stand, by name; name: only that one, if there is one.
func (g *Groups) List(ctx context.Context, name string) ([]Status, error) {
	var out []Status
	err := g.each(ctx, groupPrefix, func(entry jetstream.KeyValueEntry) error {
		r := &record{stamp: entry.Revision()}
		if err := durable.Decode(entry, r); err != nil {
			return err //nolint:wrapcheck // names the key
		}
		if r.Deleting || name != "" && r.Name != name {
			return nil
		}
		s, err := g.status(ctx, r)
		out = append(out, s)
		return err
	})
	return out, err
}

func (g *Groups) status(ctx context.Context, r *record) (Status, error) {
	s := Status{Group: r.Group}
	g.mu.Lock()
	d := g.desks[r.Name]
	g.mu.Unlock()
	if d != nil {
		answer := make(chan struct{})
		if d.do(func() {
			defer close(answer)
			s.Members = len(d.members)
			for _, m := range d.members {
				s.InFlight += len(m.flights)
			}
		}) {
			<-answer
		}
	}
	if err := g.lag(ctx, r, &s); err != nil {
		return s, fmt.Errorf("count what group %s lags: %w", r.Name, err)
	}
	return s, g.each(ctx, r.holds(), func(entry jetstream.KeyValueEntry) error {
		h, err := readHold(entry)
		if err != nil || h == nil {
			return err
		}
		if h.Parked {
			s.Parked++
			return nil
		}
		s.Retrying++
		s.older(h.RecordedAt)
		return nil
	})
}

func (s *Status) older(t time.Time) {
	if s.Oldest.IsZero() || t.Before(s.Oldest) {
		s.Oldest = t
	}
}

// lag counts by what the server knows of the durables.
func (g *Groups) lag(ctx context.Context, r *record, s *Status) error {
	consumers, err := g.open(ctx, r)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		info, err := c.Info(ctx)
		if err != nil {
			return err //nolint:wrapcheck // the consumer names itself
		}
		lag := info.NumPending + uint64(info.NumAckPending) //nolint:gosec // not negative
		s.Lag += lag
		if lag == 0 {
			continue
		}
		oldest, err := g.oldest(ctx, c, r.Tenants, max(info.AckFloor.Stream+1, c.Since))
		if err != nil {
			return err
		}
		if !oldest.IsZero() {
			s.older(oldest)
		}
	}
	return nil
}

// oldest is when the first event of the tenants from a sequence on was stored.
func (g *Groups) oldest(ctx context.Context, c *durable.Consumer, tenants []domain.TenantID, from uint64) (oldest time.Time, err error) {
	stream, err := g.deps.JetStream.Stream(ctx, c.Stream)
	if err != nil {
		return oldest, fmt.Errorf("open %s: %w", c.Stream, err)
	}
	for _, subject := range durable.Subjects(tenants) {
		msg, err := stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return oldest, fmt.Errorf("read %s: %w", c.Stream, err)
		}
		if oldest.IsZero() || msg.Time.Before(oldest) {
			oldest = msg.Time
		}
	}
	return oldest, nil
}

// ParkedEvent is an event that nobody could settle.
type ParkedEvent struct {
	Order      domain.OrderID
	Event      domain.EventID
	Tenant     domain.TenantID
	Revision   uint64
	Position   domain.Position
	Deliveries int
	Reason     string
	ParkedAt   time.Time
	// Waiting is how many later events of the order wait behind it, wanted or not.
	Waiting uint64
}

// Parked are a group's parked events, by order. The error's kind is NotFound when there
// is no such group.
func (g *Groups) Parked(ctx context.Context, name string) ([]ParkedEvent, error) {
	r, err := g.read(ctx, name)
	if err != nil {
		return nil, err
	}
	var out []ParkedEvent
	book := holds{durable.Book{KV: g.kv, Prefix: r.holds()}}
	err = g.each(ctx, r.holds(), func(entry jetstream.KeyValueEntry) error {
		h, err := readHold(entry)
		if err != nil || h == nil || !h.Parked {
			return err
		}
		out = append(out, ParkedEvent{
			Order: domain.OrderID(book.ID(entry)), Event: h.EventID, Tenant: h.Tenant, Revision: h.Revision,
			Position:   domain.Position{}.With(h.Partition, h.Sequence),
			Deliveries: h.Deliveries, Reason: h.Reason, ParkedAt: h.ParkedAt, Waiting: h.Seen - h.Revision,
		})
		return nil
	})
	return out, err
}

// Replay gives parked events again, as if for the first time, of one order or, with "",
// of all; or passes them over. What waits behind them follows. It answers how many
// there were. The error's kind is NotFound when there is no such group, or the order has
// no parked event.
func (g *Groups) Replay(ctx context.Context, name string, order domain.OrderID, skip bool) (int, error) {
	r, err := g.read(ctx, name)
	if err != nil {
		return 0, err
	}
	book, n := holds{durable.Book{KV: g.kv, Prefix: r.holds()}}, 0
	err = g.each(ctx, r.holds(), func(entry jetstream.KeyValueEntry) error {
		h, err := readHold(entry)
		id := domain.OrderID(book.ID(entry))
		if err != nil || h == nil || !h.Parked || order != "" && id != order {
			return err
		}
		n++
		now := g.deps.Clock().UTC()
		_, err = book.change(ctx, id, *h, func(h hold) *hold {
			if skip {
				return h.past(now)
			}
			h.Parked, h.ParkedAt, h.Reason, h.Deliveries, h.NextAt = false, time.Time{}, "", 0, now
			return &h
		})
		return err
	})
	if err == nil && n == 0 && order != "" {
		err = domain.Errorf(domain.NotFound, "order %s: it has no parked event in group %s", order, name)
	}
	return n, err
}
