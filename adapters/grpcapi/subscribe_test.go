package grpcapi_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// variety records facts of two merchants, through three sources, of n orders,
// and answers them as an unfiltered subscription tells them.
func (s *store) variety(api *server, n int) []*comandav1.SubscribedEvent {
	s.t.Helper()
	var orders sync.WaitGroup
	for order := range n {
		orders.Go(func() {
			tenant, source := domain.TenantID("loja"), domain.SourceID(fmt.Sprint("source-", order%3))
			if order%4 == 0 {
				tenant = "outra"
			}
			for i, kind := range []domain.Kind{domain.KindPending, domain.KindDetails, domain.KindRefused, domain.KindApproved, domain.KindRefunded, domain.KindShipping} {
				if i < 2+order%5 {
					s.recordAs(order, kind, tenant, source)
				}
			}
		})
	}
	orders.Wait()
	sub := subscribe(s.t, api, fromBeginning())
	var all []*comandav1.SubscribedEvent
	for {
		switch m := sub.next(); {
		case m.GetEvent() != nil:
			all = append(all, m.GetEvent())
		case m.GetCaughtUp() != nil:
			return all
		}
	}
}

// edge is a StatusEdge.
func edge(from, to comandav1.OrderStatus) *comandav1.StatusEdge {
	return &comandav1.StatusEdge{From: from, To: to}
}

const (
	anyStatus = comandav1.OrderStatus_ORDER_STATUS_UNSPECIFIED
	pending   = comandav1.OrderStatus_ORDER_STATUS_PENDING
	approved  = comandav1.OrderStatus_ORDER_STATUS_APPROVED
	refunded  = comandav1.OrderStatus_ORDER_STATUS_REFUNDED
)

// filterCase is a filter, and what it wants, said in another way.
type filterCase struct {
	filter *comandav1.EventFilter
	wants  func(*comandav1.Event) bool
}

func filterCases() map[string]filterCase {
	order := string(identity(5).OrderID())
	applied := func(e *comandav1.Event) bool { return e.GetVerdict() == comandav1.Verdict_VERDICT_APPLIED }
	return map[string]filterCase{
		"nothing":     {nil, func(*comandav1.Event) bool { return true }},
		"an empty":    {&comandav1.EventFilter{}, func(*comandav1.Event) bool { return true }},
		"a tenant":    {&comandav1.EventFilter{Tenants: []string{"outra"}}, func(e *comandav1.Event) bool { return e.GetTenant() == "outra" }},
		"two tenants": {&comandav1.EventFilter{Tenants: []string{"outra", "loja"}}, func(*comandav1.Event) bool { return true }},
		"a source":    {&comandav1.EventFilter{Sources: []string{"source-2"}}, func(e *comandav1.Event) bool { return e.GetSource() == "source-2" }},
		"an order":    {&comandav1.EventFilter{OrderIds: []string{order}}, func(e *comandav1.Event) bool { return e.GetOrderId() == order }},
		"a reference": {&comandav1.EventFilter{References: []string{"EX3", "EX1"}}, func(e *comandav1.Event) bool {
			return e.GetReference() == "EX1" || e.GetReference() == "EX3"
		}},
		"kinds": {&comandav1.EventFilter{Kinds: []comandav1.FactKind{wire.Kind(domain.KindRefunded), wire.Kind(domain.KindDetails)}}, func(e *comandav1.Event) bool {
			return wire.Word(e.GetKind()) == "refunded" || wire.Word(e.GetKind()) == "details"
		}},
		"verdicts": {&comandav1.EventFilter{Verdicts: []comandav1.Verdict{comandav1.Verdict_VERDICT_NOTED}}, func(e *comandav1.Event) bool {
			return wire.Word(e.GetVerdict()) == "noted"
		}},
		"an edge": {&comandav1.EventFilter{Edges: []*comandav1.StatusEdge{edge(approved, refunded)}}, func(e *comandav1.Event) bool {
			return applied(e) && e.GetStatusFrom() == approved && e.GetStatusTo() == refunded
		}},
		"two edges": {&comandav1.EventFilter{Edges: []*comandav1.StatusEdge{edge(anyStatus, approved), edge(pending, anyStatus)}}, func(e *comandav1.Event) bool {
			return applied(e) && (e.GetStatusTo() == approved || e.GetStatusFrom() == pending)
		}},
		"any edge": {&comandav1.EventFilter{Edges: []*comandav1.StatusEdge{edge(anyStatus, anyStatus)}}, applied},
		"all at once": {&comandav1.EventFilter{
			Tenants: []string{"loja"}, Sources: []string{"source-1", "source-2"}, Edges: []*comandav1.StatusEdge{edge(anyStatus, approved)},
		}, func(e *comandav1.Event) bool {
			return e.GetTenant() == "loja" && e.GetSource() != "source-0" && applied(e) && e.GetStatusTo() == approved
		}},
		"what never happens": {&comandav1.EventFilter{Tenants: []string{"ninguem"}}, func(*comandav1.Event) bool { return false }},
	}
}

// matching are the ids that c wants, of the events after a place.
func (c *filterCase) matching(t *testing.T, all []*comandav1.SubscribedEvent, after domain.Position) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range all {
		at, err := domain.ParsePosition(e.GetPosition())
		must(t, err)
		if !after.Covers(at) && c.wants(e.GetEvent()) {
			ids[e.GetEvent().GetEventId()] = true
		}
	}
	return ids
}

func with(req *comandav1.SubscribeRequest, f *comandav1.EventFilter) *comandav1.SubscribeRequest {
	req.Filter = f
	return req
}

// TestEveryMessageIsAPlaceToResume cuts a subscription after each of its messages,
// of whatever kind, with every filter: what comes after is what is wanted and was not
// sent, once. So no checkpoint is ahead of an event that is wanted.
func TestEveryMessageIsAPlaceToResume(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{CheckpointEvery: 3}, store.deps())
	all := store.variety(s, 12)
	checkpoints := 0
	for name, c := range filterCases() {
		whole := subscribe(t, s, with(fromBeginning(), c.filter))
		var ids []string
		for done := false; !done; {
			m := whole.next()
			if e := m.GetEvent(); e != nil {
				ids = append(ids, e.GetEvent().GetEventId())
			}
			if m.GetCheckpoint() != nil {
				checkpoints++
			}
			rest := subscribe(t, s, with(from(whole.token), c.filter))
			rest.place = whole.place
			left := rest.catchUp()
			same(t, c.matching(t, all, whole.place), left)
			same(t, c.matching(t, all, domain.Position{}), append(slices.Clip(ids), left...))
			done = m.GetCaughtUp() != nil
		}
		if t.Failed() {
			t.Fatalf("with the filter %s", name)
		}
	}
	if checkpoints < 3*len(filterCases()) {
		t.Errorf("%d checkpoints", checkpoints)
	}
}

// TestLiveCheckpointsAreNotAheadOfAMatch follows live, with a filter for one event in
// some: at each checkpoint all that is wanted up to there was sent.
func TestLiveCheckpointsAreNotAheadOfAMatch(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{CheckpointEvery: 3}, store.deps())
	c := filterCases()["an edge"]
	sub := subscribe(t, s, with(fromNow(), c.filter))
	sub.catchUp()
	all := store.variety(s, 20)
	want := c.matching(t, all, domain.Position{})
	sent, live := map[string]bool{}, 0
	for head := headOf(t, store); !closeTo(sub.place, head, 3); {
		m := sub.next()
		if e := m.GetEvent(); e != nil {
			sent[e.GetEvent().GetEventId()] = true
		}
		if m.GetCheckpoint() == nil {
			continue
		}
		live++
		later := c.matching(t, all, sub.place)
		for id := range want {
			if !sent[id] && !later[id] {
				t.Fatalf("the checkpoint at %v is ahead of %s", sub.place, id)
			}
		}
	}
	if live < 3 {
		t.Errorf("%d checkpoints", live)
	}
}

// closeTo reports whether fewer than n events are between two places.
func closeTo(at, head domain.Position, n uint64) bool {
	left := uint64(0)
	for p := range partitions {
		left += head.At(p) - at.At(p)
	}
	return left < n
}

// TestATokenIsOfItsFilter wants the token of one filter refused with another, and
// taken with one that is only written differently.
func TestATokenIsOfItsFilter(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	store.variety(s, 4)
	tokens, digests := map[string]string{}, map[string]bool{}
	cases := filterCases()
	delete(cases, "an empty") // is no filter
	for name, c := range cases {
		sub := subscribe(t, s, with(fromBeginning(), c.filter))
		sub.catchUp()
		tokens[name], digests[sub.token] = sub.token, true
	}
	if len(digests) != len(cases) {
		t.Errorf("%d tokens of %d filters", len(digests), len(cases))
	}
	for of, token := range tokens {
		for name, c := range cases {
			stream, err := s.events.Subscribe(t.Context(), with(from(token), c.filter))
			must(t, err)
			_, err = stream.Recv()
			switch st := status.Convert(err); {
			case of == name:
				must(t, err)
			case st.Code() != codes.FailedPrecondition || subjectOf(st) != "FILTER":
				t.Errorf("the token of %s with %s: %v", of, name, err)
			}
		}
	}
	again := &comandav1.EventFilter{References: []string{"EX1", "EX3", "EX1"}}
	subscribe(t, s, with(from(tokens["a reference"]), again)).next()
	subscribe(t, s, with(from(tokens["nothing"]), &comandav1.EventFilter{})).next()
}

// TestTokensOfVersionOne are read for subscriptions without a filter, and for no others.
func TestTokensOfVersionOne(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	all := store.variety(s, 4)
	half := placeOf(t, all[len(all)/2].GetResumeToken())
	old := binary.AppendUvarint([]byte{1}, store.log.Epoch())
	old = binary.AppendUvarint(old, uint64(len(store.log.Identity())))
	old = append(append(old, store.log.Identity()...), half.String()...)
	token := base64.RawURLEncoding.EncodeToString(old)
	none := filterCases()["nothing"]
	same(t, none.matching(t, all, half), subscribe(t, s, from(token)).catchUp())
	stream, err := s.events.Subscribe(t.Context(), with(from(token), filterCases()["a tenant"].filter))
	must(t, err)
	_, err = stream.Recv()
	if st := status.Convert(err); st.Code() != codes.FailedPrecondition || subjectOf(st) != "FILTER" {
		t.Errorf("with a filter: %v", err)
	}
}

func TestSubscribeFromATimeAndAPosition(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	all := store.variety(s, 12)
	at := map[string]time.Time{}
	for _, e := range all {
		at[e.GetEvent().GetEventId()] = e.GetEvent().GetRecordedAt().AsTime()
	}
	times := slices.SortedFunc(func(yield func(time.Time) bool) {
		for _, moment := range at {
			if !yield(moment) {
				return
			}
		}
	}, time.Time.Compare)
	since := func(moment time.Time) *comandav1.SubscribeRequest {
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Time{Time: timestamppb.New(moment)}}
	}
	for _, moment := range []time.Time{times[0].Add(-time.Hour), times[0], times[len(times)/2], times[len(times)-1], times[len(times)-1].Add(time.Hour)} {
		got := map[string]bool{}
		for _, id := range subscribe(t, s, since(moment)).catchUp() {
			got[id] = true
		}
		for id, recorded := range at {
			if !recorded.Before(moment) && !got[id] {
				t.Errorf("from %s: event of %s is missing", moment, recorded)
			}
			if moment.Equal(times[0].Add(-time.Hour)) != (len(got) == len(all)) && !moment.Equal(times[0]) {
				t.Errorf("from %s: %d events of %d", moment, len(got), len(all))
			}
		}
		if moment.After(times[len(times)-1]) && len(got) > 0 {
			t.Errorf("from a time to come: %v", got)
		}
	}
	half := placeOf(t, all[len(all)/2].GetResumeToken())
	after := func(position string) *comandav1.SubscribeRequest {
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Position{Position: position}}
	}
	c := filterCases()["a source"]
	same(t, c.matching(t, all, half), subscribe(t, s, with(after(half.String()), c.filter)).catchUp())
	one := all[len(all)/2].GetPosition() // speaks of one partition
	place, err := domain.ParsePosition(one)
	must(t, err)
	same(t, c.matching(t, all, place), subscribe(t, s, with(after(one), c.filter)).catchUp())
}

func TestRequestsThatAreRefused(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	store.variety(s, 1)
	start := func(req *comandav1.SubscribeRequest) *comandav1.SubscribeRequest { return req }
	filtered := func(f *comandav1.EventFilter) *comandav1.SubscribeRequest { return with(fromNow(), f) }
	for says, req := range map[string]*comandav1.SubscribeRequest{
		"time":                 start(&comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Time{Time: &timestamppb.Timestamp{Nanos: -1}}}),
		"position":             start(&comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Position{Position: "!"}}),
		"LOG":                  start(&comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Position{Position: domain.Position{}.With(1, 999).String()}}),
		"filter.tenants[1]":    filtered(&comandav1.EventFilter{Tenants: []string{"loja", "LOJA"}}),
		"filter.sources[0]":    filtered(&comandav1.EventFilter{Sources: []string{""}}),
		"filter.order_ids[0]":  filtered(&comandav1.EventFilter{OrderIds: []string{"ord_1"}}),
		"filter.references[0]": filtered(&comandav1.EventFilter{References: []string{""}}),
		"filter.kinds[0]":      filtered(&comandav1.EventFilter{Kinds: []comandav1.FactKind{0}}),
		"filter.verdicts[0]":   filtered(&comandav1.EventFilter{Verdicts: []comandav1.Verdict{99}}),
		"filter.edges[0].from": filtered(&comandav1.EventFilter{Edges: []*comandav1.StatusEdge{edge(99, 0)}}),
		"filter.references":    filtered(&comandav1.EventFilter{References: slices.Repeat([]string{"r"}, 1001)}),
	} {
		stream, err := s.events.Subscribe(t.Context(), req)
		must(t, err)
		_, err = stream.Recv()
		want := codes.InvalidArgument
		if says == "LOG" {
			want = codes.FailedPrecondition
		}
		st := status.Convert(err)
		if st.Code() != want || subjectOf(st) != says || says == "LOG" && !strings.HasPrefix(st.Message(), "position:") {
			t.Errorf("%s: %v about %q", says, err, subjectOf(st))
		}
	}
}

// TestTheCallersTenantsAreAskedForEveryEvent asks for more than a token allows.
func TestTheCallersTenantsAreAskedForEveryEvent(t *testing.T) {
	g := guard(t, newStore(t))
	g.create("all", []access.Scope{access.EventsRead}, access.AnyTenant)
	g.create("one", []access.Scope{access.EventsRead}, "outra")
	all := g.variety(g.dial("all"), 8)
	s := g.dial("one")
	mine := filterCases()["a tenant"]
	sub := subscribe(t, s, with(fromBeginning(), &comandav1.EventFilter{Tenants: []string{"outra", "loja"}}))
	same(t, mine.matching(t, all, domain.Position{}), sub.catchUp())
	same(t, mine.matching(t, all, domain.Position{}), read(t, s, &comandav1.ReadEventsRequest{}).ids)
	same(t, mine.matching(t, all, domain.Position{}), list(t, s, &comandav1.ListEventsRequest{}, 1000))

	g.recordAs(100, domain.KindPending, "loja", "source-1")
	want := g.recordAs(101, domain.KindPending, "outra", "source-1")
	if got := sub.event().GetEvent(); got.GetEventId() != string(want.EventID) {
		t.Errorf("event %v, want %v", got, want)
	}
}
