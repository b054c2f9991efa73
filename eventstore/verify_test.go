package eventstore_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestVerifyReportsEveryOrderAsItEnds(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 2})
	const orders = 50
	want := make(map[domain.OrderID]domain.Status)
	for n := range orders {
		out := record(t, s, fact(n, 0, domain.KindPending), fact(n, 1, []domain.Kind{domain.KindApproved, domain.KindRefused}[n%2]))
		want[orderID(n)] = out[1].Status
	}
	for name, most := range map[string]int{"in one pass": 0, "in many passes": 7} {
		got := make(map[domain.OrderID]domain.Status)
		var events, total uint64
		report, err := s.Verify(t.Context(), eventstore.VerifyOptions{
			EventsInMemory: most,
			Progress:       func(e, t uint64) { events, total = e, t },
			Order: func(o eventstore.VerifiedOrder) error {
				events, err := s.Order(t.Context(), o.ID)
				if err != nil {
					return err
				}
				last := events[1]
				if o.Tenant != tenant || o.Source != source || o.Partition != last.Partition || o.Sequence != last.Sequence || o.Hash != last.Hash {
					t.Errorf("%s: order %+v, its last event is %d:%d", name, o, last.Partition, last.Sequence)
				}
				got[o.ID] = o.State.Status
				return nil
			},
		})
		if err != nil || report.ProblemCount != 0 {
			t.Fatalf("%s: %+v, %v", name, report, err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: statuses (-want +got):\n%s", name, diff)
		}
		if report.Events != 2*orders || report.Orders != orders || events != 2*orders || total != 2*orders {
			t.Errorf("%s: report %d events of %d orders, progress %d of %d", name, report.Events, report.Orders, events, total)
		}
	}
	stop := errors.New("stop")
	if _, err := s.Verify(t.Context(), eventstore.VerifyOptions{Order: func(eventstore.VerifiedOrder) error { return stop }}); !errors.Is(err, stop) {
		t.Errorf("the callback's error: %v", err)
	}
}

// forged is a message that somebody wrote into the log by other means.
type forged struct {
	subject string
	header  nats.Header
	env     *comandav1.Envelope
	data    []byte // instead of env
}

// copied is the message at a sequence of s, ready to be written elsewhere.
func copied(t *testing.T, s *store, sequence uint64) *forged {
	t.Helper()
	m := stored(t, s, sequence)
	f := &forged{subject: m.Subject, header: nats.Header{}, env: &comandav1.Envelope{}}
	f.header.Set("Nats-Msg-Id", m.Header.Get("Nats-Msg-Id"))
	f.header.Set("Comanda-Type", m.Header.Get("Comanda-Type"))
	if err := proto.Unmarshal(m.Data, f.env); err != nil {
		t.Fatal(err)
	}
	return f
}

func write(t *testing.T, s *store, f *forged) {
	t.Helper()
	data := f.data
	if data == nil {
		var err error
		if data, err = proto.Marshal(f.env); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newJS(t, s).PublishMsg(t.Context(), &nats.Msg{Subject: f.subject, Header: f.header, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyFindsWhatIsForged writes the three events of an order into another
// log, the third wrong in one way, and wants the rules by name.
func TestVerifyFindsWhatIsForged(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	record(t, origin, fact(1, 0, domain.KindPending), fact(1, 1, domain.KindApproved), fact(1, 2, domain.KindRefunded))
	type rules = []eventstore.Rule
	for name, c := range map[string]struct {
		forge func(*forged)
		want  rules
	}{
		"nothing wrong":          {func(*forged) {}, nil},
		"noise":                  {func(f *forged) { f.data = []byte{0xff, 0xff} }, rules{eventstore.RuleDecode}},
		"an empty envelope":      {func(f *forged) { f.data = []byte{0x1a, 0} }, rules{eventstore.RuleDecode}},
		"no chain":               {func(f *forged) { f.env.PrevHash = make([]byte, 32) }, rules{eventstore.RuleChain}},
		"a flipped bit in chain": {func(f *forged) { f.env.PrevHash[7] ^= 1 }, rules{eventstore.RuleChain}},
		"a skipped revision":     {func(f *forged) { f.env.Event.Revision = 4 }, rules{eventstore.RuleRevision}},
		"a repeated revision":    {func(f *forged) { f.env.Event.Revision = 2 }, rules{eventstore.RuleRevision}},
		"a status of its own": {
			func(f *forged) { f.env.Event.StatusTo = comandav1.OrderStatus_ORDER_STATUS_CHARGEBACK },
			rules{eventstore.RuleIllegal, eventstore.RuleMisfiled}, // its type says so too
		},
		"another verdict": {
			func(f *forged) { f.env.Event.Verdict = comandav1.Verdict_VERDICT_NOTED },
			rules{eventstore.RuleIllegal, eventstore.RuleMisfiled},
		},
		"another key":     {func(f *forged) { f.env.Event.Key = "else" }, rules{eventstore.RuleIllegal}},
		"an amount":       {func(f *forged) { f.env.Event.Amounts.Total = proto.Int64(1) }, rules{eventstore.RuleIllegal}},
		"a newer machine": {func(f *forged) { f.env.Event.MachineVersion = 99 }, rules{eventstore.RuleIllegal}},
		"recorded in the past": {
			func(f *forged) { f.env.Event.RecordedAt = timestamppb.New(noon.Add(-time.Hour)) },
			rules{eventstore.RuleIllegal},
		},
		"another order's subject": {
			func(f *forged) { f.subject = "orders.00.loja." + string(orderID(2)) },
			rules{eventstore.RuleChain, eventstore.RuleMisfiled, eventstore.RuleRevision}, // the first there, and it is a third
		},
		"another identity": {func(f *forged) { f.env.Event.ProviderOrderId = "else" }, rules{eventstore.RuleIllegal, eventstore.RuleMisfiled}},
		"another type":     {func(f *forged) { f.header.Set("Comanda-Type", "order.approved") }, rules{eventstore.RuleMisfiled}},
		"another id":       {func(f *forged) { f.header.Set("Nats-Msg-Id", "x") }, rules{eventstore.RuleMisfiled}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := fast(t, eventstore.Config{})
			write(t, s, copied(t, origin, 1))
			write(t, s, copied(t, origin, 2))
			third := copied(t, origin, 3)
			c.forge(third)
			write(t, s, third)
			if got := verifiedRules(t, s, 3); !slices.Equal(got, c.want) {
				t.Errorf("rules %v, want %v", got, c.want)
			}
		})
	}
}

// verifiedRules are the rules that s breaks, sorted, all at one sequence.
func verifiedRules(t *testing.T, s *store, sequence uint64) []eventstore.Rule {
	t.Helper()
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var rules []eventstore.Rule
	for _, p := range report.Problems {
		rules = append(rules, p.Rule)
		if p.Sequence != sequence || p.Detail == "" {
			t.Errorf("problem %+v: want sequence %d and a detail", p, sequence)
		}
	}
	slices.Sort(rules)
	return slices.Compact(rules)
}

// TestVerifyFindsATamperedPast changes a sealed byte of the first event: alone it
// looks sound, but the second event's chain knows it otherwise.
func TestVerifyFindsATamperedPast(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	record(t, origin, fact(1, 0, domain.KindPending), fact(1, 1, domain.KindApproved))
	s, _, _ := fast(t, eventstore.Config{})
	first := copied(t, origin, 1)
	first.env.SealedRaw[20] ^= 1
	write(t, s, first)
	write(t, s, copied(t, origin, 2))
	if got := verifiedRules(t, s, 2); !slices.Equal(got, []eventstore.Rule{eventstore.RuleChain}) {
		t.Errorf("rules %v, want chain", got)
	}
	events := history(t, s, 1)
	if _, _, err := s.vault.Raw(t.Context(), &events[0].Event); err == nil {
		t.Error("the tampered seal opens")
	}
}

func TestReadersRefuseWhatIsForged(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	record(t, origin, fact(1, 0, domain.KindPending))
	s, _, _ := fast(t, eventstore.Config{})
	noise := copied(t, origin, 1)
	noise.data = []byte("noise")
	write(t, s, noise)
	err := s.Follow(t.Context(), 0, 0, func([]domain.Recorded) error { return nil })
	if domain.KindOf(err) != domain.Corrupt {
		t.Errorf("follow: %v, want corrupt", err)
	}
	if _, err := s.Order(t.Context(), orderID(1)); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("order: %v, want corrupt", err)
	}
	if out, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 1, domain.KindApproved)}); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("record: %+v, %v, want corrupt", out, err)
	}
}

// holed is a log like origin, of so many events, in a partition that, for a moment, let messages be
// deleted: those that are lost.
func holed(t *testing.T, origin *store, events uint64, lost ...uint64) (*natsnode.Node, string) {
	t.Helper()
	cfg := streamConfig(t, origin, "ORDERS-00")
	cfg.DenyDelete, cfg.DenyPurge = false, false
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	weak, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range events {
		write(t, &store{conn: node.Conn()}, copied(t, origin, seq+1))
	}
	for _, seq := range lost {
		if err := weak.DeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	return node, dir
}

// The third event, the fifth and the last are lost.
func TestVerifyFindsHoles(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	for n := range 6 {
		record(t, origin, fact(n, 0, domain.KindPending))
	}
	node, dir := holed(t, origin, 6, 3, 5, 6)
	_, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{})
	if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "ORDERS-00 holds 3 events and its last sequence is 6; missing are 3 to 3, 5 to 6;") {
		t.Errorf("a log with holes: %v", err)
	}
	s := open(t, node.Conn(), dir, eventstore.Config{Inspect: true}, eventstore.RecorderConfig{})
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []eventstore.Problem{
		{Rule: eventstore.RuleHole, Sequence: 3, Through: 3, Detail: "3 to 3 are missing"},
		{Rule: eventstore.RuleHole, Sequence: 5, Through: 6, Detail: "5 to 6 are missing"},
	}
	if diff := gocmp.Diff(want, report.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if err := s.Follow(t.Context(), 0, 0, func([]domain.Recorded) error { return nil }); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("follow over a hole: %v, want corrupt", err)
	}
}

// What follows from a hole, by the thousand, leaves it in the list.
func TestVerifyListsHolesFirst(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	for n := range 3 {
		record(t, origin, details(1, n))
	}
	node, dir := holed(t, origin, 3, 1)
	s := open(t, node.Conn(), dir, eventstore.Config{Inspect: true}, eventstore.RecorderConfig{})
	for most := range 3 {
		report, err := s.Verify(t.Context(), eventstore.VerifyOptions{MostProblems: most + 1})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(report.Problems); n != most+1 || report.Problems[0].Rule != eventstore.RuleHole || report.ProblemCount < 3 {
			t.Errorf("%d problems: %+v", report.ProblemCount, report.Problems)
		}
	}
}

func TestVerifyListsOnlySoMany(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	record(t, origin, fact(1, 0, domain.KindPending))
	s, _, _ := fast(t, eventstore.Config{})
	for i := range 5 {
		f := copied(t, origin, 1)
		f.data = []byte("noise")
		f.header.Set("Nats-Msg-Id", strconv.Itoa(i))
		write(t, s, f)
	}
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{MostProblems: 2})
	if err != nil || len(report.Problems) != 2 || report.ProblemCount != 5 {
		t.Errorf("%d problems listed of %d, %v; want 2 of 5", len(report.Problems), report.ProblemCount, err)
	}
}

// TestVerifySince wants the whole history of what came after a position proven,
// nothing of other orders, and a change before the position found by its order's next event.
func TestVerifySince(t *testing.T) {
	origin, _, _ := fast(t, eventstore.Config{})
	record(t, origin, fact(1, 0, domain.KindPending))
	record(t, origin, fact(2, 0, domain.KindPending))
	since := record(t, origin, fact(3, 0, domain.KindPending))[0].Position
	record(t, origin, fact(1, 1, domain.KindApproved))
	record(t, origin, fact(4, 0, domain.KindPending))
	for name, c := range map[string]struct {
		tamper uint64 // the sequence whose sealed bytes are changed
		want   []eventstore.Rule
	}{
		"nothing wrong":                 {0, nil},
		"before, of an order after":     {1, []eventstore.Rule{eventstore.RuleChain}},
		"before, of an order not after": {2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, _ := fast(t, eventstore.Config{})
			for sequence := uint64(1); sequence <= 5; sequence++ {
				f := copied(t, origin, sequence)
				if sequence == c.tamper {
					f.env.SealedRaw[20] ^= 1
				}
				write(t, s, f)
			}
			var events []uint64
			revisions := map[domain.OrderID]uint64{}
			report, err := s.Verify(t.Context(), eventstore.VerifyOptions{
				Since: since,
				Event: func(r *domain.Recorded) error { events = append(events, r.Sequence); return nil },
				Order: func(o eventstore.VerifiedOrder) error { revisions[o.ID] = o.State.Revision; return nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			var rules []eventstore.Rule
			for _, p := range report.Problems {
				rules = append(rules, p.Rule)
			}
			if !slices.Equal(rules, c.want) || report.Events != 2 || report.Orders != 2 || report.Head.At(0) != 5 {
				t.Errorf("rules %v, want %v; report %+v", rules, c.want, report)
			}
			if diff := gocmp.Diff([]uint64{4, 5}, events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(map[domain.OrderID]uint64{orderID(1): 2, orderID(4): 1}, revisions); diff != "" {
				t.Errorf("orders (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := origin.Verify(t.Context(), eventstore.VerifyOptions{Since: since.With(0, 99)}); domain.KindOf(err) != domain.Invalid {
		t.Errorf("since a place beyond the end: %v", err)
	}
}

// TestVerifyALittleAtATime goes over a log in slices of three events.
func TestVerifyALittleAtATime(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{Partitions: 2})
	for minute, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		for n := range 7 {
			record(t, s, fact(n, minute, kind))
		}
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var at domain.Position
	var events uint64
	for slices := 0; !at.Equal(head); slices++ {
		report, err := s.Verify(t.Context(), eventstore.VerifyOptions{Since: at, Limit: 3})
		if err != nil || report.ProblemCount != 0 || report.Events > 3 || slices > 7 {
			t.Fatalf("slice %d: %+v, %v", slices, report, err)
		}
		at, events = report.Head, events+report.Events
	}
	if events != 21 {
		t.Errorf("%d events in all, want 21", events)
	}
}

// TestVerifyForgetsQuietOrders holds few events, so that every order is reported
// before its next event and read again with it.
func TestVerifyForgetsQuietOrders(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	for minute, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		for n := range 9 {
			record(t, s, fact(n, minute, kind))
		}
	}
	told := map[domain.OrderID][]uint64{}
	report, err := s.Verify(t.Context(), eventstore.VerifyOptions{
		EventsInMemory: 4,
		Order: func(o eventstore.VerifiedOrder) error {
			told[o.ID] = append(told[o.ID], o.State.Revision)
			return nil
		},
	})
	if err != nil || report.ProblemCount != 0 || report.Events != 27 || report.Orders != 9 {
		t.Fatalf("%+v, %v", report, err)
	}
	for id, revisions := range told {
		if !slices.Equal(revisions, []uint64{1, 2, 3}) {
			t.Errorf("order %s was told at revisions %v, want 1, 2, 3", id, revisions)
		}
	}
	if len(told) != 9 {
		t.Errorf("%d orders were told", len(told))
	}
}
