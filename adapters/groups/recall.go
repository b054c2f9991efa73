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

// recall finds out whether the predecessor of l's head is settled.
func (d *desk) recall(l *lane) {
	a := l.queue[0]
	d.work(l, func(ctx context.Context) func() {
		before, h, err := d.predecessor(ctx, l.order, a)
		return func() {
			switch {
			case err != nil:
				d.unsure(l, err)
			case h != nil:
				d.became(l, h)
			case l.queue[0].rec.Event.Revision != a.rec.Event.Revision: // it came meanwhile
			case before == 0:
				l.known, l.doubted = true, false
			default:
				if l.doubted && d.credit() { // no longer an acknowledgement that is on its way
					d.plead(a.rec.Partition, before)
				}
				l.doubted = true
				d.unsure(l, nil)
			}
		}
	})
}

// predecessor is the sequence of the event before a of its order, 0 when that is settled,
// and what the order holds.
func (d *desk) predecessor(ctx context.Context, id domain.OrderID, a *arrival) (sequence uint64, h *hold, err error) {
	// In this order: what is not settled is held before it is acknowledged.
	floor, err := a.from.Floor(ctx)
	if err != nil {
		return 0, nil, err //nolint:wrapcheck // the consumer names itself
	}
	if h, err = d.holds.get(ctx, id); err != nil || h != nil {
		return 0, h, err
	}
	if floor = max(floor, a.from.Since-1); floor+1 >= a.rec.Sequence {
		return 0, nil, nil
	}
	history, err := d.history(ctx, id, a.rec.Event.Revision-1)
	if err != nil {
		return 0, nil, err
	}
	if sequence = history[a.rec.Event.Revision-2].Sequence; sequence <= floor {
		return 0, nil, nil
	}
	return sequence, nil, nil
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

// heed holds what this process has of a partition up to a sequence, with members or not, so that its
// acknowledgement lets the floor rise: somebody waits for an event that was
// settled above it.
func (d *desk) heed(entry jetstream.KeyValueEntry) error {
	partition, err := strconv.Atoi(entry.Key()[len(d.record.pleas()):])
	if err != nil {
		return fmt.Errorf("read the partition of %s: %w", entry.Key(), err)
	}
	through, err := strconv.ParseUint(string(entry.Value()), 10, 64)
	if err != nil {
		return fmt.Errorf("read %s: %w", entry.Key(), err)
	}
	for _, l := range d.lanes {
		if l.hold != nil || l.busy || len(l.queue) == 0 || d.held >= d.groups.cfg.MaxHeld {
			continue
		}
		head := &l.queue[0].rec
		if head.Partition == partition && head.Sequence <= through && (l.flight != nil || d.step(l) == stepGive) {
			d.shelve(l)
		}
	}
	return nil
}

// shelve has l hold its head, which stays with the member that has it.
func (d *desk) shelve(l *lane) {
	f, head := l.flight, &l.queue[0].rec
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
