package notify_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/httpsink"
	"comanda.internal/domain"
)

func TestARetryAndItsOrderSurviveARestart(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, failing(500, 500))
	w := newWaits()
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w))
	h.record("A", domain.KindPending)
	between(t, w.letGo(t), 4*time.Second, 6*time.Second)
	between(t, take(t, w.asked).d, 24*time.Second, 36*time.Second)
	equal(t, []string{"A/1<0 order.pending", "A/1<0 order.pending"}, shorts(r.next(t, 2)))
	h.record("A", domain.KindApproved)
	o.close()
	h.record("A", domain.KindRefunded)
	h.record("B", domain.KindPending)

	w = newWaits()
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w))
	equal(t, []string{"B/1<0 order.pending"}, shorts(r.next(t, 1)))
	stop := releaseAll(w)
	defer stop()
	equal(t, []string{"A/1<0 order.pending", "A/2<1 order.approved", "A/3<2 order.refunded"}, shorts(r.next(t, 3)))
	h.record("B", domain.KindApproved)
	equal(t, []string{"B/2<1 order.approved"}, shorts(r.next(t, 1)))
	r.none(t)
}

func TestWhatWasToldIsNotToldAgainAfterARestart(t *testing.T) {
	h := newHouse(t, 2)
	r := newReceiver(t, nil)
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")})
	for i := range 20 {
		h.record(fmt.Sprintf("%02d", i), domain.KindPending)
	}
	r.next(t, 20)
	o.close()
	for i := range 20 {
		h.record(fmt.Sprintf("%02d", i), domain.KindApproved)
	}
	h.open([]notify.Endpoint{endpoint(r, "order.*")})
	seen := map[string]int{}
	for _, got := range r.next(t, 20) {
		seen[got.typ+fmt.Sprint(got.previous)]++
	}
	if diff := cmp.Diff(map[string]int{"order.approved1": 20}, seen); diff != "" {
		t.Errorf("told after the restart (-want +got):\n%s", diff)
	}
	h.record("last", domain.KindPending)
	r.next(t, 1)
	r.none(t)
}

// TestACrashInTheMiddleKeepsTheOrder takes the server away while A's first event is at
// the endpoint and its second waits. A's third is recorded afterwards, and the
// acknowledgements are waited for longer than the pin is kept, so that JetStream
// delivers the third before it redelivers the others.
func TestACrashInTheMiddleKeepsTheOrder(t *testing.T) {
	h := newHouse(t, 1)
	hold := make(chan struct{})
	var first sync.Once
	r := newReceiver(t, func(http.ResponseWriter, received) { first.Do(func() { <-hold }) })
	longer := with(func(c *notify.Config) { c.AckWait = 5 * time.Second })
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, longer)
	h.record("A", domain.KindPending)
	before := r.next(t, 1)
	h.record("A", domain.KindApproved)
	h.record("B", domain.KindPending)
	equal(t, []string{"B/1<0 order.pending"}, shorts(r.next(t, 1))) // so A's second has arrived, too
	o.conn.Close()                                                  // nothing that it does from now on reaches the log: what a kill leaves behind
	close(hold)
	o.close()
	r.forget() // it may have told A's second while it ended
	h.record("A", domain.KindRefunded)

	h.open([]notify.Endpoint{endpoint(r, "order.*")}, longer)
	var after []received
	for len(after) < 3 {
		if got := r.next(t, 1)[0]; got.order == "A" { // B's acknowledgement may have been lost
			after = append(after, got)
		}
	}
	equal(t, []string{"A/1<0 order.pending", "A/2<1 order.approved", "A/3<2 order.refunded"}, shorts(after))
	if before[0].id != after[0].id {
		t.Errorf("the event is told again as %s, was %s: the receiver could not drop it", after[0].id, before[0].id)
	}
}

// TestAnAttemptThatTheEndCutsShortIsNone stops the notifier while the endpoint
// does not answer: the event is told again after the next start, at once and not
// as a second attempt.
func TestAnAttemptThatTheEndCutsShortIsNone(t *testing.T) {
	h := newHouse(t, 1)
	var slow atomic.Bool
	slow.Store(true)
	let := make(chan struct{})
	r := newReceiver(t, func(http.ResponseWriter, received) {
		if slow.Load() {
			<-let
		}
	})
	t.Cleanup(func() { close(let) })
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, with(func(c *notify.Config) { c.Grace = 10 * time.Millisecond }))
	h.record("A", domain.KindPending)
	r.next(t, 1)
	o.close()
	if counted := o.attempts(t); len(counted) > 0 {
		t.Errorf("counted as %v", counted)
	}
	slow.Store(false)
	o = h.open([]notify.Endpoint{endpoint(r, "order.*")}) // whose Wait allows no wait
	equal(t, []string{"A/1<0 order.pending"}, shorts(r.next(t, 1)))
	o.close()
	if diff := cmp.Diff(map[string]float64{"ok": 1}, o.attempts(t)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

func TestANewEndpointStartsFromNowAndAnOldOneWhereItWas(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, nil)
	h.record("A", domain.KindPending)
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")})
	h.record("A", domain.KindApproved)
	// What was recorded before the endpoint was is not told, and is no one's predecessor.
	equal(t, []string{"A/2<0 order.approved"}, shorts(r.next(t, 1)))
	o.close()
	o = h.open(nil) // the endpoint leaves the configuration
	h.record("A", domain.KindRefunded)
	o.close()
	h.open([]notify.Endpoint{endpoint(r, "order.*")})
	equal(t, []string{"A/3<2 order.refunded"}, shorts(r.next(t, 1)))
	r.none(t)
}

func TestGoneDisablesTheEndpointAndLosesNothing(t *testing.T) {
	h := newHouse(t, 1)
	gone, fine := newReceiver(t, failing(http.StatusGone)), newReceiver(t, nil)
	other := endpoint(fine, "order.*")
	other.ID = "crm"
	w := newWaits()
	o := h.open([]notify.Endpoint{endpoint(gone, "order.*"), other}, withWaits(w))
	h.record("A", domain.KindPending)
	equal(t, []string{"A/1<0 order.pending"}, shorts(gone.next(t, 1)))
	// Its wait is asked for when the answer was taken in, and its end begins nothing.
	close(take(t, w.asked).free)
	h.record("A", domain.KindApproved)
	h.record("B", domain.KindPending)
	fine.next(t, 3)
	o.close()
	gone.none(t)

	w = newWaits()
	stop := releaseAll(w)
	defer stop()
	h.open([]notify.Endpoint{endpoint(gone, "order.*"), other}, withWaits(w))
	byOrder := map[string][]string{}
	for _, got := range gone.next(t, 3) {
		byOrder[got.order] = append(byOrder[got.order], got.short())
	}
	want := map[string][]string{"A": {"A/1<0 order.pending", "A/2<1 order.approved"}, "B": {"B/1<0 order.pending"}}
	if diff := cmp.Diff(want, byOrder); diff != "" {
		t.Errorf("after the next start (-want +got):\n%s", diff)
	}
	fine.none(t)
}

// TestTwoInstancesTellOnce runs two notifiers on one log. One of them holds the
// durable; both wait for the retries, one of them makes each, and what the orders do
// meanwhile arrives at the one and may be told by the other.
func TestTwoInstancesTellOnce(t *testing.T) {
	const orders = 20
	h := newHouse(t, 1)
	var n atomic.Int64
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		if n.Add(1) <= orders {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	one, two := newWaits(), newWaits()
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(one))
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(two))
	name := func(i int) string { return fmt.Sprintf("%02d", i) }
	for i := range orders {
		h.record(name(i), domain.KindPending)
	}
	r.next(t, orders)
	free := make(chan struct{})
	for range orders {
		for _, w := range []*waits{one, two} {
			asked := take(t, w.asked)
			go func() { <-free; close(asked.free) }()
		}
	}
	close(free)
	// Longer waits than a first failure's are for the case that the other instance dies.
	stopOne, stopTwo := release(one, 6*time.Second), release(two, 6*time.Second)
	defer stopOne()
	defer stopTwo()
	for _, kind := range []domain.Kind{domain.KindApproved, domain.KindRefunded} {
		for i := range orders {
			h.record(name(i), kind)
		}
	}
	inOrder(t, r.next(t, 3*orders))
	// Whoever is left takes over.
	o.close()
	h.record("00", domain.KindChargeback)
	equal(t, []string{"00/4<3 order.chargeback"}, shorts(r.next(t, 1)))
	r.none(t)
}

// inOrder checks that every order's events came in order, each once.
func inOrder(t *testing.T, all []received) {
	t.Helper()
	last := map[string]uint64{}
	for _, got := range all {
		if got.previous != last[got.order] || got.revision <= got.previous {
			t.Errorf("%s came after revision %d", got.short(), last[got.order])
		}
		last[got.order] = got.revision
	}
}

func TestTooManyBlockedOrdersStopTheIntake(t *testing.T) {
	h := newHouse(t, 1)
	var down atomic.Bool
	down.Store(true)
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	w := newWaits()
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w), with(func(c *notify.Config) { c.MaxBlocked = 2 }))
	h.record("A", domain.KindPending)
	a := take(t, w.asked)
	h.record("B", domain.KindPending)
	b := take(t, w.asked)
	h.record("C", domain.KindPending)
	equal(t, []string{"A/1<0 order.pending", "B/1<0 order.pending"}, shorts(r.next(t, 2)))
	// A fails again: still two are blocked, and C was not tried.
	close(a.free)
	equal(t, []string{"A/1<0 order.pending"}, shorts(r.next(t, 1)))
	take(t, w.asked)
	r.none(t)
	// B gets through, and so C is taken.
	down.Store(false)
	close(b.free)
	equal(t, []string{"B/1<0 order.pending", "C/1<0 order.pending"}, shorts(r.next(t, 2)))
}

func TestASinkThatPanicsIsAFailedAttempt(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, nil)
	w := newWaits()
	var calls atomic.Int64
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w), withSink(notify.KindHTTP, func(e notify.Endpoint) (message.Publisher, error) {
		real, err := httpsink.New(e, h.clock)
		return moody{Publisher: real, calls: &calls}, err
	}))
	h.record("A", domain.KindPending)
	between(t, w.letGo(t), 4*time.Second, 6*time.Second)   // a panic
	between(t, w.letGo(t), 24*time.Second, 36*time.Second) // an error of nobody's
	equal(t, []string{"A/1<0 order.pending"}, shorts(r.next(t, 1)))
}

// moody is a sink that panics at the first message and fails at the second.
type moody struct {
	message.Publisher

	calls *atomic.Int64
}

func (m moody) Publish(topic string, messages ...*message.Message) error {
	switch m.calls.Add(1) {
	case 1:
		panic("a bug")
	case 2:
		return errors.New("something else")
	}
	return m.Publisher.Publish(topic, messages...)
}

// TestOrderHoldsWhateverFails sends the histories of many orders at once to an
// endpoint that fails every third time, through restarts: each order's events
// succeed in order, each once.
func TestOrderHoldsWhateverFails(t *testing.T) {
	const orders, restarts = 40, 3
	kinds := []domain.Kind{domain.KindStarted, domain.KindPending, domain.KindApproved, domain.KindRefunded}
	h := newHouse(t, 4)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 2))
	succeeded := make(chan received, orders*len(kinds)*2)
	r := newReceiver(t, func(w http.ResponseWriter, got received) {
		mu.Lock()
		fails := random.IntN(3) == 0
		mu.Unlock()
		if fails {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		succeeded <- got
	})
	w := newWaits()
	stop := releaseAll(w)
	defer stop()
	// No wait of the clock's counts here, and no order may run out of attempts.
	patient := with(func(c *notify.Config) { c.Schedule = make([]time.Duration, 100) })
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w), patient)
	for i, kind := range kinds {
		for n := range orders {
			h.record(fmt.Sprintf("%02d", n), kind)
		}
		if i < restarts {
			o.close()
			o = h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w), patient)
		}
	}
	var all []received
	for range orders * len(kinds) {
		all = append(all, take(t, succeeded))
	}
	inOrder(t, all)
	o.close()
	select {
	case got := <-succeeded:
		t.Errorf("told twice: %s", got.short())
	default:
	}
}
