package grpcapi_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestAnOrderIsReadAsSoonAsItsPositionIsAsked(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	for n, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		out := store.record(1, kind)
		got, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{
			OrderId: string(out.OrderID), MinPosition: out.Position.String(), View: comandav1.OrderView_ORDER_VIEW_FULL,
		})
		must(t, err)
		if o := got.GetOrder(); o.GetRevision() != uint64(n+1) || o.GetProviderOrderId() != "A-1" || o.GetUtm()["utm_source"] != "x" {
			t.Errorf("after %s: %v", kind, o)
		}
		history, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{
			OrderId: string(out.OrderID), MinPosition: out.Position.String(),
		})
		must(t, err)
		if last := history.GetEvents()[n]; len(history.GetEvents()) != n+1 || last.GetEventId() != string(out.EventID) {
			t.Errorf("history after %s: %v", kind, history)
		}
	}
	basic, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: string(anOrder)})
	must(t, err)
	if o := basic.GetOrder(); len(o.GetUtm()) > 0 || len(o.GetPath()) > 0 || o.GetStatus() != comandav1.OrderStatus_ORDER_STATUS_REFUNDED {
		t.Errorf("basic: %v", o)
	}
}

func TestPagesOfOrders(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	var last domain.Outcome
	var position domain.Position
	for n := range 7 {
		last = store.record(n, domain.KindPending)
		position = position.Merge(last.Position)
	}
	last = store.record(3, domain.KindApproved)
	position = position.Merge(last.Position)

	list := func(req *comandav1.ListOrdersRequest) (ids []string) {
		req.MinPosition = position.String()
		for {
			page, err := s.orders.ListOrders(t.Context(), req)
			must(t, err)
			for _, o := range page.GetOrders() {
				ids = append(ids, o.GetProviderOrderId())
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				return ids
			}
		}
	}
	pending := []comandav1.OrderStatus{comandav1.OrderStatus_ORDER_STATUS_PENDING}
	for name, c := range map[string]struct {
		req  *comandav1.ListOrdersRequest
		want []string
	}{
		"all, the last recorded first": {&comandav1.ListOrdersRequest{PageSize: 2}, []string{"A-3", "A-6", "A-5", "A-4", "A-2", "A-1", "A-0"}},
		"in one page":                  {&comandav1.ListOrdersRequest{}, []string{"A-3", "A-6", "A-5", "A-4", "A-2", "A-1", "A-0"}},
		"by status":                    {&comandav1.ListOrdersRequest{PageSize: 4, Statuses: pending}, []string{"A-6", "A-5", "A-4", "A-2", "A-1", "A-0"}},
		"by reference":                 {&comandav1.ListOrdersRequest{PageSize: 1, Tenant: "loja", Reference: "EX1"}, []string{"A-3", "A-2"}},
		"by both":                      {&comandav1.ListOrdersRequest{Reference: "EX1", Statuses: pending}, []string{"A-2"}},
		"by source":                    {&comandav1.ListOrdersRequest{Source: "loja-checkout", Statuses: pending, PageSize: 5}, []string{"A-6", "A-5", "A-4", "A-2", "A-1", "A-0"}},
		"of another source":            {&comandav1.ListOrdersRequest{Source: "loja-aprovei"}, nil},
		"by provider order id":         {&comandav1.ListOrdersRequest{ProviderOrderId: "A-5"}, []string{"A-5"}},
		"by attention":                 {&comandav1.ListOrdersRequest{Attention: true}, nil},
		"by a condition":               {&comandav1.ListOrdersRequest{Filter: `status == "approved" || reference == "EX2"`, PageSize: 1}, []string{"A-3", "A-5", "A-4"}},
		"by a condition on an index":   {&comandav1.ListOrdersRequest{Filter: `status == "pending" && reference == "EX1"`}, []string{"A-2"}},
		"by a condition and a field":   {&comandav1.ListOrdersRequest{Filter: `status == "pending"`, Reference: "EX1"}, []string{"A-2"}},
		"the first first":              {&comandav1.ListOrdersRequest{OrderBy: "first_recorded_at", PageSize: 2}, []string{"A-0", "A-1", "A-2", "A-3", "A-4", "A-5", "A-6"}},
		"the first last":               {&comandav1.ListOrdersRequest{OrderBy: "first_recorded_at desc", PageSize: 3}, []string{"A-6", "A-5", "A-4", "A-3", "A-2", "A-1", "A-0"}},
		"the last recorded last":       {&comandav1.ListOrdersRequest{OrderBy: "recorded_at", PageSize: 3, Statuses: pending}, []string{"A-0", "A-1", "A-2", "A-4", "A-5", "A-6"}},
		"of another tenant":            {&comandav1.ListOrdersRequest{Tenant: "outra"}, nil},
	} {
		if diff := cmp.Diff(c.want, list(c.req)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	page, err := s.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{PageSize: 1})
	must(t, err)
	for name, other := range map[string]*comandav1.ListOrdersRequest{
		"statuses": {Statuses: pending}, "a condition": {Filter: "gap"}, "an order": {OrderBy: "recorded_at desc"},
	} {
		other.PageSize, other.PageToken = 1, page.GetNextPageToken()
		_, err = s.orders.ListOrders(t.Context(), other)
		if diff := cmp.Diff([]string{"page_token"}, violated(t, err)); diff != "" {
			t.Errorf("a token of a request without %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestABadFilterSaysWhere(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	for name, c := range map[string]struct {
		req  *comandav1.ListOrdersRequest
		want []string
	}{
		"a filter": {&comandav1.ListOrdersRequest{Filter: "paid > 1 &&\n  nobody == 2"}, []string{
			"filter: 2:3: undeclared reference to 'nobody' (in container '')",
		}},
		"all that is wrong": {&comandav1.ListOrdersRequest{Filter: `status == "aproved"`, OrderBy: "total"}, []string{
			`filter: 1:11: "aproved" is not a status: one of none, started, pending, approved, refused, cancelled, refunded, chargeback`,
			`order_by: must be "recorded_at", "first_recorded_at", either with " desc" after it, or empty`,
		}},
		"an order of the past": {&comandav1.ListOrdersRequest{OrderBy: "recorded_at", AsOf: &comandav1.ListOrdersRequest_AsKnownAt{AsKnownAt: timestamppb.Now()}}, []string{
			`order_by: of the past, must be "first_recorded_at desc" or empty`,
		}},
	} {
		_, err := s.orders.ListOrders(t.Context(), c.req)
		var got []string
		for _, v := range detail[*errdetails.BadRequest](t, err).GetFieldViolations() {
			got = append(got, v.GetField()+": "+v.GetDescription())
		}
		if diff := cmp.Diff(c.want, got); diff != "" || status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// violated are the fields of an INVALID_ARGUMENT.
func violated(t *testing.T, err error) (fields []string) {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != codes.InvalidArgument {
		t.Fatalf("error = %v, want INVALID_ARGUMENT", err)
	}
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.GetFieldViolations() {
				fields = append(fields, v.GetField())
			}
		}
	}
	slices.Sort(fields)
	return fields
}

func TestBadRequestsNameEveryField(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	get := func(req *comandav1.GetOrderRequest) error {
		_, err := s.orders.GetOrder(t.Context(), req)
		return err
	}
	list := func(req *comandav1.ListOrdersRequest) error {
		_, err := s.orders.ListOrders(t.Context(), req)
		return err
	}
	history := func(req *comandav1.GetOrderHistoryRequest) error {
		_, err := s.orders.GetOrderHistory(t.Context(), req)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want []string
	}{
		"no order id":      {get(&comandav1.GetOrderRequest{}), []string{"order_id"}},
		"a wrong order id": {get(&comandav1.GetOrderRequest{OrderId: "ord_1"}), []string{"order_id"}},
		"everything": {
			get(&comandav1.GetOrderRequest{View: 9, MinPosition: "x"}), []string{"min_position", "order_id", "view"},
		},
		"history": {history(&comandav1.GetOrderHistoryRequest{MinPosition: "x"}), []string{"min_position", "order_id"}},
		"list": {
			list(&comandav1.ListOrdersRequest{Tenant: "Loja!", Source: "S!", Statuses: []comandav1.OrderStatus{0}, PageSize: -1, View: 7, MinPosition: "x"}),
			[]string{"min_position", "page_size", "source", "statuses[0]", "tenant", "view"},
		},
		"a large page": {list(&comandav1.ListOrdersRequest{PageSize: 1001}), []string{"page_size"}},
		"an unknown status": {
			list(&comandav1.ListOrdersRequest{Statuses: []comandav1.OrderStatus{99}}), []string{"statuses[0]"},
		},
	} {
		if diff := cmp.Diff(c.want, violated(t, c.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAnUnknownOrderIsNotFound(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	<-store.runner.Ready()
	_, getErr := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: string(anOrder)})
	_, historyErr := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)})
	want := []proto.Message{info("NOT_FOUND"), &errdetails.ResourceInfo{
		ResourceType: "comanda.v1.Order", ResourceName: string(anOrder), Description: "no fact of it was recorded",
	}}
	for _, err := range []error{getErr, historyErr} {
		st := status.Convert(err)
		if st.Code() != codes.NotFound {
			t.Errorf("error = %v, want NOT_FOUND", err)
		}
		if diff := cmp.Diff(want, details(st), protocmp.Transform()); diff != "" {
			t.Errorf("details (-want +got):\n%s", diff)
		}
	}
}

func TestAPositionThatNeverComesEndsWithTheDeadline(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{UnaryTimeout: 50 * time.Millisecond}, store.deps())
	<-store.runner.Ready()
	_, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{
		OrderId: string(anOrder), MinPosition: domain.Position{}.With(1, 99).String(),
	})
	if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "wait for the views") {
		t.Errorf("error = %v, want DEADLINE_EXCEEDED that says what was waited for", err)
	}
	_, err = s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{
		OrderId: string(anOrder), MinPosition: domain.Position{}.With(partitions, 1).String(),
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("a position of another log: error = %v, want INVALID_ARGUMENT", err)
	}
}

func TestTheClientsEarlierDeadlineHolds(t *testing.T) {
	v := readyViews()
	deadlines := make(chan time.Time, 1)
	v.wait = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		deadlines <- deadline
		return domain.Errorf(domain.Stale, "enough")
	}
	s := serve(t, grpcapi.Config{UnaryTimeout: time.Hour}, grpcapi.Deps{Views: v, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.orders.GetOrder(ctx, &comandav1.GetOrderRequest{OrderId: string(anOrder)})
	if status.Code(err) != codes.Aborted {
		t.Fatal(err)
	}
	want, _ := ctx.Deadline()
	if got := <-deadlines; got.After(want.Add(time.Second)) {
		t.Errorf("deadline = %v, want the client's %v", got, want)
	}
}

func TestARequestThatIsTooLargeIsRefused(t *testing.T) {
	s := serve(t, grpcapi.Config{MaxRequestBytes: 1000}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	_, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: strings.Repeat("x", 2000)})
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("error = %v, want RESOURCE_EXHAUSTED", err)
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	err := grpcapi.Config{MaxRequestBytes: -1, MaxResponseBytes: -1, UnaryTimeout: -1, Heartbeat: -1, KeepaliveTime: -1, KeepaliveTimeout: -1}.Validate()
	for _, field := range []string{"max_request_bytes", "max_response_bytes", "unary_timeout", "heartbeat", "keepalive_time", "keepalive_timeout"} {
		if !strings.Contains(fmt.Sprint(err), field+":") {
			t.Errorf("error = %v, want one that names %s", err, field)
		}
	}
	must(t, grpcapi.Config{}.Validate())
}
