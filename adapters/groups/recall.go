package groups

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// plea asks all processes to hold what they have of a partition up to a sequence.
type plea struct {
	through uint64
	at      time.Time
}

// recall finds out what of l is settled.
func (d *desk) recall(l *lane) {
	a := l.queue[0]
	d.work(l, func(ctx context.Context) func() {
		p, err := d.past(ctx, l.order, a)
		return func() {
			switch {
			case err != nil:
				d.unsure(l, err)
			case p.hold != nil:
				d.became(l, p.hold)
			case p.floor >= a.rec.Sequence: // by whoever had it before
				d.pass(l, a.rec.Event.Revision)
			case l.queue[0].rec.Event.Revision != a.rec.Event.Revision: // its predecessor came
			case p.floor >= p.before:
				l.known, l.doubted = true, false
			default:
				if l.doubted && d.credit() { // no longer an acknowledgement that is on its way
					d.plead(a.rec.Partition, p.before)
				}
				l.doubted = true
				d.unsure(l, nil)
			}
		}
	})
}

// past is what an event's order went through before.
type past struct {
	hold   *hold  // what it holds
	floor  uint64 // up to this sequence all is settled, or held
	before uint64 // an upper bound of the predecessor's sequence
}

func (d *desk) past(ctx context.Context, id domain.OrderID, a *arrival) (p past, err error) {
	// In this order: what is not settled is held before it is acknowledged.
	if p.floor, err = a.from.Floor(ctx); err != nil {
		return p, err //nolint:wrapcheck // the consumer names itself
	}
	p.floor = max(p.floor, a.from.Since-1)
	if p.hold, err = d.holds.get(ctx, id); err != nil || p.hold != nil {
		return p, err
	}
	if p.before = a.rec.Sequence - 1; p.floor >= p.before {
		return p, nil
	}
	history, err := d.history(ctx, id, a.rec.Event.Revision-1)
	if err != nil {
		return p, err
	}
	p.before = history[a.rec.Event.Revision-2].Sequence
	return p, nil
}

// plead asks for what keeps the floor of a partition below a sequence to be held, so
// that the floor tells what is settled. It is asked again when that was in vain.
func (d *desk) plead(partition int, through uint64) {
	last, now := d.pleas[partition], d.now()
	if through <= last.through && now.Sub(last.at) < 4*recheck {
		return
	}
	d.pleas[partition] = plea{through: max(through, last.through), at: now}
	key, value := d.record.pleas()+strconv.Itoa(partition), strconv.FormatUint(through, 10)
	d.jobs = append(d.jobs, func(ctx context.Context) func() {
		_, err := d.groups.kv.PutString(ctx, key, value)
		return func() {
			d.running--
			if err != nil {
				d.logger.WarnContext(ctx, "it is not asked yet for slow events to be held", slog.Any("error", err))
			}
		}
	})
}

// heed holds what members have of a partition up to a sequence, and what none of them
// may have, so that its acknowledgement lets the floor rise: somebody waits for an
// event that was settled above it. What waits for credit goes to whoever has some.
func (d *desk) heed(entry jetstream.KeyValueEntry) error {
	partition, err := strconv.Atoi(entry.Key()[len(d.record.pleas()):])
	if err != nil {
		return fmt.Errorf("read the partition of %s: %w", entry.Key(), err)
	}
	through, err := strconv.ParseUint(string(entry.Value()), 10, 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", entry.Key(), err)
	}
	credit := d.credit()
	for _, l := range d.lanes {
		switch {
		case l.hold != nil || l.busy || len(l.queue) == 0:
		case l.first().Partition != partition || l.first().Sequence > through:
		case l.flight == nil && !credit:
			l.giveBack()
		case d.held < d.groups.cfg.MaxHeld && (l.flight != nil || d.step(l) == stepGive):
			d.shelve(l)
		}
	}
	return nil
}

// giveBack returns what waits in l, for whoever has the pin.
func (l *lane) giveBack() {
	for _, a := range l.queue {
		_ = a.msg.Nak() // otherwise it comes again later
	}
	l.queue, l.known = nil, false
}

// first is the event of l that is with a member, or the first that waits: one that was settled
// may have come again and wait before it.
func (l *lane) first() *domain.Recorded {
	if l.flight != nil {
		return l.flight.rec
	}
	return &l.queue[0].rec
}

// shelve has l hold its first event, which stays with the member that has it.
func (d *desk) shelve(l *lane) {
	f, head := l.flight, l.first()
	h := hold{Revision: head.Event.Revision, Seen: l.last(), NextAt: d.now().UTC()}
	h.of(head)
	if f != nil {
		h.Deliveries, h.NextAt = 1, f.deadline.UTC()
	}
	d.work(l, func(ctx context.Context) func() {
		now, err := d.insist(ctx, l.order, hold{}, func(hold) *hold {
			mine := h
			return &mine
		})
		return func() {
			if err != nil {
				return // the process ends
			}
			d.became(l, now)
			switch {
			case f == nil:
			case now == nil || !sameTurn(now, &h):
				d.lost(f)
			default:
				f.held = true
				if !f.deadline.Equal(h.NextAt) {
					d.renew(f) // it was extended meanwhile
				}
			}
		}
	})
}
