package order_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// history is of facts that were decided in this order.
func decided(tb testing.TB, facts ...domain.Fact) *order.History {
	tb.Helper()
	var h *order.History
	for _, f := range facts {
		h = decide(tb, h, f, meta(later)).History
	}
	return h
}

func revision(n uint64) order.Terms { return order.Terms{Revision: &n} }

// TestDecideOn gives a refunded order facts on terms.
func TestDecideOn(t *testing.T) {
	paid := plain(domain.KindApproved, "paid", 1)
	back := plain(domain.KindRefunded, "back", 2)
	h := decided(t, paid, back)
	other := paid
	other.Reference = "EX1"
	voided := plain(domain.KindCancelled, "gone", 1)
	voided.Reason = domain.ReasonExpired
	words := plain(domain.KindResolved, "word", 3)
	words.Resolution = &domain.Resolution{Event: "aaaaaaaaaaaaaaaaaaaaaaaaaa", Action: domain.ActionReject}
	nameless := plain(domain.KindApproved, "", 3)
	for name, c := range map[string]struct {
		fact  domain.Fact
		terms order.Terms
		want  domain.ErrorKind // Internal: it is decided
	}{
		"legal":                                       {plain(domain.KindChargeback, "k", 3), order.Terms{}, domain.Internal},
		"legal at the revision that it has":           {plain(domain.KindChargeback, "k", 3), revision(2), domain.Internal},
		"legal at another revision":                   {plain(domain.KindChargeback, "k", 3), revision(1), domain.Stale},
		"legal on a new order":                        {plain(domain.KindChargeback, "k", 3), revision(0), domain.Stale},
		"refused":                                     {plain(domain.KindApproved, "k", 3), revision(2), domain.Refused},
		"refused now, legal in its time":              {plain(domain.KindPending, "k", 0), order.Terms{}, domain.Internal},
		"refused in its time":                         {plain(domain.KindPending, "k", 2), order.Terms{}, domain.Refused},
		"refused, and at another revision":            {plain(domain.KindApproved, "k", 3), revision(1), domain.Stale},
		"stored before":                               {paid, order.Terms{}, domain.Internal},
		"stored before, at a revision before it":      {paid, revision(0), domain.Internal},
		"another fact of the same key":                {other, order.Terms{OneFact: true}, domain.Exists},
		"another fact of the same key, as of a codec": {other, order.Terms{}, domain.Internal},
		"another kind of the same key":                {plain(domain.KindChargeback, "paid", 3), order.Terms{OneFact: true}, domain.Exists},
		"another kind of the same key, not legal":     {plain(domain.KindPending, "back", 3), order.Terms{Revision: new(uint64(1)), OneFact: true}, domain.Exists},
		"a kind that is stored as another":            {voided, order.Terms{}, domain.Internal},
		"a word that is not legal":                    {words, revision(2), domain.Refused},
		"a word that is not legal, at another":        {words, revision(1), domain.Stale},
		"no fact at all, whatever the revision is":    {nameless, revision(1), domain.Invalid},
		"a second attempt, which is not a conflict":   {attempt(plain(domain.KindRefused, "k", 3)), order.Terms{}, domain.Internal},
	} {
		d, err := order.Default().DecideOn(h, c.fact, meta(later), c.terms)
		if got := domain.KindOf(err); got != c.want || (err == nil) != (c.want == domain.Internal) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err == nil && d.Event.ID == "" {
			t.Errorf("%s: nothing was decided", name)
		}
	}
	if d, err := order.Default().DecideOn(nil, paid, meta(later), revision(0)); err != nil || d.Event.Revision != 1 {
		t.Errorf("a new order: %v", err)
	}
}

func attempt(f domain.Fact) domain.Fact {
	f.Payment.PaymentID = "p2"
	return f
}

// TestRefusalSaysWhatIsLegalThen refuses a fact between two that moved the order.
func TestRefusalSaysWhatIsLegalThen(t *testing.T) {
	h := decided(t, plain(domain.KindApproved, "paid", 1), plain(domain.KindChargeback, "disputed", 5))
	_, err := order.Default().DecideOn(h, plain(domain.KindRefused, "k", 3), meta(later), order.Terms{})
	refused, ok := errors.AsType[*order.RefusedError](err)
	if !ok {
		t.Fatalf("error = %v", err)
	}
	want := &order.RefusedError{
		Order: h.OrderID(), Kind: domain.KindRefused, At: minute(3), Then: domain.StatusApproved, Now: domain.StatusChargeback,
		Why: order.WhyContradicts, Legal: []domain.Kind{
			domain.KindStarted, domain.KindAbandoned, domain.KindCancelled, domain.KindExpired, domain.KindApproved,
			domain.KindRefundRequested, domain.KindPartiallyRefunded, domain.KindRefunded, domain.KindChargeback, domain.KindChargebackReversed,
		},
	}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = order.Default().DecideOn(h, plain(domain.KindRefused, "k", 3), meta(later), revision(9))
	if stale, ok := errors.AsType[*order.StaleError](err); !ok || stale.Expected != 9 || stale.Actual != 2 {
		t.Errorf("error = %v", err)
	}
}

// TestTermsChangeNoDecision holds what is stored on terms to what Decide makes of the
// same fact, what is refused to a conflict in Decide's fold, and an explanation to
// the fold, of any history.
func TestTermsChangeNoDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := order.Default()
		var h *order.History
		facts := rapid.SliceOfN(rapid.Custom(drawFact), 1, 9).Draw(t, "facts")
		for i := range facts {
			fact, received := facts[i].fact, facts[i].received
			plainly, err := m.Decide(h, fact, meta(received))
			if err != nil {
				t.Fatal(err)
			}
			d, err := m.DecideOn(h, fact, meta(received), revision(h.Revision()))
			conflict := slices.Contains(plainly.After.Conflicts, plainly.Event.ID) && plainly.Event.Verdict != domain.VerdictDuplicate
			switch kind := domain.KindOf(err); {
			case err == nil:
				if diff := cmp.Diff(plainly.Event, d.Event); diff != "" || conflict {
					t.Fatalf("conflict %v, decided on terms (-plainly +on terms):\n%s", conflict, diff)
				}
			case kind == domain.Refused && !conflict, kind != domain.Refused && kind != domain.Exists:
				t.Fatal(err)
			}
			if plainly.Event.Verdict == domain.VerdictDuplicate {
				continue
			}
			h = plainly.History
			if word := drawWord(t, i, plainly.Event.ID); word != nil {
				if d, err = m.Decide(h, *word, meta(later)); err == nil {
					h = d.History
				}
			}
			wantExplained(t, h)
		}
	})
}

func wantExplained(t *rapid.T, h *order.History) {
	state, explained := order.Default().Fold(h), order.Default().Explain(h)
	status := domain.StatusNone
	var conflicts, held []domain.EventID
	var path []domain.EventID
	for i, x := range explained {
		if x.Before != status {
			t.Fatalf("fact %d begins at %s, the one before ended at %s", i, x.Before, status)
		}
		status = x.After
		switch x.Part {
		case order.PartConflict:
			conflicts = append(conflicts, x.Event)
		case order.PartHeldBack:
			held = append(held, x.Event)
		case order.PartMoved, order.PartForced:
			if x.Before != x.After {
				path = append(path, x.Event)
			}
		case order.PartNoted:
			if x.Why == "" || x.Before != x.After {
				t.Fatalf("fact %d is noted: %+v", i, x)
			}
		case order.PartRejected, order.PartSuperseded:
		default:
			t.Fatalf("fact %d has no part: %+v", i, x)
		}
	}
	for _, x := range explained {
		if x.Completes {
			status, path = domain.StatusRefunded, append(path, x.Event)
		}
	}
	steps := make([]domain.EventID, 0, len(state.Path))
	for _, s := range state.Path {
		steps = append(steps, s.Event)
	}
	if len(explained) != int(h.Revision()) || status != state.Status || !slices.Equal(conflicts, state.Conflicts) || !slices.Equal(held, state.HeldBack) || !slices.Equal(path, steps) {
		t.Fatalf("explained %+v\nof %+v", explained, state)
	}
}

// TestExplain names each part.
func TestExplain(t *testing.T) {
	undated := plain(domain.KindCancelled, "undated", 0)
	undated.OccurredAt = time.Time{}
	h := decided(t, plain(domain.KindApproved, "a", 1), plain(domain.KindRefused, "b", 2), plain(domain.KindDetails, "c", 3), undated)
	conflict := domain.NewEventID("loja-aprovei", h.OrderID(), domain.KindRefused, "b")
	type part struct{ Part, Why string }
	parts := func() (out []part) {
		for _, x := range order.Default().Explain(h) {
			out = append(out, part{x.Part, x.Why})
		}
		return out
	}
	want := []part{
		{order.PartMoved, ""},
		{order.PartConflict, order.WhyContradicts},
		{order.PartNoted, order.WhyNotStatus},
		{order.PartHeldBack, order.WhyHeldBack},
	}
	if diff := cmp.Diff(want, parts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for i, action := range []domain.ResolutionAction{domain.ActionAccept, domain.ActionReject} {
		word, m := plain(domain.KindResolved, string(action), 200+i), meta(later.Add(time.Duration(i+1)*time.Hour))
		resolving(conflict, action, "")(&word, &m)
		h = decide(t, h, word, m).History
		want[1] = part{[]string{order.PartForced, order.PartRejected}[i], ""}
		got := parts()
		if got[1] != want[1] {
			t.Errorf("after %s: %v, want %v", action, got[1], want[1])
		}
	}
	if order.Default().Explain(nil) != nil {
		t.Error("no history has an explanation")
	}
}
