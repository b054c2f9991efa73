package proof_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// pair is the machine and the oracle, told the same.
type pair struct {
	machine *order.Machine
	history *order.History
	records []record
	now     time.Time
}

func newPair() *pair { return &pair{machine: order.Default(), now: clock} }

// decide tells the machine of a, and the oracle if the machine takes it.
func (p *pair) decide(a arrival) (order.Decision, error) {
	d, err := p.machine.Decide(p.history, a.fact, metaOf(a, p.now))
	if err == nil && d.Event.Verdict != domain.VerdictDuplicate {
		p.records = append(p.records, recordOf(a, p.now))
		p.history = d.History
		p.now = p.now.Add(time.Minute)
	}
	return d, err
}

// ids is the ids of what is stored: operators' words too.
func (p *pair) ids() []domain.EventID {
	ids := make([]domain.EventID, 0, len(p.records))
	for _, r := range p.records {
		ids = append(ids, r.id)
	}
	return ids
}

// TestOracle holds every decision on random histories, operators' words among
// them, to the oracle's.
func TestOracle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newPair()
		arrivals := drawArrivals(t, 8)
		for i, a := range arrivals {
			p.wantDecision(t, a)
			if rapid.IntRange(0, 3).Draw(t, "repeat") == 0 {
				p.wantDecision(t, later(arrivals[rapid.IntRange(0, i).Draw(t, "again")]))
			}
			if rapid.IntRange(0, 2).Draw(t, "operator") == 0 {
				p.wantWord(t, drawWord(t, "w"+a.fact.Key, p.ids()))
			}
		}
	})
}

// known reports whether a is a duplicate of what the oracle knows.
func (p *pair) known(a arrival) bool {
	r := recordOf(a, p.now)
	return slices.ContainsFunc(p.records, func(o record) bool { return o.id == r.id }) || (a.fact.Inferred && realKnown(p.records, &r))
}

func (p *pair) wantDecision(t *rapid.T, a arrival) {
	before, known := p.records, p.known(a)
	d, err := p.decide(a)
	if err != nil {
		t.Fatalf("decide %v: %v", a, err)
	}
	if (d.Event.Verdict == domain.VerdictDuplicate) != known {
		t.Fatalf("%v is %s; known: %v", a, d.Event.Verdict, known)
	}
	if known {
		p.wantView(t, "duplicate", d.After)
		return
	}
	p.wantEvent(t, &d, before, recordOf(a, d.Event.RecordedAt))
}

// wantWord says an operator's word; where DESIGN says whether it is legal, the machine must agree.
func (p *pair) wantWord(t *rapid.T, a arrival) {
	before := p.records
	now, event := reference(before), a.fact.Resolution.Event
	legal := true
	switch a.fact.Resolution.Action {
	case domain.ActionAccept:
		legal = slices.Contains(now.Conflicts, event) || slices.Contains(now.HeldBack, event)
	case domain.ActionReopen:
		if w := lastWords(before)[event]; w != domain.ActionAccept && w != domain.ActionReject {
			return // nothing to reopen: DESIGN does not say
		}
	case domain.ActionReject:
	}
	d, err := p.decide(a)
	if legal != (err == nil) || (err != nil && domain.KindOf(err) != domain.Refused) {
		t.Fatalf("%v: %v, want legal %v", a, err, legal)
	}
	if legal {
		p.wantEvent(t, &d, before, recordOf(a, d.Event.RecordedAt))
	}
}

// wantView holds a state to the oracle's.
func (p *pair) wantView(t *rapid.T, what string, s *order.State) {
	if diff := cmp.Diff(reference(p.records), viewOf(s), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%s: oracle (-), machine (+):\n%s", what, diff)
	}
}

// wantEvent holds a stored decision to the oracle's: the record of what r did
// when it was added to before.
func (p *pair) wantEvent(t *rapid.T, d *order.Decision, before []record, r record) {
	p.wantView(t, "after", d.After)
	p.wantView(t, "fold", p.machine.Fold(p.history))
	was := reference(before)
	is, acted := refold(p.records)
	type facts struct {
		ID            domain.EventID
		Revision      uint64
		Kind          domain.Kind
		From, To      domain.Status
		Verdict       domain.Verdict
		At            time.Time
		Inferred      bool
		Opens, Closes []domain.EventID
		Correction    bool
	}
	want := facts{
		ID: r.id, Revision: uint64(len(p.records)), Kind: r.fact.Kind, From: was.Status, To: is.Status,
		Verdict: verdict(before, &was, &is, &r), At: r.at, Inferred: r.inferred,
		Opens: minus(is.Conflicts, was.Conflicts), Closes: minus(was.Conflicts, is.Conflicts),
		Correction: was.Status != is.Status && !ownCell(was.Status, is.Status, acted[r.id]),
	}
	e := &d.Event
	got := facts{
		ID: e.ID, Revision: e.Revision, Kind: e.Fact.Kind, From: e.From, To: e.To, Verdict: e.Verdict, At: e.EffectiveAt,
		Inferred: e.TimeInferred, Opens: sortedIDs(e.Opens), Closes: sortedIDs(e.Closes), Correction: e.Correction,
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("event of %s at %s: oracle (-), machine (+):\n%s", r.fact.Kind, r.at.Format("15:04"), diff)
	}
	if (was.Paid != is.Paid || was.Refunded != is.Refunded) && !e.MoneyChanged {
		t.Fatalf("money changed from %v, %v to %v, %v and the event does not say so", was.Paid, was.Refunded, is.Paid, is.Refunded)
	}
}

// verdict is what r did when it was recorded.
func verdict(before []record, was, is *view, r *record) domain.Verdict {
	switch {
	case was.Status != is.Status:
		return domain.VerdictApplied
	case slices.Contains(is.Conflicts, r.id):
		return domain.VerdictConflict
	case slices.ContainsFunc(before, func(o record) bool { return o.fact.Kind.Moves() && o.at.After(r.at) }):
		return domain.VerdictLate
	default:
		return domain.VerdictNoted
	}
}

// ownCell reports whether the cell of (status before, kind) gives the status after.
func ownCell(before, after domain.Status, kind domain.Kind) bool {
	if !kind.Moves() {
		return false
	}
	c := cellOf(before, kind)
	if c.rule == settles {
		return after == domain.StatusApproved || after == domain.StatusRefunded || after == domain.StatusCancelled
	}
	return c.rule != stays && c.rule != refuses && c.to == after
}

func minus(a, b []domain.EventID) []domain.EventID {
	return sortedIDs(slices.DeleteFunc(slices.Clone(a), func(id domain.EventID) bool { return slices.Contains(b, id) }))
}
