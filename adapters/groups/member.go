package groups

import (
	"slices"
	"sync"
	"time"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// Why the server ends a member's stream.
const (
	ClosingMoved   = "group_moved"
	ClosingDeleted = "group_deleted"
	ClosingFailed  = "group_failed"
)

// Delivery is an event that is with a member.
type Delivery struct {
	ID       string
	Attempt  int
	Deadline time.Time
	Entry    *ring.Entry
}

// Message is one of three: a delivery, one that was taken back, or the end.
type Message struct {
	Delivery *Delivery
	Revoked  string
	// Closing is one of the constants.
	Closing string
}

// Member is one of those who share a group's events. Its methods may be called from
// any goroutine.
type Member struct {
	desk   *desk
	allows func(domain.TenantID) bool

	// Of the desk's loop.
	credits int
	flights map[string]*flight

	mu      sync.Mutex
	unsent  []*flight // at most as many as credits
	revoked []string  // at most as many as were sent
	closing string
	ready   chan struct{}
}

func newMember(d *desk, credits int, allows func(domain.TenantID) bool) *Member {
	return &Member{desk: d, allows: allows, credits: credits, flights: map[string]*flight{}, ready: make(chan struct{}, 1)}
}

// Ready has a value when [Member.Take] may have a message.
func (m *Member) Ready() <-chan struct{} { return m.ready }

// Take is the next message; false: there is none now.
func (m *Member) Take() (Message, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case len(m.revoked) > 0:
		id := m.revoked[0]
		m.revoked = slices.Delete(m.revoked, 0, 1)
		return Message{Revoked: id}, true
	case m.closing != "":
		return Message{Closing: m.closing}, true
	case len(m.unsent) > 0:
		f := m.unsent[0]
		m.unsent = slices.Delete(m.unsent, 0, 1)
		f.sent = true
		return Message{Delivery: &Delivery{ID: f.id, Attempt: f.attempt, Deadline: f.deadline, Entry: f.entry}}, true
	default:
		return Message{}, false
	}
}

// tell changes what is to be taken. It is for the desk's loop.
func (m *Member) tell(change func()) {
	m.mu.Lock()
	change()
	m.mu.Unlock()
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// withdraw takes a flight back, and reports whether it had been sent.
func (m *Member) withdraw(f *flight, say bool) (sent bool) {
	m.tell(func() {
		sent = f.sent
		if i := slices.Index(m.unsent, f); i >= 0 {
			m.unsent = slices.Delete(m.unsent, i, i+1)
		} else if say {
			m.revoked = append(m.revoked, f.id)
		}
	})
	return sent
}

// Ack says that the events were dealt with. What is not the member's is passed over.
func (m *Member) Ack(ids ...string) { m.answer(outcome{kind: acked}, ids) }

// Retry asks for the event to be given again, after a while.
func (m *Member) Retry(id string, after time.Duration, reason string) {
	m.answer(outcome{kind: retried, after: after, reason: reason}, []string{id})
}

// Park has the event, and what its order does later, wait for an operator.
func (m *Member) Park(id, reason string) {
	m.answer(outcome{kind: parked, reason: reason}, []string{id})
}

// Skip passes the event over.
func (m *Member) Skip(id string) { m.answer(outcome{kind: skipped}, []string{id}) }

func (m *Member) answer(o outcome, ids []string) {
	m.desk.do(func() {
		for _, id := range ids {
			if f := m.flights[id]; f != nil {
				m.desk.answered(f, o)
			}
		}
	})
}

// Extend gives the events as much time as they had when they were given.
func (m *Member) Extend(ids ...string) {
	m.desk.do(func() {
		for _, id := range ids {
			if f := m.flights[id]; f != nil {
				m.desk.extend(f)
			}
		}
	})
}

// Credits changes how many events the member has unanswered at the most.
func (m *Member) Credits(n int) { m.desk.do(func() { m.credits = n }) }

// Leave ends the membership. What the member has is given to others; failed says that
// it went without a word, so that what was sent to it counts as given in vain. When the last member of
// a process has left, nothing of the group runs there any more.
func (m *Member) Leave(failed bool) {
	m.desk.do(func() { m.desk.left(m, failed) })
	m.desk.groups.leave(m.desk)
}
