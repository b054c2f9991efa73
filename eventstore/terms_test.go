package eventstore_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
)

func at(revision uint64) order.Terms { return order.Terms{Revision: &revision} }

func recordOn(t *testing.T, s *store, f domain.Fact, terms order.Terms) (domain.Outcome, error) {
	t.Helper()
	return s.RecordOn(t.Context(), message(), f, terms)
}

// TestTermsHoldOfTheLog asks a recorder whose memory of the order is old, or none:
// it refuses only what the log refuses, and stores nothing then.
func TestTermsHoldOfTheLog(t *testing.T) {
	a, node, dir := fast(t, eventstore.Config{})
	b := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	record(t, a, fact(1, 0, domain.KindApproved), fact(1, 2, domain.KindRefunded))
	if _, err := recordOn(t, b, fact(1, 3, domain.KindApproved), order.Terms{}); domain.KindOf(err) != domain.Refused {
		t.Errorf("refused by an order that is not in memory: %v", err)
	}
	if _, err := recordOn(t, b, fact(1, 3, domain.KindChargeback), at(0)); domain.KindOf(err) != domain.Stale {
		t.Errorf("not new: %v", err)
	}
	record(t, a, fact(1, 4, domain.KindChargeback)) // b does not know
	if _, err := recordOn(t, b, fact(1, 5, domain.KindChargebackReversed), at(2)); domain.KindOf(err) != domain.Stale {
		t.Errorf("what b remembers is not the revision: %v", err)
	}
	reject := fact(1, 6, domain.KindResolved)
	reject.Resolution = &domain.Resolution{Event: history(t, a, 1)[1].Event.ID, Action: domain.ActionReject}
	record(t, a, reject) // the refund never was, so b's memory of 3 revisions is wrong again
	out, err := recordOn(t, b, fact(1, 3, domain.KindApproved), at(4))
	if err != nil || out.Revision != 5 {
		t.Errorf("legal by the log, not by what b remembers: %+v, %v", out, err)
	}
	wantSound(t, a, 5)
}

// TestRequestThatComesAgain repeats a request after its order went on: the first
// answer stands, whatever is legal now and whichever process is asked.
func TestRequestThatComesAgain(t *testing.T) {
	a, node, dir := fast(t, eventstore.Config{})
	first, err := recordOn(t, a, fact(1, 0, domain.KindApproved), at(0))
	if err != nil {
		t.Fatal(err)
	}
	record(t, a, fact(1, 1, domain.KindRefunded))
	again := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	want := first
	want.Verdict, want.First, want.Status = domain.VerdictDuplicate, domain.VerdictApplied, domain.StatusRefunded
	for name, s := range map[string]*store{"the same process": a, "another one": again} {
		out, err := recordOn(t, s, fact(1, 0, domain.KindApproved), at(0))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, out, comparePositions); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		reused := fact(1, 0, domain.KindApproved)
		reused.Amounts.Total = domain.Minor(1)
		if _, err := recordOn(t, s, reused, order.Terms{OneFact: true}); domain.KindOf(err) != domain.Exists {
			t.Errorf("%s, the same id with other content: %v", name, err)
		}
		reused = fact(1, 9, domain.KindChargeback)
		reused.Key = fact(1, 0, domain.KindApproved).Key
		if _, err := recordOn(t, s, reused, order.Terms{OneFact: true}); domain.KindOf(err) != domain.Exists {
			t.Errorf("%s, the same id with another kind: %v", name, err)
		}
	}
	wantSound(t, a, 2)
}

// TestLostAnswerIsFoundAgain takes the answer away from a request that was stored:
// the caller knows nothing, asks again on the same terms, and hears of its first success.
func TestLostAnswerIsFoundAgain(t *testing.T) {
	direct, remote, proxy := behindProxy(t, impatient)
	record(t, remote, fact(1, 0, domain.KindPending)) // its key and history are in memory
	proxy.HoldAnswers()
	failed := make(chan error, 1)
	go func() {
		_, err := remote.RecordOn(t.Context(), message(), fact(1, 1, domain.KindApproved), at(1))
		failed <- err
	}()
	awaitHead(t, direct, 2) // stored, and the answer is on hold
	proxy.Cut()             // and now lost
	if err := <-failed; domain.KindOf(err) != domain.Unavailable {
		t.Fatalf("without an answer: %v", err)
	}
	record(t, direct, fact(1, 2, domain.KindRefunded))
	out, err := direct.RecordOn(t.Context(), message(), fact(1, 1, domain.KindApproved), at(1))
	if err != nil || out.Verdict != domain.VerdictDuplicate || out.First != domain.VerdictApplied || out.Revision != 2 {
		t.Errorf("asked again: %+v, %v", out, err)
	}
	wantSound(t, direct, 3)
}

// TestOneOfManyOnARevision lets processes race for a revision, each with requests
// that come several times: one request of each revision is stored, once, and every
// repeat of it is told so.
func TestOneOfManyOnARevision(t *testing.T) {
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	writers := make([]*store, 3)
	for i := range writers {
		writers[i] = open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{Decisions: 1000})
	}
	const revisions, requests = 8, 4
	for revision := range uint64(revisions) {
		var mu sync.Mutex
		stored, answered := 0, map[domain.EventID]int{}
		var all sync.WaitGroup
		for i := range requests {
			for _, s := range writers { // every process gets every request
				all.Go(func() {
					out, err := s.RecordOn(t.Context(), message(), details(1, int(revision)*requests+i), at(revision))
					if stale, ok := errors.AsType[*order.StaleError](err); ok {
						if stale.Actual != revision+1 {
							t.Errorf("revision %d: stale at %d", revision, stale.Actual)
						}
						return
					}
					if err != nil || out.Revision != revision+1 {
						t.Errorf("revision %d: %+v, %v", revision, out, err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					answered[out.EventID]++
					if out.Verdict != domain.VerdictDuplicate {
						stored++
					}
				})
			}
		}
		all.Wait()
		if stored != 1 || len(answered) != 1 {
			t.Fatalf("revision %d: stored %d times, answered for %v", revision, stored, answered)
		}
		for _, n := range answered {
			if n != len(writers) {
				t.Errorf("revision %d: %d of %d processes were told", revision, n, len(writers))
			}
		}
	}
	wantSound(t, writers[0], revisions)
}
