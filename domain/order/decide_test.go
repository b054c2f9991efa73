package order_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/domain/order/ordertest"
)

func minute(n int) time.Time { return ordertest.Base.Add(time.Duration(n) * time.Minute) }

// decide stores fact as the recorder does.
func decide(tb testing.TB, h *order.History, fact domain.Fact, meta order.Meta) order.Decision {
	tb.Helper()
	d, err := order.Default().Decide(h, fact, meta)
	if err != nil {
		tb.Fatalf("decide %s %s: %v", fact.Kind, fact.Key, err)
	}
	return d
}

// TestDecideFirst holds the event of a first fact to what it is made of, field by field.
func TestDecideFirst(t *testing.T) {
	fact := plain(domain.KindCancelled, "k1", 3)
	fact.Reason = domain.ReasonExpired
	fact.Personal = &domain.Personal{Name: "Maria"}
	fact.OccurredAt = fact.OccurredAt.In(time.FixedZone("-03", -3*60*60))
	m := order.Meta{
		Tenant: "loja", Source: "loja-aprovei", ReceivedAt: minute(5), Now: minute(6),
		Cause: domain.Cause{RequestID: "r1", Actor: "ana"},
	}
	d := decide(t, nil, fact, m)
	id := fact.Identity("loja").OrderID()
	stored := fact
	stored.Kind, stored.Personal, stored.OccurredAt = domain.KindExpired, nil, minute(3)
	want := domain.Event{
		ID:      domain.NewEventID("loja-aprovei", id, domain.KindExpired, "k1"), // of the kind as it is stored
		OrderID: id, Tenant: "loja", Source: "loja-aprovei", Revision: 1, Fact: stored,
		Verdict: domain.VerdictApplied, From: domain.StatusNone, To: domain.StatusCancelled,
		EffectiveAt: minute(3), ReceivedAt: minute(5), RecordedAt: minute(6),
		Digest: d.Event.Digest, MachineVersion: order.Version, Cause: m.Cause,
	}
	if diff := cmp.Diff(want, d.Event); diff != "" {
		t.Error(diff)
	}
	if d.Event.Type() != "order.cancelled" || d.Original != want.ID || d.IDReused {
		t.Errorf("type %s, original %s, reused %v", d.Event.Type(), d.Original, d.IDReused)
	}
	if d.Before.Status != domain.StatusNone || d.Before.Revision != 0 || d.After.Revision != 1 || d.History.Revision() != 1 {
		t.Errorf("before %+v, after %+v", d.Before, d.After)
	}
	if d.After.Identity != fact.Identity("loja") || !d.After.RecordedAt.Equal(minute(6)) || d.After.MachineVersion != order.Version {
		t.Errorf("after: %+v", d.After)
	}
	if fact.Kind != domain.KindCancelled || fact.Personal == nil {
		t.Error("Decide changed the fact that it was given")
	}
}

// TestDecideInvalid names the field of each rule that a fact can break.
func TestDecideInvalid(t *testing.T) {
	whole := meta(later)
	for name, test := range map[string]struct {
		change func(*domain.Fact, *order.Meta)
		field  string
	}{
		"no kind":              {func(f *domain.Fact, _ *order.Meta) { f.Kind = domain.KindUnknown }, "kind"},
		"an unknown kind":      {func(f *domain.Fact, _ *order.Meta) { f.Kind = domain.KindCount }, "kind"},
		"no provider":          {func(f *domain.Fact, _ *order.Meta) { f.Provider = "" }, "provider"},
		"no order":             {func(f *domain.Fact, _ *order.Meta) { f.ProviderOrderID = "" }, "provider_order_id"},
		"no key":               {func(f *domain.Fact, _ *order.Meta) { f.Key = "" }, "key"},
		"no tenant":            {func(_ *domain.Fact, m *order.Meta) { m.Tenant = "" }, "tenant"},
		"no source":            {func(_ *domain.Fact, m *order.Meta) { m.Source = "" }, "source"},
		"no receipt":           {func(_ *domain.Fact, m *order.Meta) { m.ReceivedAt = time.Time{} }, "received_at"},
		"negative total":       {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Total = domain.Minor(-1) }, "total"},
		"negative paid":        {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Paid = domain.Minor(-1) }, "paid"},
		"negative refunded":    {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Refunded = domain.Minor(-1) }, "refunded"},
		"negative refund":      {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Refund = domain.Minor(-1) }, "refund_amount"},
		"negative freight":     {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Freight = domain.Minor(-1) }, "freight"},
		"negative discount":    {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Discount = domain.Minor(-1) }, "discount"},
		"unknown with value":   {func(f *domain.Fact, _ *order.Meta) { f.Amounts.Paid = domain.Amount{Minor: 5} }, "paid"},
		"a stray resolution":   {func(f *domain.Fact, _ *order.Meta) { f.Resolution = &domain.Resolution{} }, "resolution"},
		"no resolution":        {func(f *domain.Fact, _ *order.Meta) { f.Kind = domain.KindResolved }, "resolution"},
		"resolution of none":   {resolving("", domain.ActionReject, ""), "resolution.event"},
		"an unknown action":    {resolving("x", "forget", ""), "resolution.action"},
		"rejection of an item": {resolving("x", domain.ActionReject, "overpaid"), "detail"},
	} {
		t.Run(name, func(t *testing.T) {
			fact, m := plain(domain.KindPending, "k", 1), whole
			test.change(&fact, &m)
			_, err := order.Default().Decide(nil, fact, m)
			invalid, ok := err.(*domain.Error) //nolint:errorlint // the fields are the answer's, so it is not wrapped
			if !ok || invalid.Kind != domain.Invalid || len(invalid.Fields[test.field]) == 0 {
				t.Errorf("error %#v, want one of kind invalid with field %s", err, test.field)
			}
		})
	}
}

func resolving(event domain.EventID, action domain.ResolutionAction, detail string) func(*domain.Fact, *order.Meta) {
	return func(f *domain.Fact, _ *order.Meta) {
		f.Kind, f.Detail = domain.KindResolved, detail
		f.Resolution = &domain.Resolution{Event: event, Action: action}
	}
}

// TestDecideRefuses shows that an operator's word needs an event of the order,
// and that a fact of another order is none of this one's.
func TestDecideRefuses(t *testing.T) {
	h := decide(t, nil, plain(domain.KindPending, "k", 1), meta(later)).History
	fact, m := plain(domain.KindPending, "o", 1), meta(later)
	resolving("aaaaaaaaaaaaaaaaaaaaaaaaaa", domain.ActionReject, "")(&fact, &m)
	if _, err := order.Default().Decide(h, fact, m); err == nil || domain.KindOf(err) != domain.Refused {
		t.Errorf("a word on no event: %v, want refused", err)
	}
	if _, err := order.Default().Decide(nil, fact, m); err == nil || domain.KindOf(err) != domain.Refused {
		t.Errorf("a word on a new order: %v, want refused", err)
	}
	other := plain(domain.KindPending, "k", 1)
	other.ProviderOrderID = "tok_2"
	if _, err := order.Default().Decide(h, other, m); err == nil || domain.KindOf(err) != domain.Invalid {
		t.Errorf("another order's fact: %v, want invalid", err)
	}
}

// TestDecideExhausted fills an order: one fact more is too much, a repeat is not.
func TestDecideExhausted(t *testing.T) {
	var h *order.History
	var err error
	for i := range order.MaxFacts {
		fact := plain(domain.KindDetails, fmt.Sprint(i), i)
		e := decide(t, nil, fact, meta(later)).Event
		e.Revision = h.Revision() + 1
		if h, err = h.With(&e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := order.Default().Decide(h, plain(domain.KindApproved, "x", 1), meta(later)); err == nil || domain.KindOf(err) != domain.Exhausted {
		t.Errorf("fact 1,001: %v, want exhausted", err)
	}
	if d := decide(t, h, plain(domain.KindDetails, "7", 7), meta(later)); d.Event.Verdict != domain.VerdictDuplicate {
		t.Errorf("a repeat in a full order is %s, want duplicate", d.Event.Verdict)
	}
}

// TestDecideDuplicate shows what the answer to a repeat holds: nothing to store.
func TestDecideDuplicate(t *testing.T) {
	first := decide(t, nil, plain(domain.KindApproved, "k", 1), meta(later))
	again := decide(t, first.History, plain(domain.KindApproved, "k", 1), meta(later.Add(time.Hour)))
	want := domain.Event{
		ID: first.Event.ID, OrderID: first.Event.OrderID, Fact: first.Event.Fact, Verdict: domain.VerdictDuplicate,
	}
	if diff := cmp.Diff(want, again.Event); diff != "" {
		t.Error(diff)
	}
	if again.History != first.History || again.Original != first.Event.ID || again.IDReused {
		t.Errorf("original %s, reused %v; want the first event's, and its history", again.Original, again.IDReused)
	}
	if diff := cmp.Diff(first.After, again.After); diff != "" {
		t.Error(diff)
	}
	concluded := plain(domain.KindApproved, "k/inferred", 1)
	concluded.Inferred = true
	if d := decide(t, first.History, concluded, meta(later)); d.Original != first.Event.ID || d.Event.ID == first.Event.ID || d.IDReused {
		t.Errorf("an inferred one: original %s of event %s, reused %v", d.Original, d.Event.ID, d.IDReused)
	}
}

// TestRecordedAt shows that a clock which goes back does not take the log with
// it, and that an operator's last word is later than the one before.
func TestRecordedAt(t *testing.T) {
	at := func(now int) order.Meta {
		return order.Meta{Tenant: "loja", Source: "loja-aprovei", ReceivedAt: minute(5), Now: minute(now)}
	}
	a := decide(t, nil, plain(domain.KindPending, "a", 1), at(10))
	b := decide(t, a.History, plain(domain.KindApproved, "b", 2), at(7))
	word := plain(domain.KindPending, "o", 1)
	resolving(b.Event.ID, domain.ActionReject, "")(&word, nil)
	c := decide(t, b.History, word, at(10))
	word.Key = "p"
	resolving(b.Event.ID, domain.ActionReopen, "")(&word, nil)
	d := decide(t, c.History, word, at(3))
	want := []time.Time{minute(10), minute(10), minute(10).Add(1), minute(10).Add(2)}
	got := []time.Time{a.Event.RecordedAt, b.Event.RecordedAt, c.Event.RecordedAt, d.Event.RecordedAt}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.After.Status != domain.StatusApproved {
		t.Errorf("the last word is reopen, and the order is %s", d.After.Status)
	}
}

// TestMoneyChanged shows which facts say that paid, refunded or the dispute changed.
func TestMoneyChanged(t *testing.T) {
	paid := plain(domain.KindApproved, "b", 2)
	paid.Amounts.Paid = domain.Minor(100)
	part := plain(domain.KindPartiallyRefunded, "c", 3)
	part.Amounts.Refunded = domain.Minor(40)
	var h *order.History
	for _, step := range []struct {
		fact domain.Fact
		want bool
	}{
		{plain(domain.KindPending, "a", 1), false},
		{paid, true},
		{part, true},
		{plain(domain.KindRefundRequested, "d", 4), false},
		{plain(domain.KindChargeback, "e", 5), true},
		{plain(domain.KindChargeback, "f", 6), false},
		{plain(domain.KindChargebackReversed, "g", 7), true},
		{plain(domain.KindDetails, "h", 8), false},
	} {
		d := decide(t, h, step.fact, meta(later))
		h = d.History
		if d.Event.MoneyChanged != step.want {
			t.Errorf("%s: money changed %v, want %v", step.fact.Kind, d.Event.MoneyChanged, step.want)
		}
	}
}

// TestOpensAndCloses follows one conflict from the fact that it is to the one
// that explains it.
func TestOpensAndCloses(t *testing.T) {
	a := decide(t, nil, plain(domain.KindApproved, "a", 1), meta(later))
	b := decide(t, a.History, plain(domain.KindPending, "b", 9), meta(later))
	c := decide(t, b.History, plain(domain.KindCancelled, "c", 5), meta(later))
	conflict := []domain.EventID{b.Event.ID}
	if !cmp.Equal(b.Event.Opens, conflict) || b.Event.Closes != nil || b.Event.Why != order.WhyContradicts {
		t.Errorf("the conflict opens %v, closes %v (%s)", b.Event.Opens, b.Event.Closes, b.Event.Why)
	}
	if !cmp.Equal(c.Event.Closes, conflict) || c.Event.Opens != nil {
		t.Errorf("what explains it opens %v, closes %v", c.Event.Opens, c.Event.Closes)
	}
	path := []domain.Step{
		{Event: a.Event.ID, From: domain.StatusNone, To: domain.StatusApproved},
		{Event: c.Event.ID, From: domain.StatusApproved, To: domain.StatusCancelled},
		{Event: b.Event.ID, From: domain.StatusCancelled, To: domain.StatusPending},
	}
	if !c.Event.Correction || !cmp.Equal(c.Event.Path, path) {
		t.Errorf("correction %v by way of %v, want %v", c.Event.Correction, c.Event.Path, path)
	}
}

// TestNoDate shows that a date before year 1 is none, as some platforms write zeros.
func TestNoDate(t *testing.T) {
	fact := plain(domain.KindApproved, "a", 1)
	fact.OccurredAt = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	d := decide(t, nil, fact, meta(later))
	if !d.Event.TimeInferred || !d.Event.EffectiveAt.Equal(later) || !d.Event.Fact.OccurredAt.IsZero() {
		t.Errorf("placed at %s, inferred %v", d.Event.EffectiveAt, d.Event.TimeInferred)
	}
}

// TestHugeAmounts shows that sums do not wrap around.
func TestHugeAmounts(t *testing.T) {
	a, b := plain(domain.KindApproved, "a", 1), plain(domain.KindApproved, "b", 2)
	a.Payment.PaymentID, b.Payment.PaymentID = "p1", "p2"
	a.Amounts.Paid, b.Amounts.Paid = domain.Minor(math.MaxInt64-1), domain.Minor(2)
	h := decide(t, nil, a, meta(later)).History
	if got := decide(t, h, b, meta(later)).After.Paid; got != domain.Minor(math.MaxInt64) {
		t.Errorf("paid %d", got.Minor)
	}
}

// TestDigest shows that every part of a fact's content is in its digest, and that
// what is personal, or says only how it was read, is not.
func TestDigest(t *testing.T) {
	base := plain(domain.KindPending, "k", 1)
	digest := func(change func(*domain.Fact)) [32]byte {
		fact := base
		change(&fact)
		return decide(t, nil, fact, meta(later)).Event.Digest
	}
	same := digest(func(*domain.Fact) {})
	seen := map[[32]byte]string{same: "nothing"}
	for name, change := range map[string]func(*domain.Fact){
		"kind": func(f *domain.Fact) { f.Kind = domain.KindApproved }, "provider": func(f *domain.Fact) { f.Provider = "voxuy" },
		"account": func(f *domain.Fact) { f.Account = "x" }, "order": func(f *domain.Fact) { f.ProviderOrderID = "x" },
		"key": func(f *domain.Fact) { f.Key = "x" }, "time": func(f *domain.Fact) { f.OccurredAt = minute(2) },
		"nanoseconds": func(f *domain.Fact) { f.OccurredAt = minute(1).Add(1) },
		"inferred":    func(f *domain.Fact) { f.Inferred = true }, "reference": func(f *domain.Fact) { f.Reference = "x" },
		"reason": func(f *domain.Fact) { f.Reason = "x" }, "detail": func(f *domain.Fact) { f.Detail = "x" },
		"currency": func(f *domain.Fact) { f.Amounts.Currency = "x" }, "total": func(f *domain.Fact) { f.Amounts.Total = domain.Minor(0) },
		"paid": func(f *domain.Fact) { f.Amounts.Paid = domain.Minor(0) }, "refunded": func(f *domain.Fact) { f.Amounts.Refunded = domain.Minor(0) },
		"refund": func(f *domain.Fact) { f.Amounts.Refund = domain.Minor(0) }, "freight": func(f *domain.Fact) { f.Amounts.Freight = domain.Minor(0) },
		"discount": func(f *domain.Fact) { f.Amounts.Discount = domain.Minor(0) }, "sum": func(f *domain.Fact) { f.Amounts.Discount = domain.Minor(1) },
		"method": func(f *domain.Fact) { f.Payment.Method = "x" }, "phase": func(f *domain.Fact) { f.Payment.Phase = "x" },
		"payment": func(f *domain.Fact) { f.Payment.PaymentID = "x" }, "refund id": func(f *domain.Fact) { f.Payment.RefundID = "x" },
		"installments": func(f *domain.Fact) { f.Payment.Installments = 2 }, "custom": func(f *domain.Fact) { f.CustomEvent = "x" },
		"item": func(f *domain.Fact) { f.Items = []domain.Item{{}} }, "item code": func(f *domain.Fact) { f.Items = []domain.Item{{Code: "x"}} },
		"item title":    func(f *domain.Fact) { f.Items = []domain.Item{{Title: "x"}} },
		"item price":    func(f *domain.Fact) { f.Items = []domain.Item{{UnitPrice: domain.Minor(0)}} },
		"item quantity": func(f *domain.Fact) { f.Items = []domain.Item{{Quantity: 1}} },
		"utm":           func(f *domain.Fact) { f.UTM = domain.UTMOf(map[string]string{"source": "x"}) },
		"utm value":     func(f *domain.Fact) { f.UTM = domain.UTMOf(map[string]string{"source": "y"}) },
		"shipping":      func(f *domain.Fact) { f.Shipping = &domain.Shipping{Event: "x"} },
		"tracking":      func(f *domain.Fact) { f.Shipping = &domain.Shipping{TrackingCode: "x"} },
		"tracking url":  func(f *domain.Fact) { f.Shipping = &domain.Shipping{TrackingURL: "x"} },
		"branch":        func(f *domain.Fact) { f.Shipping = &domain.Shipping{Branch: "x"} },
		"city":          func(f *domain.Fact) { f.Shipping = &domain.Shipping{City: "x"} },
		"state":         func(f *domain.Fact) { f.Shipping = &domain.Shipping{State: "x"} },
		"country":       func(f *domain.Fact) { f.Shipping = &domain.Shipping{Country: "x"} },
		"shipping date": func(f *domain.Fact) { f.Shipping = &domain.Shipping{Date: minute(1)} },
	} {
		d := digest(change)
		if other, ok := seen[d]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[d] = name
	}
	for name, change := range map[string]func(*domain.Fact){
		"personal": func(f *domain.Fact) { f.Personal = &domain.Personal{Document: "x"} },
		"warnings": func(f *domain.Fact) { f.Warnings = []string{"x"} }, "spelling": func(f *domain.Fact) { f.OccurredText = "x" },
		"no news": func(f *domain.Fact) { f.Shipping = &domain.Shipping{} }, "no items": func(f *domain.Fact) { f.Items = []domain.Item{} },
	} {
		if digest(change) != same {
			t.Errorf("%s is in the digest", name)
		}
	}
	// A field that this test forgets would be a field that nobody decided on.
	for typ, want := range map[reflect.Type]int{
		reflect.TypeFor[domain.Fact](): 20, reflect.TypeFor[domain.Amounts](): 7, reflect.TypeFor[domain.Payment](): 5,
		reflect.TypeFor[domain.Item](): 4, reflect.TypeFor[domain.Shipping](): 8, reflect.TypeFor[domain.Resolution](): 2,
	} {
		if n := typ.NumField(); n != want {
			t.Errorf("%s has %d fields: decide whether the digest holds the new one, and count again", typ, n)
		}
	}
}

// TestZeroMachine shows that a machine without a table moves nothing and says so.
func TestZeroMachine(t *testing.T) {
	var m order.Machine
	if _, err := m.Decide(nil, plain(domain.KindPending, "k", 1), meta(later)); err == nil || domain.KindOf(err) != domain.Internal {
		t.Errorf("decide: %v, want an error of kind internal", err)
	}
	h := decide(t, nil, plain(domain.KindApproved, "k", 1), meta(later)).History
	if s := m.Fold(h); s.Status != domain.StatusNone || s.Revision != 1 {
		t.Errorf("fold: %s, revision %d", s.Status, s.Revision)
	}
	var out strings.Builder
	if err := m.WriteMermaid(&out); err != nil || strings.Contains(out.String(), "approved") {
		t.Errorf("diagram %q, error %v", out.String(), err)
	}
}

// TestVersions shows that the committed table makes a machine, one for all.
func TestVersions(t *testing.T) {
	m, err := order.Load()
	if err != nil {
		t.Fatal(err)
	}
	if m != order.Default() || m.Version() != order.Version || m.Table() != order.DefaultTable() {
		t.Error("Load gives another machine than Default")
	}
	if same, err := order.ForVersion(order.Version); same != m || err != nil {
		t.Errorf("version %d: %v", order.Version, err)
	}
	if _, err := order.ForVersion(order.Version + 1); err == nil || domain.KindOf(err) != domain.Unavailable {
		t.Errorf("a newer version: %v, want unavailable", err)
	}
}
