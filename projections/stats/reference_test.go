package stats_test

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/stats"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// seen is one thing that is counted, with what it is counted by.
type seen struct {
	at                     time.Time
	tenant, source, method string
	event                  *domain.Event // of the log
	order                  *order.State  // of an order
	from                   domain.Status // which a stay was in
	stay                   time.Duration
}

// observed is all that there is to count, said plainly: events, orders where they
// began, stays where they ended, and orders where they stand.
type observed struct{ events, began, stays, standing []seen }

func observe(t interface{ Fatal(args ...any) }, s *projectiontest.Script) (all observed) {
	for _, events := range s.Events() {
		var h *order.History
		effective := map[domain.EventID]time.Time{}
		for i := range events {
			e := &events[i]
			var err error
			if h, err = h.With(e); err != nil {
				t.Fatal(err)
			}
			effective[e.ID] = e.EffectiveAt
			all.events = append(all.events, seen{at: e.RecordedAt, tenant: string(e.Tenant), source: string(e.Source), method: e.Fact.Payment.Method, event: e})
		}
		state := order.Default().Fold(h)
		of := seen{tenant: string(events[0].Tenant), source: string(events[0].Source), method: state.Method, order: state}
		for i, step := range state.Path {
			at := effective[step.Event]
			if i == 0 {
				of.at = at
				all.began = append(all.began, of)
			} else {
				at = latest(at, of.at)
				stay := of
				stay.stay, stay.at, stay.from = at.Sub(of.at), at, step.From
				all.stays = append(all.stays, stay)
			}
			of.at = at
		}
		if len(state.Path) > 0 {
			all.standing = append(all.standing, of)
		}
	}
	return all
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// row is what is seen of one group.
type row struct {
	group *comandav1.StatsGroup
	seen  []seen
}

// grouped are those of all that q asks for, told apart as it asks and by extra.
func grouped(all []seen, q *stats.Query, extra func(*seen) int) (rows []row) {
	key := func(s *seen) string {
		g := group(s, q)
		return fmt.Sprintf("%030d/%s/%s/%s/%03d", g.GetStart().GetSeconds()+1<<40, g.GetTenant(), g.GetSource(), g.GetMethod(), extra(s))
	}
	by := map[string][]seen{}
	for i := range all {
		s := &all[i]
		hour := s.at.Truncate(time.Hour)
		if (q.Within != nil && !slices.Contains(q.Within, domain.TenantID(s.tenant))) || (q.Tenant != "" && s.tenant != string(q.Tenant)) || (q.Source != "" && s.source != string(q.Source)) ||
			(q.Method != "" && s.method != q.Method) || (!q.From.IsZero() && hour.Before(q.From)) || (!q.To.IsZero() && !hour.Before(q.To)) {
			continue
		}
		by[key(s)] = append(by[key(s)], *s)
	}
	for _, of := range by {
		rows = append(rows, row{group(&of[0], q), of})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(key(&a.seen[0]), key(&b.seen[0])) })
	return rows
}

func group(s *seen, q *stats.Query) *comandav1.StatsGroup {
	g := &comandav1.StatsGroup{}
	if q.By.Hour {
		g.Start = timestamppb.New(s.at.Truncate(time.Hour))
	}
	if q.By.Day {
		g.Start = timestamppb.New(s.at.Truncate(24 * time.Hour))
	}
	if q.By.Tenant {
		g.Tenant = &s.tenant
	}
	if q.By.Source {
		g.Source = &s.source
	}
	if q.By.Method {
		g.Method = &s.method
	}
	return g
}

func none(*seen) int { return 0 }

func (r *row) count(is func(*seen) bool) (n int64) {
	for i := range r.seen {
		if is(&r.seen[i]) {
			n++
		}
	}
	return n
}

// reached counts the orders that were ever in one of these.
func (r *row) reached(statuses ...domain.Status) int64 {
	return r.count(func(s *seen) bool {
		return slices.ContainsFunc(s.order.Path, func(step domain.Step) bool { return slices.Contains(statuses, step.To) })
	})
}

func plainFunnel(all observed, q *stats.Query) (out []*comandav1.FunnelRow) {
	for _, r := range grouped(all.began, q, none) {
		out = append(out, &comandav1.FunnelRow{
			Group: r.group, Orders: int64(len(r.seen)), Started: r.reached(domain.StatusStarted), Pending: r.reached(domain.StatusPending),
			Approved: r.reached(domain.StatusApproved), Refused: r.reached(domain.StatusRefused), Cancelled: r.reached(domain.StatusCancelled),
			Refunded: r.reached(domain.StatusRefunded), Chargeback: r.reached(domain.StatusChargeback),
		})
	}
	return out
}

func plainApproval(all observed, q *stats.Query) (out []*comandav1.ApprovalRow) {
	for _, r := range grouped(all.began, q, none) {
		m := &comandav1.ApprovalRow{
			Group: r.group, Approved: r.reached(domain.StatusApproved),
			Charged: r.reached(domain.StatusPending, domain.StatusApproved, domain.StatusRefused, domain.StatusRefunded, domain.StatusChargeback),
		}
		if m.GetCharged() > 0 {
			rate := float64(m.GetApproved()) / float64(m.GetCharged())
			m.Rate = &rate
		}
		out = append(out, m)
	}
	return out
}

func plainTransitions(all observed, q *stats.Query) (out []*comandav1.TransitionRow) {
	moved := slices.DeleteFunc(slices.Clone(all.events), func(s seen) bool { return s.event.From == s.event.To })
	for _, r := range grouped(moved, q, func(s *seen) int { return int(s.event.From)*10 + int(s.event.To) }) {
		e := r.seen[0].event
		out = append(out, &comandav1.TransitionRow{
			Group: r.group, StatusFrom: wire.Status(e.From), StatusTo: wire.Status(e.To), Count: int64(len(r.seen)),
		})
	}
	return out
}

func plainVerdicts(all observed, q *stats.Query) (out []*comandav1.VerdictRow) {
	for _, r := range grouped(all.events, q, none) {
		n := func(v domain.Verdict) int64 { return r.count(func(s *seen) bool { return s.event.Verdict == v }) }
		out = append(out, &comandav1.VerdictRow{
			Group: r.group, Events: int64(len(r.seen)), Applied: n(domain.VerdictApplied), Noted: n(domain.VerdictNoted),
			Late: n(domain.VerdictLate), Conflict: n(domain.VerdictConflict),
		})
	}
	return out
}

func plainDwell(all observed, q *stats.Query) (out []*comandav1.DwellRow) {
	for _, r := range grouped(all.stays, q, func(s *seen) int { return int(s.from) }) {
		m := &comandav1.DwellRow{Group: r.group, Status: wire.Status(r.seen[0].from), Count: int64(len(r.seen))}
		var sum time.Duration
		for _, s := range r.seen {
			sum += s.stay
		}
		m.MeanSeconds = float64(sum.Milliseconds()) / 1000 / float64(len(r.seen))
		var from int64
		for _, below := range []int64{10, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 259200, 604800, 2592000, 0} {
			b := &comandav1.DwellBucket{Count: r.count(func(s *seen) bool {
				return s.stay >= time.Duration(from)*time.Second && (below == 0 || s.stay < time.Duration(below)*time.Second)
			})}
			if below > 0 {
				b.BelowSeconds = &below
			}
			m.Buckets, from = append(m.Buckets, b), below
		}
		out = append(out, m)
	}
	return out
}

func plainMoney(all observed, q *stats.Query) (out []*comandav1.MoneyRow) {
	currencies := []string{"", "BRL", "USD"}
	for _, r := range grouped(all.standing, q, func(s *seen) int { return slices.Index(currencies, s.order.Currency)*10 + int(s.order.Status) }) {
		m := &comandav1.MoneyRow{
			Group: r.group, Status: wire.Status(r.seen[0].order.Status), Currency: r.seen[0].order.Currency, Orders: int64(len(r.seen)),
		}
		for _, s := range r.seen {
			m.Total += s.order.Total.Minor
			m.Paid += s.order.Paid.Minor
			m.Refunded += s.order.Refunded.Minor
		}
		out = append(out, m)
	}
	return out
}

var tenants = []domain.TenantID{"loja", "lojas", "outra"}

// aFact draws one of few orders, so that facts meet, at places in time that lie
// hours apart, on both sides of 1970 among them.
func aFact(t *rapid.T) (domain.TenantID, domain.Fact) {
	pick := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	f := domain.Fact{
		Kind:     domain.Kind(rapid.IntRange(int(domain.KindStarted), int(domain.KindFlagged)).Draw(t, "kind")),
		Provider: pick("provider", "comanda", "onprofit"), ProviderOrderID: pick("order", "A", "B", "C"), Key: pick("key", "1", "2", "3", "4"),
		Amounts: domain.Amounts{Currency: pick("currency", "", "BRL", "BRL", "USD")},
		Payment: domain.Payment{Method: pick("method", "", "pix", "card")},
	}
	switch rapid.IntRange(0, 9).Draw(t, "when") {
	case 0: // undated
	case 1:
		f.OccurredAt = time.Date(1969, time.December, 31, rapid.IntRange(0, 23).Draw(t, "hour"), 59, 59, 0, time.UTC)
	default:
		f.OccurredAt = projectiontest.Epoch.Add(-time.Duration(rapid.IntRange(1, 4_000).Draw(t, "ago")) * time.Minute)
	}
	amount := func(label string) domain.Amount {
		if n := rapid.IntRange(-1, 3).Draw(t, label); n >= 0 {
			return domain.Minor(int64(n) * 100)
		}
		return domain.Amount{}
	}
	f.Amounts.Total = amount("total")
	switch f.Kind {
	case domain.KindApproved:
		f.Amounts.Paid = amount("paid")
	case domain.KindPartiallyRefunded, domain.KindRefunded:
		f.Amounts.Refunded = amount("refunded")
	default:
	}
	return rapid.SampledFrom(tenants).Draw(t, "tenant"), f
}

func aQuery(t *rapid.T) *stats.Query {
	flip := func(label string) bool { return rapid.Bool().Draw(t, label) }
	q := &stats.Query{By: stats.By{Hour: flip("hour"), Tenant: flip("tenant apart"), Source: flip("source apart"), Method: flip("method apart")}}
	q.By.Day = !q.By.Hour && flip("day")
	q.Tenant = rapid.SampledFrom(append(tenants, "", "", "loj")).Draw(t, "only tenant")
	q.Within = rapid.SampledFrom(projectiontest.Limits()).Draw(t, "within")
	q.Source = rapid.SampledFrom([]domain.SourceID{"", "", "", "comanda-in"}).Draw(t, "only source")
	q.Method = rapid.SampledFrom([]string{"", "", "", "pix"}).Draw(t, "only method")
	when := func(label string) time.Time {
		return projectiontest.Epoch.Add(time.Duration(rapid.IntRange(-4_000, 600).Draw(t, label)) * time.Minute)
	}
	if flip("bounded below") {
		q.From = when("from")
	}
	if flip("bounded above") {
		q.To = when("to")
	}
	return q
}

// TestEveryCountIsThePlainOne holds the view to a count of the facts from scratch,
// whatever happened and however it was batched.
func TestEveryCountIsThePlainOne(t *testing.T) {
	dir, n := t.TempDir(), 0
	rows := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		s := projectiontest.NewScript(2)
		s.Every = 17 * time.Minute
		for range rapid.IntRange(1, 50).Draw(rt, "events") {
			tenant, fact := aFact(rt)
			s.Record(t, tenant, fact)
		}
		batch := rapid.IntRange(1, 20).Draw(rt, "batch")
		s.Cut = func(n int) int { return min(n, batch) }
		n++
		f := projectiontest.Start(t, filepath.Join(dir, fmt.Sprint(n)), s, views, projectiontest.EachBatch)
		defer f.Close()
		f.Wait()
		f.Stop()
		view, all := stats.New(f.File), observe(t, s)
		for range 6 {
			q := aQuery(rt)
			same(rt, rows, "funnel", q, plainFunnel(all, q), view.Funnel)
			same(rt, rows, "approval", q, plainApproval(all, q), view.Approval)
			same(rt, rows, "transitions", q, plainTransitions(all, q), view.Transitions)
			same(rt, rows, "verdicts", q, plainVerdicts(all, q), view.Verdicts)
			same(rt, rows, "dwell", q, plainDwell(all, q), view.Dwell)
			same(rt, rows, "money", q, plainMoney(all, q), view.Money)
		}
	})
	for _, what := range []string{"funnel", "approval", "transitions", "verdicts", "dwell", "money"} {
		if rows[what] < 100 {
			t.Errorf("%d rows of %s were compared: the test shows too little", rows[what], what)
		}
	}
}

func same[M any](t *rapid.T, rows map[string]int, what string, q *stats.Query, want []M, read func(stats.Query) ([]M, error)) {
	t.Helper()
	got, err := read(*q)
	if err != nil {
		t.Fatal(err)
	}
	rows[what] += len(want)
	if diff := gocmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Fatalf("%s of %+v (-plain +view):\n%s", what, *q, diff)
	}
}
