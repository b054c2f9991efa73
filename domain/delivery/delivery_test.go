package delivery_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

func TestScheduleIsTheContracts(t *testing.T) {
	s := delivery.DefaultSchedule()
	var got []string
	for failed := range len(s) + 1 {
		wait, again := s.After(failed, 0.5, 0)
		if !again {
			got = append(got, "dead")
			continue
		}
		got = append(got, wait.String())
	}
	want := []string{"0s", "5s", "30s", "5m0s", "30m0s", "2h0m0s", "5h0m0s", "10h0m0s", "14h0m0s", "20h0m0s", "24h0m0s", "dead"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("waits after n failures (-want +got):\n%s", diff)
	}
}

func TestScheduleAfter(t *testing.T) {
	s := delivery.Schedule{0, 100 * time.Second}
	for _, tc := range []struct {
		name   string
		failed int
		random float64
		asked  time.Duration
		want   time.Duration
		again  bool
	}{
		{"least jitter", 1, 0, 0, 80 * time.Second, true},
		{"no jitter", 1, 0.5, 0, 100 * time.Second, true},
		{"asked for less than the schedule", 1, 0.5, time.Second, 100 * time.Second, true},
		{"asked for more", 1, 0.5, time.Hour, time.Hour, true},
		{"asked for too much", 1, 0.5, 1000 * time.Hour, delivery.MaxRetryAfter, true},
		{"asking makes no attempt more", 2, 0.5, time.Hour, 0, false},
		{"first", 0, 0.9, 0, 0, true},
		{"negative", -1, 0.5, 0, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, again := s.After(tc.failed, tc.random, tc.asked)
			if got != tc.want || again != tc.again {
				t.Errorf("After = %v, %v; want %v, %v", got, again, tc.want, tc.again)
			}
		})
	}
}

func TestJitterStaysWithinTwentyPercent(t *testing.T) {
	s := delivery.DefaultSchedule()
	rapid.Check(t, func(t *rapid.T) {
		failed := rapid.IntRange(0, len(s)-1).Draw(t, "failed")
		random := rapid.Float64Range(0, 0.999999).Draw(t, "random")
		got, again := s.After(failed, random, 0)
		least, most := s[failed]*8/10, s[failed]*12/10
		if !again || got < least-1 || got > most {
			t.Fatalf("After(%d, %v) = %v, %v; want within %v to %v", failed, random, got, again, least, most)
		}
	})
}

func TestOutcomeSurvivesTheTripThroughAnError(t *testing.T) {
	for _, o := range []delivery.Outcome{
		{Kind: delivery.OK},
		{Kind: delivery.Skipped, Reason: "superseded"},
		{Kind: delivery.Retry, Reason: "status", Detail: "503", After: time.Minute},
		{Kind: delivery.Final, Reason: "rejected", Detail: "trace 1"},
		{Kind: delivery.Disable, Reason: "gone"},
	} {
		err := o.Err()
		if (err == nil) != (o.Kind == delivery.OK) {
			t.Errorf("%v: error %v", o, err)
		}
		if err != nil {
			err = fmt.Errorf("publish: %w", err)
		}
		if diff := cmp.Diff(o, delivery.OutcomeOf(err)); diff != "" {
			t.Errorf("%v (-want +got):\n%s", o, diff)
		}
	}
	unknown := delivery.OutcomeOf(errors.New("maria@example.com said no"))
	if unknown.Kind != delivery.Retry || strings.Contains(unknown.Detail+unknown.Reason, "maria") {
		t.Errorf("an error of nobody's: %+v, want a retry without its text", unknown)
	}
	var zero delivery.Outcome
	if zero.Kind.Done() || zero.Kind != delivery.Retry {
		t.Error("an outcome that nobody set counts as done")
	}
}

func TestParseFilter(t *testing.T) {
	for _, tc := range []struct {
		patterns []string
		match    []string
		not      []string
	}{
		{[]string{"order.*"}, []string{"order.approved", "order.money_changed", "order.none"}, []string{"fact.shipping"}},
		{[]string{"order.approved", "order.refunded"}, []string{"order.approved", "order.refunded"}, []string{"order.pending", "order.money_changed"}},
		{[]string{"fact.*"}, []string{"fact.shipping", "fact.approved"}, []string{"order.approved"}},
		{[]string{"*"}, []string{"order.approved", "fact.details"}, nil},
		{nil, nil, []string{"order.approved", "fact.details", ""}},
	} {
		f, err := delivery.ParseFilter(tc.patterns)
		if err != nil {
			t.Fatalf("%q: %v", tc.patterns, err)
		}
		for _, m := range tc.match {
			if !f.Match(m) {
				t.Errorf("%q does not match %q", tc.patterns, m)
			}
		}
		for _, m := range tc.not {
			if f.Match(m) {
				t.Errorf("%q matches %q", tc.patterns, m)
			}
		}
		if f.IsZero() != (len(tc.patterns) == 0) {
			t.Errorf("%q: IsZero %v", tc.patterns, f.IsZero())
		}
	}
}

func TestParseFilterNamesEveryMistake(t *testing.T) {
	_, err := delivery.ParseFilter([]string{"order.paid", "order.*", "refunded", "fact.unknown", "", "order."})
	if domain.KindOf(err) != domain.Invalid {
		t.Fatalf("error %v, want an Invalid one", err)
	}
	for _, bad := range []string{`"order.paid"`, `"refunded"`, `"fact.unknown"`, `""`, `"order."`} {
		if !strings.Contains(err.Error(), bad) {
			t.Errorf("error %q does not name %s", err, bad)
		}
	}
	if strings.Contains(err.Error(), `"order.*" is`) {
		t.Errorf("error %q names a good pattern", err)
	}
}

// step is one event of an order in a table.
type step struct {
	verdict    domain.Verdict
	kind       domain.Kind
	to         domain.Status
	correction bool
	money      bool
}

func history(steps []step) []domain.Recorded {
	out := make([]domain.Recorded, len(steps))
	from := domain.StatusNone
	for i, s := range steps {
		to := from
		if s.verdict == domain.VerdictApplied {
			to = s.to
		}
		out[i] = domain.Recorded{Sequence: uint64(10 + 3*i), Event: domain.Event{
			ID: domain.EventID(fmt.Sprintf("e%d", i+1)), OrderID: "ord_x", Tenant: "loja", Revision: uint64(i + 1),
			Fact: domain.Fact{Kind: s.kind}, Verdict: s.verdict, From: from, To: to, Correction: s.correction, MoneyChanged: s.money,
		}}
		from = to
	}
	return out
}

func rules(tb testing.TB, patterns ...string) delivery.Rules {
	tb.Helper()
	f, err := delivery.ParseFilter(patterns)
	if err != nil {
		tb.Fatal(err)
	}
	return delivery.Rules{Tenant: "loja", Filter: f}
}

// told writes what an endpoint is told as "type@revision<previous".
func told(r delivery.Rules, events []domain.Recorded) []string {
	var c delivery.Chain
	var out []string
	for i := range events {
		previous := c.Told
		var typ string
		c, typ = r.Next(c, &events[i])
		if typ != "" {
			out = append(out, fmt.Sprintf("%s@%d<%d", typ, events[i].Event.Revision, previous))
		}
	}
	return out
}

func TestWhatAnEndpointIsTold(t *testing.T) {
	const (
		applied, noted, late = domain.VerdictApplied, domain.VerdictNoted, domain.VerdictLate
		conflict             = domain.VerdictConflict
	)
	sale := []step{
		{verdict: applied, kind: domain.KindPending, to: domain.StatusPending},
		{verdict: applied, kind: domain.KindApproved, to: domain.StatusApproved},
		{verdict: noted, kind: domain.KindShipping},
		{verdict: applied, kind: domain.KindRefunded, to: domain.StatusRefunded},
	}
	for _, tc := range []struct {
		name     string
		patterns []string
		steps    []step
		want     []string
	}{
		{"everything that moved", []string{"order.*"}, sale, []string{"order.pending@1<0", "order.approved@2<1", "order.refunded@4<2"}},
		{"a sparse filter has no holes in its chain", []string{"order.pending", "order.refunded"}, sale, []string{"order.pending@1<0", "order.refunded@4<1"}},
		{"opt-in to facts", []string{"fact.shipping"}, sale, []string{"fact.shipping@3<0"}},
		{"nothing asked for", nil, sale, nil},
		{
			"money without movement",
			[]string{"order.*"},
			[]step{
				{verdict: applied, kind: domain.KindApproved, to: domain.StatusApproved, money: true},
				{verdict: noted, kind: domain.KindPartiallyRefunded, money: true},
				{verdict: noted, kind: domain.KindPartiallyRefunded},
				{verdict: late, kind: domain.KindApproved, money: true},
				{verdict: conflict, kind: domain.KindPending, money: true},
				{verdict: conflict, kind: domain.KindPending},
			},
			[]string{"order.approved@1<0", "order.money_changed@2<1", "order.money_changed@4<2", "order.money_changed@5<4"},
		},
		{
			"money asked for by the fact's name",
			[]string{"fact.partially_refunded"},
			[]step{{verdict: noted, kind: domain.KindPartiallyRefunded, money: true}},
			[]string{"fact.partially_refunded@1<0"},
		},
		{
			"a correction leaves what it was told",
			[]string{"order.approved"},
			[]step{
				{verdict: applied, kind: domain.KindApproved, to: domain.StatusApproved},
				{verdict: applied, kind: domain.KindRefunded, to: domain.StatusRefunded, correction: true},
				{verdict: applied, kind: domain.KindChargeback, to: domain.StatusChargeback},
			},
			[]string{"order.approved@1<0", "order.refunded@2<1"},
		},
		{
			"and the next one leaves what the first told",
			[]string{"order.approved"},
			[]step{
				{verdict: applied, kind: domain.KindApproved, to: domain.StatusApproved},
				{verdict: applied, kind: domain.KindRefunded, to: domain.StatusRefunded, correction: true},
				{verdict: applied, kind: domain.KindChargeback, to: domain.StatusChargeback, correction: true},
			},
			[]string{"order.approved@1<0", "order.refunded@2<1", "order.chargeback@3<2"},
		},
		{
			"a correction of what it was never told",
			[]string{"order.approved"},
			[]step{
				{verdict: applied, kind: domain.KindPending, to: domain.StatusPending},
				{verdict: applied, kind: domain.KindCancelled, to: domain.StatusCancelled, correction: true},
			},
			nil,
		},
		{
			"a correction from a status it was not told, though it was told an earlier one",
			[]string{"order.pending"},
			[]step{
				{verdict: applied, kind: domain.KindPending, to: domain.StatusPending},
				{verdict: applied, kind: domain.KindApproved, to: domain.StatusApproved},
				{verdict: applied, kind: domain.KindRefunded, to: domain.StatusRefunded, correction: true},
			},
			[]string{"order.pending@1<0"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := told(rules(t, tc.patterns...), history(tc.steps))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnotherTenantIsToldNothing(t *testing.T) {
	r := rules(t, "*")
	r.Tenant = "outra"
	events := history([]step{{verdict: domain.VerdictApplied, kind: domain.KindApproved, to: domain.StatusApproved}})
	if got := told(r, events); got != nil {
		t.Errorf("told %q", got)
	}
}

func TestChainBeforeSkipsWhatLiesBeforeTheEndpoint(t *testing.T) {
	events := history([]step{
		{verdict: domain.VerdictApplied, kind: domain.KindPending, to: domain.StatusPending},
		{verdict: domain.VerdictApplied, kind: domain.KindApproved, to: domain.StatusApproved},
		{verdict: domain.VerdictApplied, kind: domain.KindRefunded, to: domain.StatusRefunded},
	})
	r := rules(t, "order.*")
	for _, tc := range []struct {
		revision, since uint64
		want            delivery.Chain
	}{
		{1, 0, delivery.Chain{}},
		{3, 0, delivery.Chain{Revision: 2, Told: 2, ToldAt: 13, Status: domain.StatusApproved}},
		{3, 13, delivery.Chain{Revision: 2, Told: 2, ToldAt: 13, Status: domain.StatusApproved}},
		{3, 14, delivery.Chain{Revision: 2}},
		{2, 10, delivery.Chain{Revision: 1, Told: 1, ToldAt: 10, Status: domain.StatusPending}},
		{2, 11, delivery.Chain{Revision: 1}},
	} {
		if diff := cmp.Diff(tc.want, r.ChainBefore(events, tc.revision, tc.since)); diff != "" {
			t.Errorf("before %d since %d (-want +got):\n%s", tc.revision, tc.since, diff)
		}
	}
}

// TestChainsHold draws any history and any filter: the chain has no holes, what
// the filter asks for is always told, and it does not matter whether the chain
// was kept in memory or folded again from the log.
func TestChainsHold(t *testing.T) {
	patterns := []string{"order.*", "fact.*", "order.approved", "order.pending", "order.money_changed", "fact.shipping", "order.cancelled"}
	rapid.Check(t, func(rt *rapid.T) {
		r := rules(t, rapid.SliceOfDistinct(rapid.SampledFrom(patterns), rapid.ID[string]).Draw(rt, "patterns")...)
		events := history(rapid.SliceOfN(genStep(), 0, 12).Draw(rt, "steps"))
		var c delivery.Chain
		var last uint64
		for i := range events {
			e := &events[i].Event
			if diff := cmp.Diff(c, r.ChainBefore(events, e.Revision, 0)); diff != "" {
				rt.Fatalf("folded again before %d (-kept +folded):\n%s", e.Revision, diff)
			}
			if c.Told != last {
				rt.Fatalf("the chain names %d, the endpoint was told %d last", c.Told, last)
			}
			var typ string
			c, typ = r.Next(c, &events[i])
			asked := false
			for _, name := range delivery.TypesOf(e) {
				asked = asked || r.Filter.Match(name)
			}
			if asked && typ == "" {
				rt.Fatalf("revision %d (%s) was asked for and is not told", e.Revision, e.Type())
			}
			if !asked && typ != "" && !e.Correction {
				rt.Fatalf("revision %d (%s) was not asked for and is told as %s", e.Revision, e.Type(), typ)
			}
			if typ != "" {
				last = e.Revision
			}
		}
	})
}

func genStep() *rapid.Generator[step] {
	return rapid.Custom(func(t *rapid.T) step {
		return step{
			verdict:    domain.Verdict(rapid.IntRange(int(domain.VerdictApplied), int(domain.VerdictConflict)).Draw(t, "verdict")),
			kind:       domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindResolved)).Draw(t, "kind")),
			to:         domain.Status(rapid.IntRange(int(domain.StatusNone), int(domain.StatusChargeback)).Draw(t, "to")),
			correction: rapid.Bool().Draw(t, "correction"),
			money:      rapid.Bool().Draw(t, "money"),
		}
	})
}
