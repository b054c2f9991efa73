package groups_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"comanda.internal/adapters/groups"
	"comanda.internal/domain"
)

// model is a group whose members, of one process or two, answer as they please.
type model struct {
	t                 *testing.T
	house             *house
	offices           []*office
	name              string
	members           []*modelMember
	recorded, settled map[domain.OrderID]int // revisions
	parked            map[domain.OrderID]bool
}

// modelMember is a member, and what it has and did not answer.
type modelMember struct {
	*member

	credits int
	has     []*groups.Delivery
}

const maxDeliveries = 3

// take has m take what it is given, which breaks no promise.
func (m *model) take(t *rapid.T, who *modelMember) {
	msg, ok := who.Take()
	if !ok {
		return
	}
	if msg.Revoked != "" || msg.Closing != "" {
		t.Fatalf("told is %+v", msg)
	}
	d := msg.Delivery
	order, rev := d.Entry.Order, revision(m.t, d)
	for _, other := range m.members {
		for _, h := range other.has {
			if h.Entry.Order == order {
				t.Fatalf("%s is given while %s is with a member", short(m.t, d), short(m.t, h))
			}
		}
	}
	switch {
	case rev > m.settled[order]+1:
		t.Fatalf("%s is given, and settled is %d", short(m.t, d), m.settled[order])
	case rev <= m.settled[order]:
		t.Fatalf("%s is given again, and settled is %d", short(m.t, d), m.settled[order])
	case m.parked[order]:
		t.Fatalf("%s is given, and the order is parked", short(m.t, d))
	case d.Attempt > maxDeliveries:
		t.Fatalf("%s", short(m.t, d))
	}
	who.has = append(who.has, d)
	if len(who.has) > who.credits {
		t.Fatalf("%d are with a member of %d credits", len(who.has), who.credits)
	}
}

// drop takes one of what a member has.
func (who *modelMember) drop(t *rapid.T) *groups.Delivery {
	if len(who.has) == 0 {
		t.Skip("it has nothing")
	}
	i := rapid.IntRange(0, len(who.has)-1).Draw(t, "which")
	d := who.has[i]
	who.has = slices.Delete(who.has, i, i+1)
	return d
}

func (m *model) one(t *rapid.T) *modelMember {
	if len(m.members) == 0 {
		t.Skip("nobody is there")
	}
	return rapid.SampledFrom(m.members).Draw(t, "member")
}

func (m *model) join(t *rapid.T) {
	if len(m.members) == 4 {
		t.Skip("enough")
	}
	who := &modelMember{credits: rapid.IntRange(1, 4).Draw(t, "credits")}
	who.member = rapid.SampledFrom(m.offices).Draw(t, "process").join(m.t, m.name, who.credits)
	m.members = append(m.members, who)
}

func (m *model) leave(t *rapid.T, failed bool) {
	who := m.one(t)
	m.members = slices.DeleteFunc(m.members, func(other *modelMember) bool { return other == who })
	for _, d := range who.has {
		if failed && d.Attempt == maxDeliveries {
			m.parked[d.Entry.Order] = true
		}
	}
	who.leave(failed)
}

func (m *model) settle(order domain.OrderID) { m.settled[order]++ }

// steps are what may happen.
func (m *model) steps() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"record": func(t *rapid.T) {
			id := fmt.Sprint(m.name, rapid.IntRange(0, 3).Draw(t, "order"))
			if n := m.recorded[orderID(id)]; n < len(kinds) {
				m.house.record(id, n+1, n+1)
				m.recorded[orderID(id)]++
			}
		},
		"take":  func(t *rapid.T) { m.take(t, m.one(t)) },
		"await": m.await,
		"join":  m.join,
		"leave": func(t *rapid.T) { m.leave(t, false) },
		"die":   func(t *rapid.T) { m.leave(t, true) },
		"ack": func(t *rapid.T) {
			who := m.one(t)
			d := who.drop(t)
			m.settle(d.Entry.Order)
			who.Ack(d.ID)
		},
		"skip": func(t *rapid.T) {
			who := m.one(t)
			d := who.drop(t)
			m.settle(d.Entry.Order)
			who.Skip(d.ID)
		},
		"retry": func(t *rapid.T) {
			who := m.one(t)
			d := who.drop(t)
			m.parked[d.Entry.Order] = d.Attempt == maxDeliveries
			who.Retry(d.ID, 0, "")
		},
		"park": func(t *rapid.T) {
			who := m.one(t)
			d := who.drop(t)
			m.parked[d.Entry.Order] = true
			who.Park(d.ID, "bad")
		},
		"replay": func(t *rapid.T) { m.replay(rapid.Bool().Draw(t, "skip")) },
	}
}

// replay replays, or skips, what is parked.
func (m *model) replay(skip bool) {
	n := 0
	for order, is := range m.parked {
		if is {
			n++
			m.parked[order] = false
			if skip {
				m.settle(order)
			}
		}
	}
	m.offices[0].parked(m.t, m.name, n)
	got, err := m.offices[0].Replay(m.t.Context(), m.name, "", skip)
	must(m.t, err)
	if got != n {
		m.t.Fatalf("%d were replayed of %d", got, n)
	}
}

// await waits until a member is given something, if that must be.
func (m *model) await(t *rapid.T) {
	busy := map[domain.OrderID]bool{}
	for _, who := range m.members {
		for _, d := range who.has {
			busy[d.Entry.Order] = true
		}
	}
	due := slices.ContainsFunc(m.orders(), func(order domain.OrderID) bool {
		return !busy[order] && !m.parked[order] && m.settled[order] < m.recorded[order]
	})
	all := len(m.members) > 0
	for _, who := range m.members { // of whichever process has the pin
		all = all && len(who.has) < who.credits
	}
	if !due || !all {
		return
	}
	eventually(m.t, func() string {
		for _, who := range m.members {
			before := len(who.has)
			m.take(t, who)
			if len(who.has) > before {
				return ""
			}
		}
		return fmt.Sprintf("nothing is given: recorded %v, settled %v, parked %v", m.recorded, m.settled, m.parked)
	})
}

func (m *model) orders() []domain.OrderID {
	var out []domain.OrderID
	for order := range m.recorded {
		out = append(out, order)
	}
	return out
}

// TestWhateverMembersDo has members of a group, in one or two processes, join, answer in every way,
// leave and die: events of an order come one at a time, in their order, never more than
// the credits, none after it was settled, and at the end all were.
func TestWhateverMembersDo(t *testing.T) {
	h := newHouse(t, 2)
	one, two := h.open(t), h.open(t)
	var runs int
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := &model{
			t: t, house: h, offices: []*office{one}, name: fmt.Sprint("m", runs),
			recorded: map[domain.OrderID]int{}, settled: map[domain.OrderID]int{}, parked: map[domain.OrderID]bool{},
		}
		if rapid.IntRange(0, 3).Draw(rt, "processes") == 3 { // a pin takes its time to change hands
			m.offices = append(m.offices, two)
		}
		head, err := h.log.Head(t.Context())
		must(t, err)
		_, err = one.Create(t.Context(), groups.Group{Name: m.name, MaxDeliveries: maxDeliveries, AckWait: time.Hour}, head)
		must(t, err)
		rt.Repeat(m.steps())
		m.finish(t)
	})
}

// finish has one member settle all that is left.
func (m *model) finish(t *testing.T) {
	t.Helper()
	for _, who := range m.members {
		who.leave(false)
	}
	m.replay(false)
	last := m.offices[0].join(t, m.name, 10)
	for slices.ContainsFunc(m.orders(), func(id domain.OrderID) bool { return m.settled[id] < m.recorded[id] }) {
		d := last.next()
		m.settled[d.Entry.Order]++
		if m.settled[d.Entry.Order] != revision(t, d) {
			t.Fatalf("given at the end is %s, and settled %d", short(t, d), m.settled[d.Entry.Order]-1)
		}
		last.Ack(d.ID)
	}
	m.offices[0].settled(t, m.name)
	last.none()
	last.leave(false)
	must(t, m.offices[0].Delete(t.Context(), m.name))
}

// crowd is many members at once.
type crowd struct {
	mu   sync.Mutex
	with map[domain.OrderID]bool
	last map[domain.OrderID]int
	left int
	done chan struct{}
	errs []string
}

// TestOrderIsKeptUnderRaces has members of two processes work at once, of which some go and
// others come.
func TestOrderIsKeptUnderRaces(t *testing.T) {
	h := newHouse(t, 2)
	offices := []*office{h.open(t), h.open(t)}
	offices[0].create(t, "erp", func(g *groups.Group) { g.MaxDeliveries = 1000 })
	const orders, revisions = 30, 6
	c := &crowd{with: map[domain.OrderID]bool{}, last: map[domain.OrderID]int{}, left: orders * revisions, done: make(chan struct{})}
	var workers sync.WaitGroup
	for n := range 6 {
		workers.Go(func() {
			for round := 0; !c.over(); round++ {
				m, _, err := offices[n%2].Join(t.Context(), "erp", 1+n, func(domain.TenantID) bool { return true })
				if err != nil {
					t.Error(err)
					return
				}
				c.work(t, m, 20+n)
				m.Leave(round%2 == 0)
			}
		})
	}
	for n := range orders {
		workers.Go(func() { h.record(fmt.Sprint(n), 1, revisions) })
	}
	workers.Wait()
	offices[0].settled(t, "erp")
	for _, e := range c.errs {
		t.Error(e)
	}
}

func (c *crowd) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// work answers so many events, every third in vain.
func (c *crowd) work(t *testing.T, m *groups.Member, n int) {
	t.Helper()
	for i := 0; i < n; {
		msg, ok := m.Take()
		if !ok {
			select {
			case <-m.Ready():
			case <-c.done:
				return
			}
			continue
		}
		if msg.Delivery == nil {
			return
		}
		i++
		c.begin(t, msg.Delivery)
		if i%3 == 0 {
			c.end(msg.Delivery, 0)
			m.Retry(msg.Delivery.ID, 0, "")
			continue
		}
		c.end(msg.Delivery, revision(t, msg.Delivery))
		m.Ack(msg.Delivery.ID)
	}
	for { // what it has and will not answer
		msg, ok := m.Take()
		if !ok || msg.Delivery == nil {
			return
		}
	}
}

func (c *crowd) begin(t *testing.T, d *groups.Delivery) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if rev := revision(t, d); c.with[d.Entry.Order] || rev != c.last[d.Entry.Order]+1 {
		c.errs = append(c.errs, fmt.Sprintf("given is %s after %d; another has one: %v", short(t, d), c.last[d.Entry.Order], c.with[d.Entry.Order]))
	}
	c.with[d.Entry.Order] = true
}

func (c *crowd) end(d *groups.Delivery, settled int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.with[d.Entry.Order] = false
	if settled == 0 {
		return
	}
	c.last[d.Entry.Order] = settled
	if c.left--; c.left == 0 {
		close(c.done)
	}
}
