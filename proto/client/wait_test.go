package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// settled asks for the order with a reference, when it is no longer pending.
func settled(reference string) *comandav1.WaitOrderRequest {
	return &comandav1.WaitOrderRequest{Settled: true, Order: &comandav1.WaitOrderRequest_TenantReference{
		TenantReference: &comandav1.TenantReference{Tenant: "waits", Reference: reference},
	}}
}

// cutter cuts the connection when a request was sent, until all cuts are made.
type cutter struct {
	stats.Handler

	proxy *natstest.Proxy
	cuts  atomic.Int32
}

func (c *cutter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *cutter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *cutter) HandleConn(context.Context, stats.ConnStats)                       {}

func (c *cutter) HandleRPC(_ context.Context, s stats.RPCStats) {
	if _, sent := s.(*stats.OutPayload); sent && c.cuts.Add(-1) >= 0 {
		c.proxy.Cut()
	}
}

// TestWaitOrderOutlivesConnections cuts the connection under each of two waits; before
// the third the order is as wanted.
func TestWaitOrderOutlivesConnections(t *testing.T) {
	c := &cutter{proxy: natstest.NewProxy(t, shop.address)}
	c.cuts.Store(2)
	reference, facts := fresh("W"), []domain.Kind{domain.KindPending, domain.KindApproved}
	answer, err := client.WaitOrder(t.Context(), dial(t, c.proxy.Addr(), grpc.WithStatsHandler(c)), settled(reference), quick(func(error) {
		c.proxy.Heal()
		if len(facts) == 0 || int(c.cuts.Load()) >= len(facts) {
			return // it did not connect
		}
		_, err := record(t.Context(), "waits", reference, facts[0])
		must(t, err)
		facts = facts[1:]
	}))
	must(t, err)
	if !answer.GetMet() || answer.GetOrder().GetStatus() != comandav1.OrderStatus_ORDER_STATUS_APPROVED || len(facts) > 0 {
		t.Errorf("the order is %v, with %d cuts to come", answer, c.cuts.Load())
	}
}

func TestWaitOrderEndsWithItsContext(t *testing.T) {
	conn, reference := dial(t, shop.address), fresh("W")
	_, err := record(t.Context(), "waits", reference, domain.KindPending)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	answer, err := client.WaitOrder(ctx, conn, settled(reference), quick(never(t)))
	if err != nil || answer.GetMet() || answer.GetOrder().GetStatus() != comandav1.OrderStatus_ORDER_STATUS_PENDING {
		t.Errorf("before the deadline: %v, %v, want the pending order", answer, err)
	}
	for name, c := range map[string]struct {
		request *comandav1.WaitOrderRequest
		want    codes.Code
	}{
		"no order": {&comandav1.WaitOrderRequest{}, codes.InvalidArgument},
		"no source": {&comandav1.WaitOrderRequest{Order: &comandav1.WaitOrderRequest_SourceOrder{
			SourceOrder: &comandav1.SourceOrder{Source: "nobody", ProviderOrderId: "1"},
		}}, codes.NotFound},
	} {
		if _, err := client.WaitOrder(t.Context(), conn, c.request, quick(never(t))); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	proxy := natstest.NewProxy(t, shop.address)
	proxy.Cut()
	ended, end := context.WithCancel(t.Context())
	if _, err := client.WaitOrder(ended, dial(t, proxy.Addr()), settled(reference), quick(func(error) { end() })); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTheTokenGoesWithEveryCall calls a server that wants one.
func TestTheTokenGoesWithEveryCall(t *testing.T) {
	store := access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, text, err := store.Create(access.Token{Name: "t", Scopes: []access.Scope{access.OrdersRead}, Tenants: []domain.TenantID{"waits"}}, time.Now())
	must(t, err)
	authority, err := access.New(access.Config{TokensFile: store.Path}, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	before := shop.deps
	shop.deps.Access = authority
	address, stop, err := serve(grpcapi.Config{}, "127.0.0.1:0")
	shop.deps = before
	must(t, err)
	t.Cleanup(func() { must(t, stop()) })
	reference := fresh("W")
	_, err = record(t.Context(), "waits", reference, domain.KindApproved)
	must(t, err)

	with, err := client.Dial(address, text.Reveal(), nil)
	must(t, err)
	t.Cleanup(func() { must(t, with.Close()) })
	answer, err := client.WaitOrder(t.Context(), with, settled(reference), quick(never(t)))
	if err != nil || !answer.GetMet() {
		t.Errorf("with it: %v, %v", answer, err)
	}
	for want, conn := range map[codes.Code]*grpc.ClientConn{codes.Unauthenticated: dial(t, address), codes.PermissionDenied: with} {
		err := client.Subscribe(t.Context(), conn, client.Subscription{Request: of("waits"), Handle: collect(new([]string), 1), Retry: quick(never(t))})
		if status.Code(err) != want {
			t.Errorf("it ends with %v, want %v", err, want)
		}
	}
	for target, want := range map[string]error{"127.0.0.1:1": nil, "[::1]:1": nil, "localhost:1": nil, "comanda.example.com:443": client.ErrInsecure} {
		if _, err := client.Options(target, "secret", nil); !errors.Is(err, want) {
			t.Errorf("to %s in the clear: %v, want %v", target, err, want)
		}
		if _, err := client.Options(target, "secret", &tls.Config{MinVersion: tls.VersionTLS13}); err != nil {
			t.Errorf("to %s with TLS: %v", target, err)
		}
	}
}
