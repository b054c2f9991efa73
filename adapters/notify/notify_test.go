package notify_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/notify"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// failing answers order A with the given codes, one after the other, and
// everything else with 200.
func failing(codes ...int) func(http.ResponseWriter, received) {
	var n atomic.Int64
	return func(w http.ResponseWriter, r received) {
		if r.order != "A" {
			return
		}
		if i := int(n.Add(1)) - 1; i < len(codes) {
			w.WriteHeader(codes[i])
		}
	}
}

func between(t *testing.T, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("waits %s, want %s to %s", got, least, most)
	}
}

func equal(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}

func TestThreeTransitionsAreToldOnceAndInOrder(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("%d partitions", partitions), func(t *testing.T) {
			h := newHouse(t, partitions)
			r := newReceiver(t, nil)
			h.open([]notify.Endpoint{endpoint(r, "order.*")})
			kinds := []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded}
			for range 2 {
				for _, k := range kinds {
					h.record("A", k)
				}
			}
			got := r.next(t, 3)
			h.record("B", domain.KindPending) // whatever else A had said would have come before
			got = append(got, r.next(t, 1)...)
			equal(t, []string{"A/1<0 order.pending", "A/2<1 order.approved", "A/3<2 order.refunded", "B/1<0 order.pending"}, shorts(got))
			r.none(t)
		})
	}
}

func TestAnEndpointThatFailsTwiceGetsEachEventOnceAndInOrder(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, failing(500, 500))
	w := newWaits()
	h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w))
	h.record("A", domain.KindPending)
	first := take(t, w.asked)
	equal(t, []string{"A/1<0 order.pending"}, shorts(r.next(t, 1)))

	// While A waits, B is not held back, and A's later events wait behind it.
	h.record("A", domain.KindApproved)
	h.record("A", domain.KindRefunded)
	h.record("B", domain.KindPending)
	equal(t, []string{"B/1<0 order.pending"}, shorts(r.next(t, 1)))
	between(t, first.d, 4*time.Second, 6*time.Second)

	// A's blockade took its later events in, each with a wait of its own that
	// replaces the one before: let go whatever is asked for.
	close(first.free)
	stop := releaseAll(w)
	defer stop()
	got := r.next(t, 4)
	equal(t, []string{"A/1<0 order.pending", "A/1<0 order.pending", "A/2<1 order.approved", "A/3<2 order.refunded"}, shorts(got))
	h.record("B", domain.KindApproved)
	equal(t, []string{"B/2<1 order.approved"}, shorts(r.next(t, 1)))
	r.none(t)
	if got[0].id != got[1].id || got[1].id == got[2].id {
		t.Errorf("webhook ids %s, %s, %s: the same for each attempt of an event, and for no other", got[0].id, got[1].id, got[2].id)
	}
}

// releaseAll lets every wait go, until stop.
func releaseAll(w *waits) (stop func()) { return release(w, 1000*time.Hour) }

// release lets every wait go that is not longer than most, until stop.
func release(w *waits, most time.Duration) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case next := <-w.asked:
				if next.d <= most {
					close(next.free)
				}
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func TestTheScheduleIsFollowedToItsEnd(t *testing.T) {
	for _, tc := range []struct {
		exhausted string
		want      []string
	}{
		{notify.OnExhaustedHold, []string{"B/1<0 order.pending"}},
		{notify.OnExhaustedSkip, []string{"A/2<1 order.approved", "B/1<0 order.pending"}},
	} {
		t.Run(tc.exhausted, func(t *testing.T) {
			h := newHouse(t, 1)
			all := make([]int, 11)
			for i := range all {
				all[i] = 500
			}
			r := newReceiver(t, failing(all...))
			w := newWaits()
			e := endpoint(r, "order.*")
			e.OnExhausted = tc.exhausted
			o := h.open([]notify.Endpoint{e}, withWaits(w))
			h.record("A", domain.KindPending)
			want := delivery.DefaultSchedule()
			for i := 1; i < len(want); i++ {
				got := w.letGo(t)
				between(t, got, want[i]*8/10-time.Second, want[i]*12/10)
			}
			attempts := r.next(t, 11)
			h.record("A", domain.KindApproved)
			if tc.exhausted == notify.OnExhaustedSkip {
				attempts = append(attempts, r.next(t, 1)...)
			}
			h.record("B", domain.KindPending)
			attempts = append(attempts, r.next(t, 1)...)
			equal(t, append(slices.Repeat([]string{"A/1<0 order.pending"}, 11), tc.want...), shorts(attempts))

			// And it stays so over a restart.
			o.close()
			h.record("A", domain.KindRefunded)
			h.record("B", domain.KindApproved)
			h.open([]notify.Endpoint{e}, withWaits(w))
			last := []string{"B/2<1 order.approved"}
			if tc.exhausted == notify.OnExhaustedSkip {
				last = append([]string{"A/3<2 order.refunded"}, last...)
			}
			got := shorts(r.next(t, len(last)))
			slices.Sort(got)
			equal(t, last, got)
			r.none(t)
		})
	}
}

func TestARedirectIsAFailureAndIsNotFollowed(t *testing.T) {
	h := newHouse(t, 1)
	var followed atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	t.Cleanup(elsewhere.Close)
	var answered atomic.Int64
	r := newReceiver(t, func(w http.ResponseWriter, _ received) {
		if answered.Add(1) == 1 {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusFound)
		}
	})
	w := newWaits()
	o := h.open([]notify.Endpoint{endpoint(r, "order.*")}, withWaits(w))
	h.record("A", domain.KindApproved)
	between(t, w.letGo(t), 4*time.Second, 6*time.Second)
	equal(t, []string{"A/1<0 order.approved", "A/1<0 order.approved"}, shorts(r.next(t, 2)))
	o.close()
	if n := followed.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
	want := map[string]float64{"retry": 1, "ok": 1}
	if diff := cmp.Diff(want, o.attempts(t)); diff != "" {
		t.Errorf("attempts (-want +got):\n%s", diff)
	}
}

// attempts are the counted attempts, by outcome.
func (o *office) attempts(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := o.reg.Gather()
	must(t, err)
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "comanda_notify_attempts_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "outcome" {
					out[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return out
}

// TestACorrectionIsToldWhateverTheFilter has an operator reject the approval that
// the endpoint was told of.
func TestACorrectionIsToldWhateverTheFilter(t *testing.T) {
	h := newHouse(t, 1)
	r := newReceiver(t, nil)
	o := h.open([]notify.Endpoint{endpoint(r, "order.approved")})
	h.record("A", domain.KindPending)
	approved := h.record("A", domain.KindApproved)
	equal(t, []string{"A/2<0 order.approved"}, shorts(r.next(t, 1)))
	o.close() // what was told is not only in memory
	h.open([]notify.Endpoint{endpoint(r, "order.approved")})
	h.record("A", domain.KindResolved, func(f *domain.Fact) {
		f.Resolution = &domain.Resolution{Event: approved.EventID, Action: domain.ActionReject}
	})
	got := r.next(t, 1)
	equal(t, []string{"A/3<2 order.pending"}, shorts(got))
	if want := `"correction":true,"path":[{`; !strings.Contains(got[0].body, want) {
		t.Errorf("the body has no %s: %s", want, got[0].body)
	}
}
