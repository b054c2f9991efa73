package stats

import (
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// The tables, each a bucket below the view's own.
const (
	recorded byte = iota // verdicts and edges, by recorded hour
	began                // what orders reached, by the hour of their first step
	left                 // stays that ended, by the hour of their end
	standing             // money, by the hour of the last step
	tables
)

var buckets = [tables]string{recorded: "recorded", began: "began", left: "left", standing: "standing"}

// Slots of recorded: a verdict's number, and edges behind them.
const edges = 16

func edgeSlot(from, to domain.Status) uint64 {
	return edges + uint64(from)*uint64(domain.StatusCount) + uint64(to)
}

// Slots of began: orders, those that were charged, and behind them those that
// reached each status.
const (
	ordersSlot  = 0
	chargedSlot = 1
	reachedSlot = 2
)

// Slots of left, for each status: one for each bound, one for longer stays, and
// the sum of all in milliseconds.
const (
	staySlots = 16
	sumSlot   = staySlots - 1
)

// bounds are those of the histogram of stays: a stay counts at the first that it
// is shorter than.
var bounds = [...]time.Duration{
	10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 3 * 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour,
}

// Slots of standing, for each status.
const (
	standingOrders = iota
	standingTotal
	standingPaid
	standingRefunded
	standingSlots
)

// Event counts what an event did when it was recorded.
func (t *Tally) Event(e *domain.Event) {
	k := key{tenant: e.Tenant, hour: hourOf(e.RecordedAt), source: e.Source, method: e.Fact.Payment.Method}
	counted := [2]counter{{uint64(e.Verdict), 1}, {edgeSlot(e.From, e.To), 1}}
	if e.Verdict != domain.VerdictApplied {
		t.add(recorded, &k, counted[:1]...)
		return
	}
	t.add(recorded, &k, counted[:]...)
}

// Order counts an order as it is, times times: 1, or -1 to take it out again. s is a
// fold of h, or of an earlier revision of it.
func (t *Tally) Order(h *order.History, s *order.State, times int64) {
	if len(s.Path) == 0 {
		return
	}
	entered := h.Entered(s.Path)
	k := key{tenant: s.Identity.Tenant, source: s.Source, method: s.Method}
	t.reached(k, s, entered[0], times)
	for i, step := range s.Path[1:] {
		k.hour = hourOf(entered[i+1])
		stay := entered[i+1].Sub(entered[i])
		first := uint64(step.From) * staySlots
		t.add(left, &k, counter{first + bound(stay), times}, counter{first + sumSlot, times * stay.Milliseconds()})
	}
	t.money(k, s, entered[len(entered)-1], times)
}

// reached counts where an order has been. Charged is one that was asked for money,
// as far as is known: it was pending or in a status that only such an order reaches.
func (t *Tally) reached(k key, s *order.State, at time.Time, times int64) {
	k.hour = hourOf(at)
	var was [domain.StatusCount]bool
	for _, step := range s.Path {
		was[step.To] = true
	}
	counted := append(make([]counter, 0, 2+len(was)), counter{ordersSlot, times})
	if was[domain.StatusPending] || was[domain.StatusApproved] || was[domain.StatusRefused] || was[domain.StatusRefunded] || was[domain.StatusChargeback] {
		counted = append(counted, counter{chargedSlot, times})
	}
	for status, reached := range was {
		if reached {
			counted = append(counted, counter{reachedSlot + uint64(status), times})
		}
	}
	t.add(began, &k, counted...)
}

// money counts what an order comes to in the status where it is. An amount that is
// not known adds nothing.
func (t *Tally) money(k key, s *order.State, at time.Time, times int64) {
	k.hour, k.currency = hourOf(at), s.Currency
	first := uint64(s.Status) * standingSlots
	t.add(standing, &k,
		counter{first + standingOrders, times}, counter{first + standingTotal, times * s.Total.Minor},
		counter{first + standingPaid, times * s.Paid.Minor}, counter{first + standingRefunded, times * s.Refunded.Minor})
}

// bound is the slot of a stay.
func bound(stay time.Duration) uint64 {
	for i, b := range bounds {
		if stay < b {
			return uint64(i)
		}
	}
	return uint64(len(bounds))
}

// alike reports whether two states of one order count the same.
func alike(a, b *order.State) bool {
	return a.Method == b.Method && a.Currency == b.Currency && a.Total.Minor == b.Total.Minor && a.Paid.Minor == b.Paid.Minor &&
		a.Refunded.Minor == b.Refunded.Minor && a.Source == b.Source && a.Identity.Tenant == b.Identity.Tenant && slices.Equal(a.Path, b.Path)
}
