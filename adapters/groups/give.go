package groups

import (
	"slices"
	"strconv"
	"time"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

func (d *desk) join(m *Member) {
	d.members = append(d.members, m)
	d.groups.metrics.members.Inc()
}

// left gives what a member has to others. What was sent to one that failed counts as
// given in vain: it may be what the member failed of.
func (d *desk) left(m *Member, failed bool) {
	d.members = slices.DeleteFunc(d.members, func(other *Member) bool { return other == m })
	d.groups.metrics.members.Dec()
	for _, f := range m.flights {
		if f.given {
			d.takeBack(f, false, failed, reasonMemberGone)
		}
	}
}

// takeBack ends a flight that was not answered. It counts when the member was sent it.
func (d *desk) takeBack(f *flight, say, count bool, reason string) {
	o := outcome{kind: returned}
	if f.member.withdraw(f, say) && count {
		o = outcome{kind: retried, reason: reason}
	}
	d.answered(f, o)
}

// look is at what is over with time.
func (d *desk) look() {
	now := d.now()
	for _, m := range d.members {
		for _, f := range m.flights {
			if f.given && !f.deadline.After(now) {
				d.takeBack(f, true, true, reasonAckWait)
			}
		}
	}
	for _, l := range d.lanes {
		d.settle(l)
	}
}

// give gives what waits to members with credit.
func (d *desk) give() {
	var denied []*lane
	for len(d.waiting) > 0 && d.credit() {
		l := d.waiting[0]
		d.waiting[0] = nil
		d.waiting = d.waiting[1:]
		if d.step(l) != stepGive {
			l.listed = false
			d.settle(l)
			continue
		}
		m := d.memberFor(l)
		if m == nil {
			denied = append(denied, l)
			continue
		}
		l.listed = false
		d.giveTo(m, l)
	}
	d.waiting = append(d.waiting, denied...)
}

func (m *Member) free() bool { return len(m.flights) < m.credits }

// credit reports whether any member may have an event.
func (d *desk) credit() bool { return slices.ContainsFunc(d.members, (*Member).free) }

// memberFor is who gets what is next of l, in turn; nil: nobody may, or nothing new is given.
func (d *desk) memberFor(l *lane) *Member {
	var tenant domain.TenantID
	if l.hold != nil {
		tenant = l.hold.Tenant
	} else {
		if d.held >= d.groups.cfg.MaxHeld {
			return nil
		}
		tenant = l.queue[0].rec.Event.Tenant
	}
	for range d.members {
		d.turn = (d.turn + 1) % len(d.members)
		if m := d.members[d.turn]; m.free() && m.allows(tenant) {
			return m
		}
	}
	return nil
}

func (d *desk) giveTo(m *Member, l *lane) {
	d.serial++
	f := &flight{id: d.prefix + strconv.FormatUint(d.serial, 36), lane: l, member: m, held: l.hold != nil, attempt: 1}
	l.flight, m.flights[f.id] = f, f
	if f.held {
		d.claim(f)
		return
	}
	rec := &l.queue[0].rec
	entry, _ := ring.EntryOf(rec) // it could be made before
	d.send(f, rec, &entry, d.now().Add(d.record.AckWait))
}

func (d *desk) send(f *flight, rec *domain.Recorded, entry *ring.Entry, deadline time.Time) {
	f.rec, f.entry, f.deadline, f.given = rec, entry, deadline, true
	f.member.tell(func() { f.member.unsent = append(f.member.unsent, f) })
}

// cancelled ends a flight that nobody has.
func (d *desk) cancelled(f *flight) {
	f.lane.flight = nil
	delete(f.member.flights, f.id)
}

// answered ends a flight.
func (d *desk) answered(f *flight, o outcome) {
	l := f.lane
	delete(f.member.flights, f.id)
	if l.busy { // its claim is being renewed
		l.after = &o
		return
	}
	d.groups.metrics.deliveries.WithLabelValues(outcomeWords[o.kind]).Inc()
	l.flight = nil
	if f.held {
		d.answeredHeld(l, f, o)
		return
	}
	switch o.kind {
	case acked, skipped:
		d.pass(l, f.rec.Event.Revision)
	case retried, parked:
		h := hold{Revision: f.rec.Event.Revision, Seen: l.last(), Deliveries: 1}
		h.of(f.rec)
		h.fail(o, d.now(), d.record.MaxDeliveries)
		d.keep(l, hold{}, func(hold) *hold {
			mine := h
			return &mine
		})
	case returned:
	}
	d.settle(l)
}

func (d *desk) answeredHeld(l *lane, f *flight, o outcome) {
	now := d.now()
	switch o.kind {
	case acked, skipped:
		d.settled.put(l.order, f.rec.Event.Revision)
		d.keep(l, *l.hold, func(h hold) *hold { return h.past(now) })
	case returned:
		d.keep(l, *l.hold, func(h hold) *hold {
			h.Deliveries, h.NextAt = h.Deliveries-1, now.UTC()
			return &h
		})
	case retried, parked:
		d.keep(l, *l.hold, func(h hold) *hold {
			h.fail(o, now, d.record.MaxDeliveries)
			return &h
		})
	}
}

// extend gives a flight its whole time again.
func (d *desk) extend(f *flight) {
	if !f.given {
		return
	}
	f.deadline = d.now().Add(d.record.AckWait)
	if f.held && !f.lane.busy {
		d.renew(f)
	}
}
