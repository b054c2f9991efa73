package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// TestNilHistory shows that the nil history is a new order.
func TestNilHistory(t *testing.T) {
	var h *order.History
	if h.Revision() != 0 || h.OrderID() != "" || h.KeyID() != "" || !h.RecordedAt().IsZero() || h.MachineVersion() != 0 {
		t.Error("a new order has a past")
	}
	if _, ok := h.Event("x"); ok {
		t.Error("a new order has an event")
	}
	if _, ok := h.Verdict("x"); ok {
		t.Error("a new order has a verdict")
	}
	want := &order.State{MachineVersion: order.Version}
	if diff := cmp.Diff(want, order.Default().Fold(h)); diff != "" {
		t.Error(diff)
	}
}

// TestHistoryKeeps shows what the recorder asks of a history.
func TestHistoryKeeps(t *testing.T) {
	first := decide(t, nil, plain(domain.KindApproved, "a", 5), meta(minute(10))).Event
	first.KeyID = "key-1"
	h, err := (*order.History)(nil).With(&first)
	if err != nil {
		t.Fatal(err)
	}
	second := decide(t, h, plain(domain.KindPending, "b", 1), meta(minute(20))).Event
	second.KeyID = "key-2"
	if h, err = h.With(&second); err != nil {
		t.Fatal(err)
	}
	if h.Revision() != 2 || h.OrderID() != first.OrderID || h.KeyID() != "key-1" || !h.RecordedAt().Equal(minute(20)) || h.MachineVersion() != 1 {
		t.Errorf("revision %d, order %s, key %s, recorded %s, version %d",
			h.Revision(), h.OrderID(), h.KeyID(), h.RecordedAt(), h.MachineVersion())
	}
	for _, e := range []domain.Event{first, second} {
		revision, ok := h.Event(e.ID)
		verdict, found := h.Verdict(e.ID)
		if !ok || !found || revision != e.Revision || verdict != e.Verdict {
			t.Errorf("%s: revision %d, verdict %s; want %d, %s", e.ID, revision, verdict, e.Revision, e.Verdict)
		}
	}
}

// TestWithRefuses shows that a log which does not hold together makes no history.
func TestWithRefuses(t *testing.T) {
	d := decide(t, nil, plain(domain.KindApproved, "a", 5), meta(later))
	next := decide(t, d.History, plain(domain.KindRefunded, "b", 6), meta(later)).Event
	for name, change := range map[string]func(*domain.Event){
		"a hole in the revisions": func(e *domain.Event) { e.Revision = 3 },
		"a revision twice":        func(e *domain.Event) { e.Revision = 1 },
		"another order":           func(e *domain.Event) { e.OrderID = "ord_x" },
		"an event twice":          func(e *domain.Event) { e.ID = d.Event.ID },
		"no kind":                 func(e *domain.Event) { e.Fact.Kind = domain.KindUnknown },
		"an unknown kind":         func(e *domain.Event) { e.Fact.Kind = domain.KindCount },
		"a word without words":    func(e *domain.Event) { e.Fact.Kind = domain.KindResolved },
		"words without a word":    func(e *domain.Event) { e.Fact.Resolution = &domain.Resolution{} },
	} {
		e := next
		change(&e)
		if _, err := d.History.With(&e); err == nil || domain.KindOf(err) != domain.Corrupt {
			t.Errorf("%s: error %v, want one of kind corrupt", name, err)
		}
	}
	if _, err := d.History.With(&next); err != nil {
		t.Errorf("and the event itself: %v", err)
	}
}

// TestHistoryIsImmutable grows two histories from one: neither sees the other's fact.
func TestHistoryIsImmutable(t *testing.T) {
	m := order.Default()
	trunk := decide(t, nil, plain(domain.KindPending, "a", 5), meta(later)).History
	before := m.Fold(trunk)
	paid := decide(t, trunk, plain(domain.KindApproved, "b", 6), meta(later))
	refused := decide(t, trunk, plain(domain.KindRefused, "c", 4), meta(later))
	if diff := cmp.Diff(before, m.Fold(trunk)); diff != "" {
		t.Errorf("the trunk changed:\n%s", diff)
	}
	if got := m.Fold(paid.History).Status; got != domain.StatusApproved {
		t.Errorf("one branch is %s", got)
	}
	if got := m.Fold(refused.History).Status; got != domain.StatusPending {
		t.Errorf("the other branch is %s", got)
	}
}

// TestClocksAreStripped shows that a receipt with a monotonic reading sorts as it
// will when it comes back from the log.
func TestClocksAreStripped(t *testing.T) {
	now := time.Now() // of the real clock, because only it has such a reading
	fact := plain(domain.KindDetails, "a", 0)
	fact.OccurredAt = time.Time{}
	d := decide(t, nil, fact, order.Meta{Tenant: "loja", Source: "loja-aprovei", ReceivedAt: now, Now: now})
	for name, got := range map[string]time.Time{
		"effective": d.Event.EffectiveAt, "received": d.Event.ReceivedAt, "recorded": d.Event.RecordedAt, "updated": d.After.UpdatedAt,
	} {
		if got != now.UTC().Round(0) {
			t.Errorf("%s: %#v", name, got)
		}
	}
}

// TestDecisionsFold shows, for random facts in random order with repeats and
// operators' words, that the event of a decision, stored, folds to the state
// that was decided; that the state before it is the fold without it; that every
// event passes Check; and that deciding the facts of one set in another order ends
// in the same status, conflicts and attention.
func TestDecisionsFold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := order.Default()
		var h *order.History
		facts := rapid.SliceOfN(rapid.Custom(drawFact), 1, 9).Draw(t, "facts")
		for i := range facts {
			fact, received := facts[i].fact, facts[i].received
			d, err := m.Decide(h, fact, meta(received))
			if err != nil {
				t.Fatal(err)
			}
			wantFolds(t, h, &d)
			if d.Event.Verdict == domain.VerdictDuplicate {
				continue
			}
			h = d.History
			if word := drawWord(t, i, d.Event.ID); word != nil {
				if d, err = m.Decide(h, *word, meta(later)); err == nil {
					wantFolds(t, h, &d)
					h = d.History
				} else if domain.KindOf(err) != domain.Refused {
					t.Fatal(err)
				}
			}
		}
	})
}

func wantFolds(t *rapid.T, h *order.History, d *order.Decision) {
	t.Helper()
	m := order.Default()
	if diff := cmp.Diff(m.Fold(h), d.Before); diff != "" {
		t.Fatalf("before: fold (-), decision (+):\n%s", diff)
	}
	if d.Event.Verdict == domain.VerdictDuplicate {
		return
	}
	next, err := h.With(&d.Event)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m.Fold(next), d.After); diff != "" {
		t.Fatalf("after: fold (-), decision (+):\n%s", diff)
	}
	if diff := cmp.Diff(m.Fold(d.History), d.After); diff != "" {
		t.Fatalf("history: fold (-), decision (+):\n%s", diff)
	}
	if err := m.Check(h, &d.Event); err != nil {
		t.Fatal(err)
	}
}

type delivery struct {
	fact     domain.Fact
	received time.Time
}

func drawFact(t *rapid.T) delivery {
	kind := domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindFlagged)).Draw(t, "kind"))
	fact := plain(kind, fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "key")), rapid.IntRange(0, 4).Draw(t, "at"))
	d := delivery{fact: fact, received: minute(rapid.IntRange(0, 6).Draw(t, "received"))}
	if rapid.IntRange(0, 3).Draw(t, "undated") == 0 {
		d.fact.OccurredAt = time.Time{}
	}
	d.fact.Inferred = rapid.IntRange(0, 4).Draw(t, "inferred") == 0
	d.fact.Payment.PaymentID = rapid.SampledFrom([]string{"", "p1", "p2"}).Draw(t, "payment")
	d.fact.Amounts.Currency = rapid.SampledFrom([]string{"", "BRL", "USD"}).Draw(t, "currency")
	amounts := rapid.SampledFrom([]domain.Amount{{}, {}, domain.Minor(0), domain.Minor(50), domain.Minor(100)})
	d.fact.Amounts.Total = amounts.Draw(t, "total")
	d.fact.Amounts.Paid = amounts.Draw(t, "paid")
	d.fact.Amounts.Refunded = amounts.Draw(t, "refunded")
	d.fact.Amounts.Refund = amounts.Draw(t, "refund")
	d.fact.Reason = rapid.SampledFrom([]domain.Reason{"", "void", "expired", "blocked"}).Draw(t, "reason")
	d.fact.Reference = rapid.SampledFrom([]string{"", "EX1", "EX2"}).Draw(t, "reference")
	return d
}

func drawWord(t *rapid.T, i int, event domain.EventID) *domain.Fact {
	action := rapid.SampledFrom([]domain.ResolutionAction{
		"", "", domain.ActionAccept, domain.ActionReject, domain.ActionReopen,
	}).Draw(t, "action")
	if action == "" {
		return nil
	}
	word := plain(domain.KindResolved, fmt.Sprint("word", i), 0)
	word.OccurredAt = time.Time{}
	word.Resolution = &domain.Resolution{Event: event, Action: action}
	if action != domain.ActionReject {
		word.Detail = rapid.SampledFrom([]string{"", order.AttentionHeldBack, order.AttentionOverpaid}).Draw(t, "item")
	}
	return &word
}

// TestCheck changes each field of a stored event that the machine decides: Check
// must name it.
func TestCheck(t *testing.T) {
	m := order.Default()
	a := decide(t, nil, plain(domain.KindApproved, "a", 1), meta(later))
	b := decide(t, a.History, plain(domain.KindPending, "b", 9), meta(later))
	c := decide(t, b.History, plain(domain.KindCancelled, "c", 5), meta(later)).Event
	if err := m.Check(b.History, &c); err != nil {
		t.Fatal(err)
	}
	for field, change := range map[string]func(*domain.Event){
		"verdict":       func(e *domain.Event) { e.Verdict = domain.VerdictNoted },
		"event_id":      func(e *domain.Event) { e.ID = "x" },
		"order_id":      func(e *domain.Event) { e.OrderID = "x" },
		"revision":      func(e *domain.Event) { e.Revision = 4 },
		"kind":          func(e *domain.Event) { e.Fact.Reason = domain.ReasonExpired },
		"status_from":   func(e *domain.Event) { e.From = domain.StatusPending },
		"status_to":     func(e *domain.Event) { e.To = domain.StatusCancelled },
		"why":           func(e *domain.Event) { e.Why = order.WhyNoEdge },
		"correction":    func(e *domain.Event) { e.Correction = false },
		"path":          func(e *domain.Event) { e.Path = e.Path[:1] },
		"gap":           func(e *domain.Event) { e.Gap = true },
		"money_changed": func(e *domain.Event) { e.MoneyChanged = true },
		"opens":         func(e *domain.Event) { e.Opens = e.Closes },
		"closes":        func(e *domain.Event) { e.Closes = nil },
		"effective_at":  func(e *domain.Event) { e.EffectiveAt = minute(6) },
		"time_inferred": func(e *domain.Event) { e.TimeInferred = true },
		"recorded_at":   func(e *domain.Event) { e.RecordedAt = minute(0) },
		"digest":        func(e *domain.Event) { e.Digest[0]++ },
	} {
		e := c
		change(&e)
		err := m.Check(b.History, &e)
		if err == nil || domain.KindOf(err) != domain.Corrupt {
			t.Errorf("a change of %s: error %v, want one of kind corrupt", field, err)
		}
	}
	c.MachineVersion = 2
	if err := m.Check(b.History, &c); err == nil || domain.KindOf(err) != domain.Invalid {
		t.Errorf("another version: %v, want invalid", err)
	}
}

// TestEnteredNeverGoesBack shows when the steps of a fold are taken: the refund
// that becomes complete when the sale is cancelled is of before that.
func TestEnteredNeverGoesBack(t *testing.T) {
	paid, refund := plain(domain.KindApproved, "a", 1), plain(domain.KindPartiallyRefunded, "r", 2)
	paid.Amounts.Paid, refund.Amounts.Refunded = domain.Minor(100), domain.Minor(100)
	var h *order.History
	var events []domain.Event
	for i, fact := range []domain.Fact{plain(domain.KindCancelled, "c", 7), refund, paid} {
		d := decide(t, h, fact, meta(minute(10+i)))
		h, events = d.History, append(events, d.Event)
	}
	path := order.Default().Fold(h).Path
	if len(path) != 3 || path[2].Why != order.WhyRefundComplete || path[2].Event != events[1].ID {
		t.Fatalf("approved, cancelled and the refund complete: %v", path)
	}
	want := []time.Time{minute(1), minute(7), minute(7)}
	if diff := cmp.Diff(want, h.Entered(path)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	path[0].Event = "of another order"
	if got := h.Entered(path); !got[0].IsZero() || !got[1].Equal(want[1]) {
		t.Errorf("of an event that it does not have: %v", got)
	}
	if got := (*order.History)(nil).Entered(path); got != nil {
		t.Errorf("of a new order: %v", got)
	}
}
