package eventstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
)

// comparePositions lets go-cmp look at positions by their own rule.
var comparePositions = cmp.Comparer(domain.Position.Equal)

func TestRecordedEventsSayEverything(t *testing.T) {
	s := local(t)
	out := record(t, s, fact(1, 0, domain.KindPending), fact(1, 1, domain.KindApproved))
	want := []domain.Outcome{
		{Verdict: domain.VerdictApplied, OrderID: orderID(1), Status: domain.StatusPending, Revision: 1, Position: domain.Position{}.With(0, 1)},
		{Verdict: domain.VerdictApplied, OrderID: orderID(1), Status: domain.StatusApproved, Revision: 2, Position: domain.Position{}.With(0, 2)},
	}
	events := history(t, s, 1)
	if len(events) != 2 {
		t.Fatalf("%d events stored, want 2", len(events))
	}
	for i := range want {
		want[i].EventID = events[i].Event.ID
	}
	if diff := cmp.Diff(want, out, comparePositions); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	first, second := events[0].Event, events[1].Event
	if first.PrevHash != [32]byte{} || second.PrevHash != events[0].Hash {
		t.Error("the chain does not hold")
	}
	if first.KeyID == "" || first.KeyID != second.KeyID {
		t.Errorf("keys %q and %q: one order has one key", first.KeyID, second.KeyID)
	}
	if !first.RecordedAt.Equal(noon) || !first.ReceivedAt.Equal(message().ReceivedAt) || first.Cause.RequestID != "req-1" {
		t.Errorf("recorded %s, received %s, cause %+v", first.RecordedAt, first.ReceivedAt, first.Cause)
	}
	personal, err := s.vault.Reveal(t.Context(), &second)
	if err != nil || personal.Name != "Maria da Silva" {
		t.Errorf("personal: %+v, %v", personal, err)
	}
	if _, body, err := s.vault.Raw(t.Context(), &second); err != nil || !bytes.Equal(body, message().Body) {
		t.Errorf("raw: %q, %v", body, err)
	}
	wantSound(t, s, 2)
}

func TestStoredMessageHasThreeHeadersAndShowsNobody(t *testing.T) {
	s := local(t)
	out := record(t, s, fact(1, 0, domain.KindApproved))
	m := stored(t, s, 1)
	headers := make([]string, 0, len(m.Header))
	for name := range m.Header {
		switch name { // a direct get adds these to what is stored
		case "Nats-Stream", "Nats-Subject", "Nats-Sequence", "Nats-Time-Stamp":
		default:
			headers = append(headers, name)
		}
	}
	slices.Sort(headers)
	if diff := cmp.Diff([]string{"Comanda-Type", "Nats-Expected-Last-Subject-Sequence", "Nats-Msg-Id"}, headers); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if m.Header.Get("Comanda-Type") != "order.approved" || m.Header.Get("Nats-Msg-Id") != string(out[0].EventID) {
		t.Errorf("headers %v", m.Header)
	}
	sum := sha256.Sum256([]byte(orderID(1)))
	const hex = "0123456789abcdef"
	if want := "orders." + string([]byte{hex[sum[0]>>4], hex[sum[0]&15]}) + ".loja." + string(orderID(1)); m.Subject != want {
		t.Errorf("subject %s, want %s", m.Subject, want)
	}
	if bytes.Contains(m.Data, []byte("Maria")) || bytes.Contains(m.Data, []byte("maria@")) {
		t.Error("personal data lies in the clear")
	}
}

func stored(t *testing.T, s *store, sequence uint64) *jetstream.RawStreamMsg {
	t.Helper()
	js, err := jetstream.New(s.conn)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "ORDERS-00")
	if err != nil {
		t.Fatal(err)
	}
	m, err := st.GetMsg(t.Context(), sequence)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestTextThatIsNotUTF8IsInvalid(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	const latin1 = "Jo\xe3o"
	for name, change := range map[string]func(*domain.Message, *domain.Fact){
		"in the event":         func(_ *domain.Message, f *domain.Fact) { f.Reference = latin1 },
		"in its personal data": func(_ *domain.Message, f *domain.Fact) { f.Personal.Name = latin1 },
		"in the content type":  func(m *domain.Message, _ *domain.Fact) { m.ContentType = latin1 },
	} {
		msg, f := message(), fact(1, 0, domain.KindPending)
		change(&msg, &f)
		if _, err := s.Record(t.Context(), msg, []domain.Fact{f}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v, want an error of kind invalid", name, err)
		}
	}
	record(t, s, fact(1, 0, domain.KindPending))
	wantSound(t, s, 1)
}

func TestRepeatedFactAnswersWithTheFirstOutcome(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	first := record(t, s, fact(1, 0, domain.KindPending))[0]
	record(t, s, fact(1, 1, domain.KindApproved))
	want := first
	want.Verdict, want.First, want.Status = domain.VerdictDuplicate, domain.VerdictApplied, domain.StatusApproved
	again := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	for name, s := range map[string]*store{"the same process": s, "another, which does not know the order": again} {
		if diff := cmp.Diff(want, record(t, s, fact(1, 0, domain.KindPending))[0], comparePositions); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	reused := fact(1, 0, domain.KindPending)
	reused.Amounts.Total = domain.Minor(1)
	want.IDReused = true
	if diff := cmp.Diff(want, record(t, s, reused)[0], comparePositions); diff != "" {
		t.Errorf("the same id with other content (-want +got):\n%s", diff)
	}
	wantSound(t, s, 2)
}

func TestWriterWithAnOldPictureDecidesAgain(t *testing.T) {
	a, node, dir := fast(t, eventstore.Config{})
	b := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	record(t, a, fact(1, 0, domain.KindPending))
	record(t, b, fact(1, 2, domain.KindApproved)) // thinks the order is new
	out := record(t, a, fact(1, 1, domain.KindRefused))[0]
	if out.Revision != 3 || out.Verdict != domain.VerdictLate || out.Status != domain.StatusApproved {
		t.Errorf("outcome %+v: want revision 3, late, on an approved order", out)
	}
	events := history(t, a, 1)
	for _, e := range events {
		if e.Event.KeyID != events[0].Event.KeyID {
			t.Errorf("revision %d has key %s, the order's is %s", e.Event.Revision, e.Event.KeyID, events[0].Event.KeyID)
		}
		if _, err := a.vault.Reveal(t.Context(), &e.Event); err != nil {
			t.Errorf("revision %d: %v", e.Event.Revision, err)
		}
	}
	wantSound(t, a, 3)
}

func TestManyWritersOnOneOrder(t *testing.T) {
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	writers := make([]*store, 3)
	for i := range writers {
		writers[i] = open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{Decisions: 1000})
	}
	const facts = 30
	var mu sync.Mutex
	revisions := make(map[uint64]domain.EventID)
	firsts := make(map[domain.EventID]int)
	var all sync.WaitGroup
	for i := range facts {
		for _, s := range writers { // everyone records everything
			all.Go(func() {
				out, err := s.Record(t.Context(), message(), []domain.Fact{details(1, i)})
				if err != nil {
					t.Errorf("fact %d: %v", i, err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if id, ok := revisions[out[0].Revision]; ok && id != out[0].EventID {
					t.Errorf("revision %d is both %s and %s", out[0].Revision, id, out[0].EventID)
				}
				revisions[out[0].Revision] = out[0].EventID
				if out[0].Verdict != domain.VerdictDuplicate {
					firsts[out[0].EventID]++
				}
			})
		}
	}
	all.Wait()
	if len(revisions) != facts || len(firsts) != facts {
		t.Errorf("%d revisions, %d events stored by someone; want %d", len(revisions), len(firsts), facts)
	}
	for id, n := range firsts {
		if n != 1 {
			t.Errorf("%d writers say that they stored %s", n, id)
		}
	}
	wantSound(t, writers[0], facts)
}

func TestFactsWaitForNobodyElsesOrder(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 4})
	const orders = 400 // far more than go singly
	var all sync.WaitGroup
	for n := range orders {
		all.Go(func() {
			out, err := s.Record(t.Context(), message(), []domain.Fact{fact(n, 0, domain.KindPending), fact(n, 1, domain.KindApproved)})
			if err != nil || len(out) != 2 || out[1].Status != domain.StatusApproved {
				t.Errorf("order %d: %+v, %v", n, out, err)
			}
		})
	}
	all.Wait()
	wantSound(t, s, 2*orders)
}

func TestForgottenOrdersAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, natstest.FastNode(t, dir).Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{CachedEvents: 64})
	const orders = 300
	for n := range orders {
		record(t, s, fact(n, 0, domain.KindPending))
	}
	for n := range orders {
		if out := record(t, s, fact(n, 0, domain.KindPending))[0]; out.Verdict != domain.VerdictDuplicate || out.Revision != 1 {
			t.Fatalf("order %d: %+v, want the duplicate of revision 1", n, out)
		}
	}
	wantSound(t, s, orders)
}

func TestWordOnAnOrderThatIsNotInMemory(t *testing.T) {
	a, node, dir := fast(t, eventstore.Config{})
	event := record(t, a, fact(1, 0, domain.KindApproved))[0].EventID
	b := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	word := fact(1, 1, domain.KindResolved)
	word.Resolution = &domain.Resolution{Event: event, Action: domain.ActionReject}
	msg := message()
	msg.Cause = domain.Cause{Actor: "ana", Reason: "test order"}
	out, err := b.Record(t.Context(), msg, []domain.Fact{word})
	if err != nil || out[0].Revision != 2 || out[0].Status != domain.StatusNone {
		t.Errorf("reject: %+v, %v; want revision 2 and no status", out, err)
	}
	word.Key, word.Resolution = "unknown", &domain.Resolution{Event: "nothing", Action: domain.ActionReject}
	if _, err := b.Record(t.Context(), msg, []domain.Fact{word}); domain.KindOf(err) != domain.Refused && domain.KindOf(err) != domain.Invalid {
		t.Errorf("a word on nothing: %v", err)
	}
	wantSound(t, a, 2)
}

func TestFullOrderIsExhausted(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	for i := range order.MaxFacts {
		record(t, s, details(1, i))
	}
	other := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	for name, s := range map[string]*store{"in memory": s, "not in memory": other} {
		_, err := s.Record(t.Context(), message(), []domain.Fact{details(1, order.MaxFacts)})
		if domain.KindOf(err) != domain.Exhausted {
			t.Errorf("%s: %v, want exhausted", name, err)
		}
	}
	wantSound(t, s, order.MaxFacts)
}

func TestErasedOrderGoesOnUnderANewKey(t *testing.T) {
	a, node, dir := fast(t, eventstore.Config{})
	record(t, a, fact(1, 0, domain.KindApproved))
	first := history(t, a, 1)[0].Event
	keys, err := newJS(t, a).KeyValue(t.Context(), privacy.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Purge(t.Context(), first.KeyID); err != nil {
		t.Fatal(err)
	}
	b := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	record(t, b, fact(1, 1, domain.KindChargeback))
	second := history(t, b, 1)[1].Event
	if second.KeyID == "" || second.KeyID == first.KeyID {
		t.Errorf("keys %q and %q: want a new one", first.KeyID, second.KeyID)
	}
	if _, err := b.vault.Reveal(t.Context(), &first); domain.KindOf(err) != domain.NotFound {
		t.Errorf("the erased person: %v, want not found", err)
	}
	if _, err := b.vault.Reveal(t.Context(), &second); err != nil {
		t.Errorf("what came after: %v", err)
	}
	wantSound(t, b, 2)
}

func TestErrorKeepsTheFactsBefore(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	bad := fact(1, 1, domain.KindResolved) // names no event
	out, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 0, domain.KindPending), bad})
	if domain.KindOf(err) != domain.Invalid || len(out) != 1 {
		t.Errorf("outcomes %+v, %v; want the first fact's and an invalid second", out, err)
	}
	wantSound(t, s, 1)
}

func TestClockThatGoesBackDoesNotShow(t *testing.T) {
	dir := t.TempDir()
	now := noon
	s := open(t, natstest.FastNode(t, dir).Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{Clock: func() time.Time { return now }})
	record(t, s, fact(1, 0, domain.KindPending))
	now = noon.Add(-time.Hour)
	record(t, s, fact(1, 1, domain.KindApproved))
	events := history(t, s, 1)
	if events[1].Event.RecordedAt.Before(events[0].Event.RecordedAt) {
		t.Errorf("revision 2 was recorded at %s, before revision 1 at %s", events[1].Event.RecordedAt, events[0].Event.RecordedAt)
	}
	wantSound(t, s, 2)
}

func TestCallerWhoLeavesIsToldNothing(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if out, err := s.Record(ctx, message(), []domain.Fact{fact(1, 0, domain.KindPending)}); domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
		t.Errorf("outcomes %+v, %v; want unavailable", out, err)
	}
	if out := record(t, s, fact(1, 0, domain.KindPending))[0]; out.Revision != 1 {
		t.Errorf("after it: %+v", out)
	}
	wantSound(t, s, 1)
}

func TestAppendsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	a, node, dir := fast(t, eventstore.Config{Registerer: reg})
	b := open(t, node.Conn(), dir, eventstore.Config{}, eventstore.RecorderConfig{})
	record(t, b, fact(1, 0, domain.KindPending))
	record(t, a, fact(1, 1, domain.KindApproved)) // assumes a new order
	got := make(map[string]float64)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += "/" + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	want := map[string]float64{
		"comanda_eventstore_appends_total/stored":    1,
		"comanda_eventstore_appends_total/conflict":  1,
		"comanda_eventstore_appends_total/duplicate": 0,
		"comanda_eventstore_appends_total/unknown":   0,
		"comanda_eventstore_append_seconds":          2,
		"comanda_eventstore_redecided_total":         1,
		"comanda_eventstore_reused_ids_total":        0,
		"comanda_eventstore_writable":                1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}
