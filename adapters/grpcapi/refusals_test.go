package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// guarded is a server that asks for tokens, and a store with the orders of three tenants.
type guarded struct {
	*store
	*server

	authority *access.Authority
	tokens    access.Store
	secrets   map[string]string // by name of token

	position domain.Position
}

// The quotas of a guarded server, whose clock stands still.
const (
	callsPerSecond = 100
	streamsAtOnce  = 2
)

// guard is a server of a store that asks for tokens, and has the quotas above.
func guard(t *testing.T, store *store) *guarded {
	t.Helper()
	return guardWith(t, store, access.Config{CallsPerSecond: callsPerSecond, Streams: streamsAtOnce})
}

func guardWith(t *testing.T, store *store, cfg access.Config) *guarded {
	t.Helper()
	g := &guarded{store: store, tokens: access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}, secrets: map[string]string{}}
	now := time.Now()
	cfg.TokensFile = g.tokens.Path
	var err error
	g.authority, err = access.New(cfg, access.Deps{Clock: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	deps := g.deps()
	deps.Access = g.authority
	g.server = serve(t, grpcapi.Config{MaxRequestBytes: 1 << 16}, deps)
	<-g.runner.Ready()
	return g
}

// dial has clients that call with a token.
func (g *guarded) dial(name string) *server {
	g.t.Helper()
	return clients(g.t, g.Server, g.conn.Target(), grpc.WithPerRPCCredentials(bearer(g.secrets[name])))
}

// bearer sends a token with every call.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	return guard(t, newStore(t)).filled()
}

// filled has tokens of many kinds, and two orders of each of three tenants.
func (g *guarded) filled() *guarded {
	g.t.Helper()
	read := []access.Scope{access.OrdersRead, access.EventsRead}
	g.create("reader", read, "loja")
	g.create("group", read, "outra", "loja")
	g.create("spender", read, "loja")
	g.create("streamer", read, "loja")
	g.create("waiter", read, "loja")
	g.create("listener", []access.Scope{access.EventsRead}, "loja")
	g.create("writer", []access.Scope{access.FactsWrite}, "loja")
	g.create("manager", []access.Scope{access.Admin}, "loja")
	g.create("operator", []access.Scope{access.Admin}, access.AnyTenant)
	for n, tenant := range []domain.TenantID{"loja", "outra", "terceira", "loja", "outra", "terceira"} {
		g.position = g.position.Merge(g.recordOf(tenant, n, domain.KindApproved).Position)
		g.position = g.position.Merge(g.recordOf(tenant, n, domain.KindRefused).Position) // a conflict
	}
	return g
}

func (g *guarded) create(name string, scopes []access.Scope, tenants ...domain.TenantID) {
	g.t.Helper()
	_, text, err := g.tokens.Create(access.Token{Name: name, Scopes: scopes, Tenants: tenants}, time.Now())
	must(g.t, err)
	g.secrets[name] = text.Reveal()
	must(g.t, g.authority.Refresh())
}

// as is the context of calls with a token; "" with none.
func (g *guarded) as(ctx context.Context, name string) context.Context {
	if name == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+g.secrets[name])
}

// orderOf is the id of a tenant's order n.
func orderOf(tenant domain.TenantID, n int) string {
	of := identity(n)
	of.Tenant = tenant
	return string(of.OrderID())
}

// refusal is a row: a call that is refused, and how.
type refusal struct {
	name    string
	as      string // whose token; "": none
	call    func(ctx context.Context, g *guarded) error
	code    codes.Code
	details []proto.Message
}

// lacks is the detail of a call without a scope.
func lacks(scope string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: "DENIED", Domain: "comanda", Metadata: map[string]string{"scope": scope}}
}

func none(kind, name, description string) *errdetails.ResourceInfo {
	return &errdetails.ResourceInfo{ResourceType: kind, ResourceName: name, Description: description}
}

// bad are violations: fields and rules in turns.
func bad(fieldsAndRules ...string) *errdetails.BadRequest {
	var out errdetails.BadRequest
	for i := 0; i < len(fieldsAndRules); i += 2 {
		out.FieldViolations = append(out.FieldViolations,
			&errdetails.BadRequest_FieldViolation{Field: fieldsAndRules[i], Description: fieldsAndRules[i+1]})
	}
	return &out
}

// precondition is what a place in the log does not meet.
func precondition(kind, subject, description string) *errdetails.PreconditionFailure {
	return &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
		{Type: kind, Subject: subject, Description: description},
	}}
}

func getOrder(req *comandav1.GetOrderRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error { _, err := g.orders.GetOrder(ctx, req); return err }
}

func getHistory(id string) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.orders.GetOrderHistory(ctx, &comandav1.GetOrderHistoryRequest{OrderId: id})
		return err
	}
}

func listOrders(req *comandav1.ListOrdersRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error { _, err := g.orders.ListOrders(ctx, req); return err }
}

func getPurchase(tenant, reference string) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.purchases.GetPurchase(ctx, &comandav1.GetPurchaseRequest{Tenant: tenant, Reference: reference})
		return err
	}
}

func getFunnel(query *comandav1.StatsQuery) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.stats.GetFunnel(ctx, &comandav1.GetFunnelRequest{Query: query})
		return err
	}
}

// refusedOrder is an order that is approved, by its id at the provider.
const refusedOrder = "R-1"

// recordFact records a refusal of refusedOrder, once changed.
func recordFact(change func(*comandav1.RecordFactRequest)) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		req := ofOrder(5, "refused", domain.KindRefused)
		req.GetSourceOrder().ProviderOrderId = refusedOrder
		change(req)
		_, err := g.orders.RecordFact(ctx, req)
		return err
	}
}

func ofID(id string) func(*comandav1.RecordFactRequest) {
	return func(r *comandav1.RecordFactRequest) { r.Order = &comandav1.RecordFactRequest_OrderId{OrderId: id} }
}

// subscribed is what ends a subscription.
func subscribed(req *comandav1.SubscribeRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return drain(g.events.Subscribe(ctx, req))
	}
}

// drain reads a stream to its end, which is its error; nil for a good one.
func drain[M any](stream grpc.ServerStreamingClient[M], err error) error {
	for err == nil {
		_, err = stream.Recv()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func rebuild(req *comandav1.RebuildViewsRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.views.RebuildViews(ctx, req)
		return err
	}
}

// refusals are the rows of the table: by what is wrong, in the order in which a server
// notices.
func refusals(g *guarded) []refusal {
	const unknown, noFact = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa", "no fact of it was recorded"
	yet := "there is none, or there was none yet"
	others := orderOf("outra", 1)
	get := func(id string) func(context.Context, *guarded) error {
		return getOrder(&comandav1.GetOrderRequest{OrderId: id, MinPosition: g.position.String()})
	}
	past := func(id string) func(context.Context, *guarded) error {
		return getOrder(&comandav1.GetOrderRequest{OrderId: id, AsOf: &comandav1.GetOrderRequest_AsOfRevision{AsOfRevision: 1}})
	}
	pageOf := func(filter *comandav1.ListOrdersRequest) string {
		filter.PageSize = 1
		page, err := g.orders.ListOrders(g.as(g.t.Context(), "group"), filter)
		must(g.t, err)
		return page.GetNextPageToken()
	}
	stream, err := g.events.Subscribe(g.as(g.t.Context(), "listener"), fromBeginning())
	must(g.t, err)
	first, err := stream.Recv()
	must(g.t, err)
	began := first.GetEvent().GetResumeToken()
	var table strings.Builder
	must(g.t, order.Default().WriteCSV(&table))
	invalid, notFound := info("INVALID"), info("NOT_FOUND")
	setup := ofOrder(0, "setup", domain.KindApproved)
	setup.GetSourceOrder().ProviderOrderId = refusedOrder
	stored, err := g.orders.RecordFact(g.as(g.t.Context(), "writer"), setup)
	must(g.t, err)
	recorded := stored.GetOrderId()
	return []refusal{
		{"no credentials", "", get(orderOf("loja", 0)), codes.Unauthenticated, []proto.Message{info("UNAUTHENTICATED")}},
		{"wrong credentials", "nobody", get(orderOf("loja", 0)), codes.Unauthenticated, []proto.Message{info("UNAUTHENTICATED")}},
		{"no credentials for a stream", "", subscribed(fromBeginning()), codes.Unauthenticated, []proto.Message{info("UNAUTHENTICATED")}},
		{"a scope that is lacking", "listener", get(orderOf("loja", 0)), codes.PermissionDenied, []proto.Message{lacks("orders:read")}},
		{
			"a customer's orders without its scope", "reader", listOrders(&comandav1.ListOrdersRequest{Customer: "fulana0@example.com"}),
			codes.PermissionDenied,
			[]proto.Message{lacks("personal:read")},
		},
		{"a scope that is lacking for a stream", "reader", func(ctx context.Context, g *guarded) error {
			return drain(g.views.Verify(ctx, &comandav1.VerifyRequest{}))
		}, codes.PermissionDenied, []proto.Message{lacks("admin")}},
		{"what is of every tenant", "manager", func(ctx context.Context, g *guarded) error {
			_, err := g.views.GetViewStatus(ctx, &comandav1.GetViewStatusRequest{})
			return err
		}, codes.PermissionDenied, []proto.Message{lacks("admin")}},
		{"too many calls", "spender", func(ctx context.Context, g *guarded) error {
			for range callsPerSecond {
				if err := listOrders(&comandav1.ListOrdersRequest{})(ctx, g); err != nil {
					return err
				}
			}
			return listOrders(&comandav1.ListOrdersRequest{})(ctx, g)
		}, codes.ResourceExhausted, []proto.Message{
			info("EXHAUSTED"),
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "token", Description: "100 calls a second"}}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second / callsPerSecond)},
		}},
		{"too many streams", "streamer", func(ctx context.Context, g *guarded) error {
			for range streamsAtOnce {
				stream, err := g.events.Subscribe(ctx, fromNow())
				must(g.t, err)
				if _, err := stream.Recv(); err != nil { // it has begun
					return err
				}
			}
			return drain(g.events.Subscribe(ctx, fromNow()))
		}, codes.ResourceExhausted, []proto.Message{
			info("EXHAUSTED"),
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "token", Description: "2 streams at once"}}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)},
		}},
		{"a wait beside too many streams", "waiter", func(ctx context.Context, g *guarded) error {
			for range streamsAtOnce {
				stream, err := g.events.Subscribe(ctx, fromNow())
				must(g.t, err)
				if _, err := stream.Recv(); err != nil { // it has begun
					return err
				}
			}
			_, err := g.orders.WaitOrder(ctx, &comandav1.WaitOrderRequest{Order: &comandav1.WaitOrderRequest_OrderId{OrderId: unknown}})
			return err
		}, codes.ResourceExhausted, []proto.Message{
			info("EXHAUSTED"),
			&errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{{Subject: "token", Description: "2 streams at once"}}},
			&errdetails.RetryInfo{RetryDelay: durationpb.New(5 * time.Second)},
		}},
		{"a message that is too long", "reader", getHistory(strings.Repeat("x", 1<<16)), codes.ResourceExhausted, nil}, // gRPC's own

		{"an unknown order", "reader", get(unknown), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", unknown, noFact)}},
		{"another tenant's order", "reader", get(others), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", others, noFact)}},
		{"the past of an unknown order", "reader", past(unknown), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", unknown, yet)}},
		{"the past of another tenant's order", "reader", past(others), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", others, yet)}},
		{"an unknown order's history", "reader", getHistory(unknown), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", unknown, noFact)}},
		{"another tenant's history", "reader", getHistory(others), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", others, noFact)}},
		{"an unknown purchase", "reader", getPurchase("loja", "EX99"), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Purchase", "EX99", noFact)}},
		{"another tenant's purchase", "reader", getPurchase("outra", "EX0"), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Purchase", "EX0", noFact)}},
		{"an order that is not parked", "operator", func(ctx context.Context, g *guarded) error {
			_, err := g.views.SkipParkedOrder(ctx, &comandav1.SkipParkedOrderRequest{OrderId: unknown, Reason: "x"})
			return err
		}, codes.NotFound, []proto.Message{notFound}},

		{"a fact without its scope", "reader", recordFact(func(*comandav1.RecordFactRequest) {}), codes.PermissionDenied, []proto.Message{lacks("facts:write")}},
		{"a fact of an unknown order", "writer", recordFact(ofID(unknown)), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", unknown, noFact)}},
		{"a fact of another tenant's order", "writer", recordFact(ofID(others)), codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", others, noFact)}},
		{"a fact of another tenant's source", "writer", recordFact(func(r *comandav1.RecordFactRequest) { r.GetSourceOrder().Source = "outra-checkout" }), codes.NotFound, []proto.Message{
			notFound, none("comanda.v1.Source", "outra-checkout", "no such source is configured"),
		}},
		{"a fact that the fold refuses", "writer", recordFact(func(*comandav1.RecordFactRequest) {}), codes.FailedPrecondition, []proto.Message{
			&errdetails.ErrorInfo{Reason: "REFUSED", Domain: "comanda", Metadata: map[string]string{
				"kind": "refused", "effective_at": "2026-05-09T12:05:00Z", "why": "contradicts_status", "status_then": "approved", "status": "approved",
				"legal_kinds": "started,abandoned,cancelled,expired,approved,refund_requested,partially_refunded,refunded,chargeback,chargeback_reversed",
			}},
			&errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{{
				Type: "MACHINE", Subject: recorded, Description: "refused of " + recorded + " at 2026-05-09T12:05:00Z: the order was approved then (contradicts_status); " +
					"what may be said of that time: started, abandoned, cancelled, expired, approved, refund_requested, partially_refunded, refunded, chargeback, chargeback_reversed",
			}}},
		}},
		{"a stale revision", "writer", recordFact(func(r *comandav1.RecordFactRequest) { r.ExpectedRevision = proto.Uint64(7) }), codes.Aborted, []proto.Message{
			&errdetails.ErrorInfo{Reason: "STALE", Domain: "comanda", Metadata: map[string]string{"expected_revision": "7", "revision": "1"}},
		}},
		{"a request id of another fact", "writer", recordFact(func(r *comandav1.RecordFactRequest) { r.RequestId = "setup" }), codes.AlreadyExists, []proto.Message{info("EXISTS")}},
		{"no fact that it could be", "writer", recordFact(func(r *comandav1.RecordFactRequest) { r.RequestId, r.Reason, r.Fact = "a b", "", nil }), codes.InvalidArgument, []proto.Message{
			invalid, bad("fact", "is required", "reason", "is required", "request_id", "must be 1 to 128 of A-Z, a-z, 0-9 and ._:-"),
		}},
		{"another tenant's order explained", "reader", func(ctx context.Context, g *guarded) error {
			_, err := g.orders.ExplainOrder(ctx, &comandav1.ExplainOrderRequest{OrderId: others})
			return err
		}, codes.NotFound, []proto.Message{notFound, none("comanda.v1.Order", others, noFact)}},
		{"another tenant's source", "reader", func(ctx context.Context, g *guarded) error {
			_, err := g.sources.GetSource(ctx, &comandav1.GetSourceRequest{Source: "outra-checkout"})
			return err
		}, codes.NotFound, []proto.Message{notFound, none("comanda.v1.Source", "outra-checkout", "no such source is configured")}},
		{"a malformed filter", "reader", listOrders(&comandav1.ListOrdersRequest{Filter: "paid > 1 &&\n  nobody == 2"}), codes.InvalidArgument, []proto.Message{
			invalid, bad("filter", "2:3: undeclared reference to 'nobody' (in container '')"),
		}},
		{"an order that no index has", "reader", listOrders(&comandav1.ListOrdersRequest{OrderBy: "total desc"}), codes.InvalidArgument, []proto.Message{
			invalid, bad("order_by", `must be "recorded_at", "first_recorded_at", either with " desc" after it, or empty`),
		}},
		{"no order id", "reader", getOrder(&comandav1.GetOrderRequest{}), codes.InvalidArgument, []proto.Message{invalid, bad("order_id", "is required")}},
		{"no order id that it could be, and more", "reader", getOrder(&comandav1.GetOrderRequest{
			OrderId: "A-1", MinPosition: "x", View: 9, AsOf: &comandav1.GetOrderRequest_AsKnownAt{AsKnownAt: &timestamppb.Timestamp{Nanos: -1}},
		}), codes.InvalidArgument, []proto.Message{invalid, bad(
			"as_known_at", "must be a time of the years 1 to 9999",
			"min_position", "must be a position from an answer of Comanda",
			"order_id", `must be "ord_" and 26 characters of a-z and 2-7`,
			"view", "must be one of the defined enum values",
		)}},
		{"no words of a list", "reader", listOrders(&comandav1.ListOrdersRequest{
			Tenant: "Loja!", Source: "A B", PageSize: 1001, Statuses: []comandav1.OrderStatus{99},
		}), codes.InvalidArgument, []proto.Message{invalid, bad(
			"page_size", "must be greater than or equal to 0 and less than or equal to 1000",
			"source", "must be 1 to 40 of a-z, 0-9 and -",
			"statuses[0]", "must be one of the defined enum values",
			"tenant", "must be 1 to 40 of a-z, 0-9 and -",
		)}},
		{"no page token", "reader", listOrders(&comandav1.ListOrdersRequest{PageToken: "x"}), codes.InvalidArgument, []proto.Message{
			invalid, bad("page_token", "not a page token that Comanda gave out"),
		}},
		{"another request's page token", "reader", listOrders(&comandav1.ListOrdersRequest{
			Reference: "EX0", PageToken: pageOf(&comandav1.ListOrdersRequest{}),
		}), codes.InvalidArgument, []proto.Message{
			invalid, bad("page_token", "it is of another request: all but page_size must be the same for every page"),
		}},
		{"no purchase", "reader", getPurchase("", ""), codes.InvalidArgument, []proto.Message{invalid, bad("reference", "is required", "tenant", "is required")}},
		{"no dimensions", "reader", getFunnel(&comandav1.StatsQuery{
			Method: "Pix!", By: []comandav1.StatsDimension{1, 2}, From: &timestamppb.Timestamp{Nanos: -1},
		}), codes.InvalidArgument, []proto.Message{invalid, bad(
			"by", "must not have both hour and day", "from", "must be a time of the years 1 to 9999", "method", "must be a word, as pix or card",
		)}},
		{"no table", "operator", func(ctx context.Context, g *guarded) error {
			return drain(g.machine.Replay(ctx, &comandav1.ReplayRequest{Table: strings.Replace(table.String(), "\nnone,started,", "\nnone,teleported,", 1)}))
		}, codes.InvalidArgument, []proto.Message{invalid, bad("table", `transition table: line 2, cell 2: none, started: "teleported" is not a code`)}},
		{"no reason to skip", "operator", func(ctx context.Context, g *guarded) error {
			_, err := g.views.SkipParkedOrder(ctx, &comandav1.SkipParkedOrderRequest{OrderId: unknown})
			return err
		}, codes.InvalidArgument, []proto.Message{invalid, bad("reason", "is required")}},
		{"an index by customer that waits", "operator", rebuild(&comandav1.RebuildViewsRequest{Customers: true, Hold: true}), codes.InvalidArgument, []proto.Message{
			invalid, bad("hold", "the index by customer takes its place by itself: not together with customers"),
		}},
		{"an index by customer that is anew", "operator", rebuild(&comandav1.RebuildViewsRequest{Customers: true, Anew: true}), codes.InvalidArgument, []proto.Message{
			invalid, bad("anew", "a build of the index by customer is always anew: not together with customers"),
		}},
		{"no start", "reader", subscribed(&comandav1.SubscribeRequest{}), codes.InvalidArgument, []proto.Message{invalid, bad("start", "is required")}},
		{"no resume token", "reader", subscribed(from("x")), codes.InvalidArgument, []proto.Message{
			invalid, bad("resume_token", "must be a token from a subscription to Comanda"),
		}},
		{"no place, and no filter", "reader", subscribed(&comandav1.SubscribeRequest{
			Start:  &comandav1.SubscribeRequest_Position{Position: "x"},
			Filter: &comandav1.EventFilter{Tenants: []string{"Loja!"}, Kinds: []comandav1.FactKind{99}},
		}), codes.InvalidArgument, []proto.Message{invalid, bad(
			"filter.kinds[0]", "must be one of the defined enum values",
			"filter.tenants[0]", "must be 1 to 40 of a-z, 0-9 and -",
			"position", "must be a position from an answer of Comanda",
		)}},
		{"another filter's token", "reader", subscribed(with(from(began), &comandav1.EventFilter{Tenants: []string{"loja"}})), codes.FailedPrecondition, []proto.Message{
			info("REFUSED"), precondition("FILTER", "resume_token", "is of another filter; give the filter of then, or begin a new subscription"),
		}},
		{"a place that the log does not have", "reader", subscribed(&comandav1.SubscribeRequest{
			Start: &comandav1.SubscribeRequest_Position{Position: g.position.With(0, 1<<40).String()},
		}), codes.FailedPrecondition, []proto.Message{
			info("REFUSED"), precondition("LOG", "position", "is ahead of the log, which has lost events since; begin a new subscription"),
		}},
		{"no page token of events", "reader", func(ctx context.Context, g *guarded) error {
			_, err := g.events.ListEvents(ctx, &comandav1.ListEventsRequest{PageToken: "x"})
			return err
		}, codes.InvalidArgument, []proto.Message{invalid, bad("page_token", "not a page token that Comanda gave out")}},
		{"a token of another log", "reader", subscribed(from(otherLogsToken)), codes.FailedPrecondition, []proto.Message{
			info("REFUSED"), precondition("LOG", "resume_token", "is of another log; begin a new subscription"),
		}},
	}
}

// otherLogsToken is URL-safe base64 of version 1, epoch 1, the identity "x" and no position.
const otherLogsToken = "AQEBeA"

// TestRefusals holds every refusal to its row: code and all details. A quota's subject
// is of the caller's own token.
func TestRefusals(t *testing.T) {
	g := newGuarded(t)
	must(t, g.runner.Wait(t.Context(), g.position))
	names := map[string]bool{}
	for _, r := range append(refusals(g), groupRefusals(g)...) {
		if names[r.name] {
			t.Errorf("two rows are called %q", r.name)
		}
		names[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(g.as(t.Context(), r.as))
			defer cancel()
			st := status.Convert(r.call(ctx, g))
			if st.Code() != r.code {
				t.Errorf("it is %v %q, want %v", st.Code(), st.Message(), r.code)
			}
			got := details(st)
			for _, d := range got {
				if quota, ok := d.(*errdetails.QuotaFailure); ok {
					subject := quota.GetViolations()[0]
					kind, id, _ := strings.Cut(subject.GetSubject(), ":")
					if subject.Subject = kind; !strings.HasPrefix(id, "tok_") {
						t.Errorf("the quota is of %q", id)
					}
				}
			}
			if diff := cmp.Diff(r.details, got, protocmp.Transform()); diff != "" {
				t.Errorf("%q (-want +got):\n%s", st.Message(), diff)
			}
		})
	}
}
