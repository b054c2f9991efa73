package groups_test

import (
	"fmt"
	"testing"
	"time"

	"comanda.internal/adapters/groups"
	"comanda.internal/domain"
)

// crash takes the server away from the process first, so that nothing it does from
// now on reaches the log: what a kill leaves behind.
func (o *office) crash(members ...*member) {
	o.conn.Close()
	for _, m := range members {
		m.leave(true)
	}
}

// TestAGroupSurvivesAKill kills a process that has an event with a member, one that is to be
// given again later, one that is parked, and some that wait.
func TestAGroupSurvivesAKill(t *testing.T) {
	for _, kill := range []bool{true, false} {
		t.Run(fmt.Sprint("kill ", kill), func(t *testing.T) {
			h := newHouse(t, 2)
			quick := func(c *groups.Config) { c.AckWait, c.Grace = 3*time.Second, 100*time.Millisecond }
			o := h.open(t, quick)
			o.create(t, "erp")
			m := o.join(t, "erp", 10)
			for _, id := range []string{"with", "later", "parked", "done"} {
				h.record(id, 1, 1)
				d := m.want(id, 1, 1)
				switch id {
				case "later":
					m.Retry(d.ID, time.Hour, "busy")
				case "parked":
					m.Park(d.ID, "bad")
				case "done":
					m.Ack(d.ID)
				}
			}
			o.parked(t, "erp", 1)
			eventually(t, func() string {
				if s := o.status(t, "erp"); s.Lag != 1 || s.Retrying != 1 {
					return fmt.Sprintf("status %+v", s)
				}
				return ""
			})
			if kill {
				o.crash(m)
			} else {
				m.leave(false)
			}
			for _, id := range []string{"with", "later", "parked", "done", "new"} {
				h.record(id, 2, 3)
			}

			o = h.open(t)
			m = o.join(t, "erp", 1)
			next := map[domain.OrderID]int{orderID("with"): 1, orderID("done"): 2, orderID("new"): 1}
			for range 3 + 2 + 2 {
				d := m.next()
				if rev := revision(t, d); rev != next[d.Entry.Order] || d.Attempt != 1 {
					t.Fatalf("given is %s, want %d", short(t, d), next[d.Entry.Order])
				}
				next[d.Entry.Order]++
				m.Ack(d.ID)
			}
			m.none()
			eventually(t, func() string {
				if p := o.parked(t, "erp", 1)[0]; p.Order != orderID("parked") || p.Waiting != 2 || p.Reason != "bad" {
					return fmt.Sprintf("parked is %+v", p)
				}
				return ""
			})
			h.forward(time.Hour)
			for rev, attempt := range []int{2, 1, 1} {
				m.Ack(m.want("later", rev+1, attempt).ID)
			}
			if n, err := o.Replay(t.Context(), "erp", "", false); n != 1 || err != nil {
				t.Errorf("replayed %d: %v", n, err)
			}
			for rev := range 3 {
				m.Ack(m.want("parked", rev+1, 1).ID)
			}
			o.settled(t, "erp")
		})
	}
}

// TestAClaimEndsWithItsTime kills a process that has given a held event: another gives it
// when the time for an answer is over, and the delivery counts.
func TestAClaimEndsWithItsTime(t *testing.T) {
	h := newHouse(t, 1)
	quick := func(c *groups.Config) { c.AckWait, c.Grace = 3*time.Second, 100*time.Millisecond }
	one, two := h.open(t, quick), h.open(t, quick)
	one.create(t, "erp", func(g *groups.Group) { g.MaxDeliveries = 2 })
	m := one.join(t, "erp", 1)
	h.record("A", 1, 2)
	d := m.want("A", 1, 1)
	m.Retry(d.ID, 0, "busy")
	m.want("A", 1, 2)
	n := two.join(t, "erp", 1)
	h.record("B", 1, 1) // is the first's, who has the pin and no credit
	n.none()
	one.crash(m)
	n.Ack(n.want("B", 1, 1).ID)
	n.none()
	h.forward(2 * time.Minute)
	if p := two.parked(t, "erp", 1)[0]; p.Reason != groups.ReasonMaxDeliveries || p.Deliveries != 2 || p.Revision != 1 {
		t.Errorf("parked is %+v", p)
	}
	if n, err := two.Replay(t.Context(), "erp", orderID("A"), false); n != 1 || err != nil {
		t.Errorf("replayed %d: %v", n, err)
	}
	n.Ack(n.want("A", 1, 1).ID)
	n.Ack(n.want("A", 2, 1).ID)
	two.settled(t, "erp")
}

// TestNoNewEventWhereTooManyAreHeld stops giving new events, and goes on when fewer are held.
func TestNoNewEventWhereTooManyAreHeld(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t, func(c *groups.Config) { c.MaxHeld = 2 })
	o.create(t, "erp")
	m := o.join(t, "erp", 1)
	for n := range 3 {
		h.record(fmt.Sprint(n), 1, 1)
	}
	m.Park(m.next().ID, "bad")
	d := m.next()
	m.Credits(0)
	m.Park(d.ID, "bad")
	parked := o.parked(t, "erp", 2)
	m.Credits(1)
	o.status(t, "erp") // the credit was seen
	m.none()
	_, err := o.Replay(t.Context(), "erp", parked[0].Order, true)
	must(t, err)
	m.Ack(m.want("2", 1, 1).ID)
	_, err = o.Replay(t.Context(), "erp", "", true)
	must(t, err)
	o.settled(t, "erp")
}

// TestAnOrderDoesNotWaitForAnother has a process take over a group in which one order's event
// was settled and an earlier one's was not: while that is with a member again, or nobody
// may have it, the first order goes on.
func TestAnOrderDoesNotWaitForAnother(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "erp", func(g *groups.Group) { g.AckWait = time.Hour })
	h.record("slow", 1, 1)
	h.recordAs("outra", "theirs", 1, 1)
	h.record("quick", 1, 1)
	join := func() *member {
		return o.joinAs(t, "erp", 10, func(tenant domain.TenantID) bool { return tenant == "loja" })
	}
	m := join()
	m.want("slow", 1, 1)
	m.Ack(m.want("quick", 1, 1).ID)
	m.leave(false)

	m = join()
	slow := m.want("slow", 1, 1)
	h.record("quick", 2, 2)
	m.Ack(m.want("quick", 2, 1).ID)
	h.record("slow", 2, 2)
	m.Extend(slow.ID)
	m.Ack(slow.ID)
	m.Ack(m.want("slow", 2, 1).ID)
	m.none()
	last := o.join(t, "erp", 10)
	if d := last.next(); d.Entry.Tenant != "outra" || d.Attempt != 1 {
		t.Errorf("given is %s, want theirs", short(t, d))
	} else {
		last.Ack(d.ID)
	}
	o.settled(t, "erp")
	m.leave(false)
	last.leave(false)
	must(t, o.Delete(t.Context(), "erp")) // what was asked of the members goes too
	o.wantEmpty(t)
}
