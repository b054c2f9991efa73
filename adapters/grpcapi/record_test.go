package grpcapi_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// ofOrder is a request about order 1, by its source, at a minute of a day.
func ofOrder(minute int, id string, kind domain.Kind) *comandav1.RecordFactRequest {
	return &comandav1.RecordFactRequest{
		RequestId: id, Reason: "the bank says so", Actor: "ana",
		Order: &comandav1.RecordFactRequest_SourceOrder{SourceOrder: &comandav1.SourceOrder{
			Source: "loja-checkout", ProviderOrderId: identity(1).ProviderOrderID,
		}},
		Fact: &comandav1.NewFact{
			Kind: wire.Kind(kind), OccurredAt: timestamppb.New(time.Date(2026, 5, 9, 12, minute, 0, 0, time.UTC)),
			Amounts: &comandav1.Amounts{Currency: "BRL", Paid: proto.Int64(12_000)},
		},
	}
}

// detail is the first detail of its type; it must be there.
func detail[D proto.Message](t *testing.T, err error) D {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if d, ok := d.(D); ok {
			return d
		}
	}
	t.Fatalf("%v has no such detail", err)
	panic("not reached")
}

func TestRecordFactIsAFactLikeAnyOther(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	trace := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", trace, "tracestate", "rojo=1", "tracestate", "congo=2")
	req := ofOrder(0, "req-1", domain.KindApproved)
	req.ExpectedRevision = proto.Uint64(0)
	first, err := s.orders.RecordFact(ctx, req)
	must(t, err)
	if first.GetOrderId() != string(anOrder) || first.GetRevision() != 1 || first.GetDuplicate() || first.GetVerdict() != comandav1.Verdict_VERDICT_APPLIED {
		t.Errorf("answer: %v", first)
	}
	back := ofOrder(1, "req-2", domain.KindRefunded)
	back.Order = &comandav1.RecordFactRequest_OrderId{OrderId: string(anOrder)} // the views need not know it yet
	_, err = s.orders.RecordFact(t.Context(), back)
	must(t, err)
	again, err := s.orders.RecordFact(t.Context(), req)
	must(t, err)
	want := proto.CloneOf(first)
	want.Duplicate, want.Status = true, comandav1.OrderStatus_ORDER_STATUS_REFUNDED
	if diff := cmp.Diff(want, again, protocmp.Transform()); diff != "" {
		t.Errorf("a repeat, on terms that held only then (-want +got):\n%s", diff)
	}
	history, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder), MinPosition: first.GetPosition()})
	must(t, err)
	e := history.GetEvents()[0]
	cause := &comandav1.Cause{RequestId: "req-1", Traceparent: trace, Tracestate: "rojo=1,congo=2", Actor: "anyone/ana", Reason: "the bank says so"}
	if diff := cmp.Diff(cause, e.GetCause(), protocmp.Transform()); diff != "" {
		t.Errorf("cause (-want +got):\n%s", diff)
	}
	if e.GetSource() != "comanda-api" || e.GetKey() != "req-1" || e.GetAmounts().GetPaid() != 12_000 || e.GetOccurredText() != "2026-05-09T12:00:00Z" {
		t.Errorf("event: %v", e)
	}
}

func TestRecordFactRefuses(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	for i, kind := range []domain.Kind{domain.KindApproved, domain.KindChargeback} {
		_, err := s.orders.RecordFact(t.Context(), ofOrder(10*i, "setup-"+kind.String(), kind))
		must(t, err)
	}
	record := func(change func(*comandav1.RecordFactRequest)) error {
		req := ofOrder(5, "req-1", domain.KindRefused)
		change(req)
		_, err := s.orders.RecordFact(t.Context(), req)
		return err
	}
	unknown := func(req *comandav1.RecordFactRequest) {
		req.Order = &comandav1.RecordFactRequest_OrderId{OrderId: string(identity(99).OrderID())}
	}
	for name, c := range map[string]struct {
		change func(*comandav1.RecordFactRequest)
		code   codes.Code
		reason string
		meta   map[string]string
	}{
		"what the fold refuses": {func(*comandav1.RecordFactRequest) {}, codes.FailedPrecondition, "REFUSED", map[string]string{
			"kind": "refused", "effective_at": "2026-05-09T12:05:00Z", "why": "contradicts_status", "status_then": "approved", "status": "chargeback",
			"legal_kinds": "started,abandoned,cancelled,expired,approved,refund_requested,partially_refunded,refunded,chargeback,chargeback_reversed",
		}},
		"a stale revision": {func(r *comandav1.RecordFactRequest) { r.ExpectedRevision = proto.Uint64(1) }, codes.Aborted, "STALE", map[string]string{
			"expected_revision": "1", "revision": "2",
		}},
		"an id of another fact": {func(r *comandav1.RecordFactRequest) { r.RequestId = "setup-approved" }, codes.AlreadyExists, "EXISTS", nil},
		"an unknown order":      {unknown, codes.NotFound, "NOT_FOUND", nil},
		"an unknown source":     {func(r *comandav1.RecordFactRequest) { r.GetSourceOrder().Source = "nobody" }, codes.NotFound, "NOT_FOUND", nil},
		"a word on no event": {func(r *comandav1.RecordFactRequest) {
			r.Fact.Kind, r.Fact.Resolution = comandav1.FactKind_FACT_KIND_RESOLVED, &comandav1.Resolution{EventId: strings.Repeat("a", 26), Action: "accept"}
		}, codes.FailedPrecondition, "REFUSED", nil},
		"no fact":        {func(r *comandav1.RecordFactRequest) { r.Fact.Amounts.Paid = proto.Int64(-1) }, codes.InvalidArgument, "INVALID", nil},
		"not even asked": {func(r *comandav1.RecordFactRequest) { r.RequestId = "" }, codes.InvalidArgument, "INVALID", nil},
	} {
		err := record(c.change)
		info := detail[*errdetails.ErrorInfo](t, err)
		if status.Code(err) != c.code || info.GetReason() != c.reason || info.GetDomain() != "comanda" {
			t.Errorf("%s: %v, %v", name, err, info)
		}
		if diff := cmp.Diff(c.meta, info.GetMetadata()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := violated(t, record(func(r *comandav1.RecordFactRequest) {
		r.RequestId, r.Reason, r.Order, r.Fact.Kind, r.GetFact().Reference = "no spaces", "", nil, 0, strings.Repeat("x", 513)
	})); !cmp.Equal(got, []string{"fact.kind", "fact.reference", "order", "reason", "request_id"}) {
		t.Errorf("violations: %v", got)
	}
	if got := violated(t, record(func(r *comandav1.RecordFactRequest) { r.Fact.Amounts.Paid = proto.Int64(-1) })); !cmp.Equal(got, []string{"fact.paid"}) {
		t.Errorf("violations of the domain: %v", got)
	}
	head, err := store.log.Head(t.Context())
	must(t, err)
	must(t, store.runner.Wait(t.Context(), head))
	order, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: string(anOrder)})
	must(t, err)
	if order.GetOrder().GetRevision() != 2 {
		t.Errorf("something was stored: %v", order)
	}
}

// TestEveryoneAsksForTheSame makes one request many times at once, with others that
// want the same revision: one is stored, and whoever made it hears so.
func TestEveryoneAsksForTheSame(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var mu sync.Mutex
	events, first, stale := map[string]int{}, 0, 0
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			req := ofOrder(0, "req-"+string(rune('a'+i%4)), domain.KindApproved)
			req.ExpectedRevision = proto.Uint64(0)
			answer, err := s.orders.RecordFact(t.Context(), req)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case status.Code(err) == codes.Aborted:
				stale++
			case err != nil:
				t.Error(err)
			default:
				events[answer.GetEventId()]++
				if !answer.GetDuplicate() {
					first++
				}
			}
		})
	}
	all.Wait()
	if len(events) != 1 || first != 1 || stale != 18 {
		t.Errorf("%d events, %d times the first, %d stale; want 1, 1 and 18", len(events), first, stale)
	}
}

func TestExplainOrderSaysWhyAndWhatNext(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var position string
	for _, f := range []struct {
		kind   domain.Kind
		minute int
	}{{domain.KindApproved, 5}, {domain.KindPending, 1}, {domain.KindDetails, 6}} {
		answer, err := s.orders.RecordFact(t.Context(), ofOrder(f.minute, "req-"+f.kind.String(), f.kind))
		must(t, err)
		position = answer.GetPosition()
	}
	got, err := s.orders.ExplainOrder(t.Context(), &comandav1.ExplainOrderRequest{OrderId: string(anOrder), MinPosition: position})
	must(t, err)
	texts := make([]string, 0, 3)
	for _, f := range got.GetFacts() {
		texts = append(texts, f.GetText())
	}
	want := []string{
		"pending of 2026-05-09T12:01:00Z: recorded as late, the order stayed approved because a fact of a later date was known; now it moves the order from none to pending.",
		"approved of 2026-05-09T12:05:00Z: recorded as applied, it moved the order from none to approved; now it moves the order from pending to approved.",
		"details of 2026-05-09T12:06:00Z: recorded as noted, the order stayed approved because facts of its kind never move the status; now it moves nothing because facts of its kind never move the status.",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	next := map[string]string{}
	for _, n := range got.GetNext() {
		next[wire.Word(n.GetKind())] = wire.Word(n.GetVerdict()) + " " + wire.Word(n.GetStatusTo()) + " " + n.GetWhy()
	}
	if len(next) != 12 || next["refused"] != "conflict approved contradicts_status" || next["refunded"] != "applied refunded " || next["approved"] != "noted approved nothing_to_move" {
		t.Errorf("next: %v", next)
	}
	if got.GetOrder().GetRevision() != 3 || len(got.GetOrder().GetPath()) != 2 {
		t.Errorf("order: %v", got.GetOrder())
	}
	_, err = s.orders.ExplainOrder(t.Context(), &comandav1.ExplainOrderRequest{OrderId: string(identity(9).OrderID())})
	if status.Code(err) != codes.NotFound {
		t.Errorf("an unknown order: %v", err)
	}
}

func TestSeveralOrdersAtOnce(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var position domain.Position
	for n := range 2 {
		position = position.Merge(store.record(n, domain.KindApproved).Position)
	}
	id := func(n int) string { return string(identity(n).OrderID()) }
	got, err := s.orders.BatchGetOrders(t.Context(), &comandav1.BatchGetOrdersRequest{
		OrderIds: []string{id(1), id(7), id(0)}, MinPosition: position.String(),
	})
	must(t, err)
	if o := got.GetOrders(); len(o) != 2 || o[0].GetOrderId() != id(1) || o[1].GetOrderId() != id(0) || len(o[0].GetPath()) > 0 || !cmp.Equal(got.GetMissingOrderIds(), []string{id(7)}) {
		t.Errorf("answer: %v", got)
	}
	for name, ids := range map[string][]string{"none": nil, "one twice": {id(1), id(1)}, "a wrong one": {"ord_1"}, "too many": slicesOf(101, id)} {
		_, err := s.orders.BatchGetOrders(t.Context(), &comandav1.BatchGetOrdersRequest{OrderIds: ids})
		if got := violated(t, err); len(got) == 0 || !strings.HasPrefix(got[0], "order_ids") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func slicesOf(n int, id func(int) string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = id(i)
	}
	return out
}

func TestSourcesShowNoSecrets(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	loja := &comandav1.Source{Source: "loja-checkout", Provider: "comanda", Tenant: "loja", Auth: &comandav1.SourceAuth{
		Type: "hmac", Header: "X-Signature", Hash: "sha256", Encoding: "hex", LiveSecrets: 1,
	}}
	outra := &comandav1.Source{Source: "outra-checkout", Provider: "comanda", Tenant: "outra", Auth: &comandav1.SourceAuth{Type: "token", LiveSecrets: 2}}
	terceira := &comandav1.Source{Source: "terceira-checkout", Provider: "comanda", Tenant: "terceira", Auth: &comandav1.SourceAuth{Type: "token", LiveSecrets: 1}}
	for tenant, want := range map[string][]*comandav1.Source{"": {loja, outra, terceira}, "loja": {loja}, "nobody": nil} {
		got, err := s.sources.ListSources(t.Context(), &comandav1.ListSourcesRequest{Tenant: tenant})
		must(t, err)
		if diff := cmp.Diff(want, got.GetSources(), protocmp.Transform()); diff != "" {
			t.Errorf("of %q (-want +got):\n%s", tenant, diff)
		}
	}
	got, err := s.sources.GetSource(t.Context(), &comandav1.GetSourceRequest{Source: "loja-checkout"})
	must(t, err)
	if diff := cmp.Diff(loja, got.GetSource(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := s.sources.GetSource(t.Context(), &comandav1.GetSourceRequest{Source: "nobody"}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown source: %v", err)
	}
}
