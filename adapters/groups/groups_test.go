package groups_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/groups"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func short(t *testing.T, d *groups.Delivery) string {
	t.Helper()
	return fmt.Sprintf("%s/%d #%d", d.Entry.Order, revision(t, d), d.Attempt)
}

func revision(t *testing.T, d *groups.Delivery) int {
	t.Helper()
	var e comandav1.Event
	must(t, proto.Unmarshal(d.Entry.Event, &e))
	return int(e.GetRevision())
}

// TestAnswers has one member answer in each way, and looks at what comes next.
func TestAnswers(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "erp")
	m := o.join(t, "erp", 1)
	h.record("A", 1, 5)

	d := m.want("A", 1, 1)
	m.Ack(d.ID)
	m.Ack(d.ID, "nothing") // again is nothing
	d = m.want("A", 2, 1)
	m.Skip(d.ID)
	d = m.want("A", 3, 1)
	m.Retry(d.ID, 0, "busy")
	d = m.want("A", 3, 2)
	m.Retry(d.ID, time.Hour, "busy") // waits
	h.record("B", 1, 2)
	d = m.want("B", 1, 1)
	h.forward(time.Hour)
	m.Extend(d.ID)
	m.Ack(d.ID)
	a := m.next()
	var b *groups.Delivery
	if a.Entry.Order == orderID("A") {
		m.Retry(a.ID, 0, "busy")
		b = m.want("B", 2, 1)
	} else {
		b = a
		m.Ack(b.ID)
		a = m.want("A", 3, 3)
		m.Retry(a.ID, 0, "busy")
	}
	m.Ack(b.ID)
	parked := o.parked(t, "erp", 1)[0]
	if parked.Order != orderID("A") || parked.Revision != 3 || parked.Deliveries != 3 || parked.Reason != groups.ReasonMaxDeliveries || parked.Waiting != 2 || parked.Position.IsZero() {
		t.Errorf("parked is %+v", parked)
	}
	m.none()
	_, err := o.Replay(t.Context(), "erp", orderID("A"), false)
	must(t, err)
	d = m.want("A", 3, 1)
	m.Park(d.ID, "bad")
	if parked := o.parked(t, "erp", 1)[0]; parked.Reason != "bad" || parked.Deliveries != 1 {
		t.Errorf("parked is %+v", parked)
	}
	_, err = o.Replay(t.Context(), "erp", "", true)
	must(t, err)
	m.Ack(m.want("A", 4, 1).ID)
	m.Ack(m.want("A", 5, 1).ID)
	h.record("A", 6, 7)
	m.Ack(m.want("A", 6, 1).ID)
	m.Ack(m.want("A", 7, 1).ID)
	o.settled(t, "erp")
	if _, err := o.Replay(t.Context(), "erp", orderID("A"), false); domain.KindOf(err) != domain.NotFound {
		t.Errorf("replay of nothing: %v", err)
	}
}

// parked waits until so many orders are parked.
func (o *office) parked(t *testing.T, name string, n int) []groups.ParkedEvent {
	t.Helper()
	var out []groups.ParkedEvent
	eventually(t, func() string {
		var err error
		out, err = o.Parked(t.Context(), name)
		must(t, err)
		if len(out) != n {
			return fmt.Sprintf("%d are parked, want %d", len(out), n)
		}
		return ""
	})
	return out
}

func (o *office) status(t *testing.T, name string) groups.Status {
	t.Helper()
	all, err := o.List(t.Context(), name)
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%d groups %s", len(all), name)
	}
	return all[0]
}

// settled waits until nothing is left to be done.
func (o *office) settled(t *testing.T, name string) {
	t.Helper()
	eventually(t, func() string {
		if s := o.status(t, name); s.Lag+uint64(s.InFlight+s.Retrying+s.Parked) > 0 || !s.Oldest.IsZero() {
			return fmt.Sprintf("not settled: %+v", s)
		}
		return ""
	})
}

// eventually asks until the answer is "", for as long as the patience lasts.
func eventually(t *testing.T, ask func() string) {
	t.Helper()
	end := time.Now().Add(patience)
	for {
		answer := ask()
		if answer == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(answer)
		}
	}
}

// TestAnEventOfADeadMemberIsGivenToAnother and counts, where the dead one had been sent it.
func TestAnEventOfADeadMemberIsGivenToAnother(t *testing.T) {
	h := newHouse(t, 2)
	o := h.open(t)
	o.create(t, "erp")
	one := o.join(t, "erp", 2)
	h.record("A", 1, 2)
	h.record("B", 1, 1)
	got := []*groups.Delivery{one.next(), one.next()} // of A and of B
	two := o.join(t, "erp", 1)
	two.none()
	one.leave(true)
	seen := map[domain.OrderID]bool{}
	for range got {
		d := two.next()
		if d.Attempt != 2 || revision(t, d) != 1 {
			t.Errorf("given is %s", short(t, d))
		}
		seen[d.Entry.Order] = true
		two.Ack(d.ID)
	}
	if len(seen) != 2 {
		t.Errorf("given are %v", seen)
	}
	d := two.want("A", 2, 1)
	three := o.join(t, "erp", 1)
	two.leave(false) // in good order: that does not count
	three.Ack(three.want("A", 2, 1).ID)
	one.Ack(d.ID) // is nobody's any more
	o.settled(t, "erp")
}

func TestTheTimeForAnAnswer(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "erp")
	m := o.join(t, "erp", 1)
	h.record("A", 1, 2)
	d := m.want("A", 1, 1)
	h.forward(40 * time.Second)
	m.Extend(d.ID)
	h.record("B", 1, 1)
	n := o.join(t, "erp", 1)
	b := n.want("B", 1, 1)
	h.forward(40 * time.Second) // less than a minute after the extension
	n.Ack(b.ID)
	h.record("C", 1, 1)
	c := n.want("C", 1, 1)
	m.none()
	h.forward(21 * time.Second)
	if msg := m.message(); msg.Revoked != d.ID {
		t.Fatalf("told is %+v, not that %s is taken back", msg, d.ID)
	}
	m.Ack(d.ID) // too late
	d = m.want("A", 1, 2)
	h.forward(59 * time.Second)
	m.Extend(d.ID)
	if msg := n.message(); msg.Revoked != c.ID {
		t.Fatalf("told is %+v", msg)
	}
	n.Ack(n.want("C", 1, 2).ID)
	h.forward(59 * time.Second)
	m.Ack(d.ID)
	m.Ack(m.want("A", 2, 1).ID)
	o.settled(t, "erp")
}

// TestCredits gives each member as many events as it will have, and no more.
func TestCredits(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "erp")
	for n := range 10 {
		h.record(fmt.Sprint(n), 1, 1)
	}
	m, idle := o.join(t, "erp", 3), o.join(t, "erp", 0)
	var has []string
	for range 3 {
		has = append(has, m.next().ID)
	}
	if s := o.status(t, "erp"); s.InFlight != 3 || s.Members != 2 || s.Lag != 10 || s.Oldest.IsZero() {
		t.Errorf("status %+v", s)
	}
	m.none()
	m.Credits(1)
	m.Ack(has[0])
	m.Ack(has[1])
	o.status(t, "erp") // after what the acknowledgements would have led to
	m.none()
	m.Ack(has[2])
	m.Ack(m.next().ID)
	idle.none()
	m.Credits(0)
	idle.Credits(6)
	for range 5 {
		idle.Ack(idle.next().ID)
	}
	m.Credits(10)
	m.Ack(m.next().ID)
	o.settled(t, "erp")
}

// TestOnlyWhatIsWantedAndAllowed has a filter, and a member that may not see all.
func TestOnlyWhatIsWantedAndAllowed(t *testing.T) {
	h := newHouse(t, 2)
	o := h.open(t)
	o.create(t, "erp", func(g *groups.Group) { g.Filter = []byte("approved") })
	o.create(t, "loja", func(g *groups.Group) { g.Tenants = []domain.TenantID{"loja"} })
	h.recordAs("outra", "A", 1, 5)
	h.record("B", 1, 5)
	narrow := o.joinAs(t, "erp", 5, func(id domain.TenantID) bool { return id == "outra" })
	d := narrow.next()
	if d.Entry.Tenant != "outra" || revision(t, d) != 5 {
		t.Errorf("given is %s of %s", short(t, d), d.Entry.Tenant)
	}
	narrow.Ack(d.ID)
	eventually(t, func() string {
		if s := o.status(t, "erp"); s.Lag != 1 {
			return fmt.Sprintf("status %+v", s)
		}
		return ""
	})
	narrow.none()
	all := o.join(t, "erp", 5)
	d = all.want("B", 5, 1)
	all.Retry(d.ID, 0, "later")
	all.Ack(all.want("B", 5, 2).ID)
	o.settled(t, "erp")

	m := o.join(t, "loja", 10)
	for revision := 1; revision <= 5; revision++ {
		m.Ack(m.want("B", revision, 1).ID)
	}
	o.settled(t, "loja")
}

// TestSeekAndDelete moves a group about and removes it, with members at work.
func TestSeekAndDelete(t *testing.T) {
	h := newHouse(t, 2)
	o := h.open(t)
	o.create(t, "erp")
	m := o.join(t, "erp", 5)
	h.record("A", 1, 3)
	d := m.want("A", 1, 1)
	m.Park(d.ID, "bad")
	o.parked(t, "erp", 1)
	head, err := h.log.Head(t.Context())
	must(t, err)
	must(t, o.Seek(t.Context(), "erp", domain.Position{}))
	closes(t, m, groups.ClosingMoved)
	m = o.join(t, "erp", 5)
	first := m.want("A", 1, 1)
	o.parked(t, "erp", 0)
	must(t, o.Seek(t.Context(), "erp", head))
	closes(t, m, groups.ClosingMoved)
	m.Ack(first.ID) // of another life
	m = o.join(t, "erp", 5)
	h.record("A", 4, 5)
	m.Ack(m.want("A", 4, 1).ID)
	d = m.want("A", 5, 1)
	must(t, o.Delete(t.Context(), "erp"))
	closes(t, m, groups.ClosingDeleted)
	m.Ack(d.ID)
	if _, _, err := o.Join(t.Context(), "erp", 1, nil); domain.KindOf(err) != domain.NotFound {
		t.Errorf("joined what is gone: %v", err)
	}
	if err := o.Delete(t.Context(), "erp"); domain.KindOf(err) != domain.NotFound {
		t.Errorf("removed what is gone: %v", err)
	}
	js, err := jetstream.New(o.conn)
	must(t, err)
	for p := range 2 {
		s, err := js.Stream(t.Context(), fmt.Sprintf("ORDERS-%02d", p))
		must(t, err)
		for name := range s.ConsumerNames(t.Context()).Name() {
			t.Errorf("left in %s is %s", s.CachedInfo().Config.Name, name)
		}
	}
	o.wantEmpty(t)
	o.create(t, "erp")
	m = o.join(t, "erp", 5)
	m.Ack(m.want("A", 1, 1).ID)
}

// wantEmpty wants nothing to be kept of any group.
func (o *office) wantEmpty(t *testing.T) {
	t.Helper()
	js, err := jetstream.New(o.conn)
	must(t, err)
	kv, err := js.KeyValue(t.Context(), groups.Bucket)
	must(t, err)
	if keys, err := kv.Keys(t.Context()); !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Errorf("left are %v (%v)", keys, err)
	}
}

// closes wants the member's stream to end for a reason.
func closes(t *testing.T, m *member, reason string) {
	t.Helper()
	for {
		msg := m.message()
		if msg.Closing == "" {
			continue
		}
		if msg.Closing != reason {
			t.Errorf("closed because %s, want %s", msg.Closing, reason)
		}
		m.leave(false)
		return
	}
}

// TestOneGroupDoesNotWaitForAnother has a member that answers nothing.
func TestOneGroupDoesNotWaitForAnother(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "slow")
	o.create(t, "quick")
	slow, quick := o.join(t, "slow", 1), o.join(t, "quick", 4)
	for n := range 50 {
		h.record(fmt.Sprint(n), 1, 2)
	}
	slow.next()
	for range 100 {
		quick.Ack(quick.next().ID)
	}
	o.settled(t, "quick")
	slow.none()
	if s := o.status(t, "slow"); s.Lag != 100 || s.InFlight != 1 {
		t.Errorf("status %+v", s)
	}
}

func TestGroupsThatAreRefused(t *testing.T) {
	h := newHouse(t, 1)
	o := h.open(t)
	o.create(t, "erp")
	for _, c := range []struct {
		change func(*groups.Group)
		kind   domain.ErrorKind
	}{
		{func(*groups.Group) {}, domain.Exists},
		{func(g *groups.Group) { g.Name = "a_b" }, domain.Invalid},
		{func(g *groups.Group) { g.Name = "" }, domain.Invalid},
		{func(g *groups.Group) { g.Name, g.AckWait = "x", time.Millisecond }, domain.Invalid},
		{func(g *groups.Group) { g.Name, g.MaxDeliveries = "x", 1001 }, domain.Invalid},
	} {
		group := groups.Group{Name: "erp"}
		c.change(&group)
		if _, err := o.Create(t.Context(), group, domain.Position{}); domain.KindOf(err) != c.kind {
			t.Errorf("%+v: %v, want %s", group, err, c.kind)
		}
	}
	if err := o.Seek(t.Context(), "none", domain.Position{}); domain.KindOf(err) != domain.NotFound {
		t.Errorf("moved what is not there: %v", err)
	}
	if _, err := o.Parked(t.Context(), "none"); domain.KindOf(err) != domain.NotFound {
		t.Errorf("parked of what is not there: %v", err)
	}
}
