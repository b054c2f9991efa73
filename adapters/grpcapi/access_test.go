package grpcapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/emptypb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/access/accesstest"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// methods are all of comanda.v1.
func methods(t *testing.T) (all []protoreflect.MethodDescriptor) {
	t.Helper()
	protoregistry.GlobalFiles.RangeFilesByPackage("comanda.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				all = append(all, service.Methods().Get(j))
			}
		}
		return true
	})
	if len(all) == 0 {
		t.Fatal("comanda.v1 has no methods")
	}
	return all
}

func methodName(m protoreflect.MethodDescriptor) string {
	return "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
}

// callEmpty is how a call of a method, of whatever kind, with an empty message ends. It is for
// those that end at once.
func (g *guarded) callEmpty(ctx context.Context, method string) *status.Status {
	g.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// To gRPC a unary call is a stream with one message each way.
	stream, err := g.conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	must(g.t, err)
	if err := stream.SendMsg(&emptypb.Empty{}); err != nil && err != io.EOF { //nolint:errorlint // as gRPC documents
		g.t.Fatal(err)
	}
	must(g.t, stream.CloseSend())
	return status.Convert(stream.RecvMsg(&emptypb.Empty{}))
}

// TestEveryMethodNeedsCredentialsAndAScope calls each method of comanda.v1 with none,
// and with those that have no scope but one that no method needs alone.
func TestEveryMethodNeedsCredentialsAndAScope(t *testing.T) {
	g := newGuarded(t)
	g.create("nothing", []access.Scope{access.PersonalRead}, access.AnyTenant)
	for _, m := range methods(t) {
		t.Run(string(m.FullName()), func(t *testing.T) {
			if st := g.callEmpty(t.Context(), methodName(m)); st.Code() != codes.Unauthenticated {
				t.Errorf("without credentials: %v", st)
			}
			st := g.callEmpty(g.as(t.Context(), "nothing"), methodName(m))
			named := slices.ContainsFunc(st.Details(), func(d any) bool {
				info, ok := d.(*errdetails.ErrorInfo)
				return ok && access.Scope(info.GetMetadata()["scope"]).Valid()
			})
			if st.Code() != codes.PermissionDenied || !named {
				t.Errorf("without its scope: %v, details %v", st, st.Details())
			}
		})
	}
	if _, err := healthv1.NewHealthClient(g.conn).Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
		t.Errorf("a probe without credentials: %v", err)
	}
	if _, err := healthv1.NewHealthClient(g.conn).List(t.Context(), &healthv1.HealthListRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("a list of services without credentials: %v", err)
	}
}

func TestEveryEventOfASubscriptionIsOfTheCallersTenants(t *testing.T) {
	g := newGuarded(t)
	ctx, cancel := context.WithCancel(g.as(t.Context(), "reader"))
	defer cancel()
	stream, err := g.events.Subscribe(ctx, fromBeginning())
	must(t, err)
	sub := &subscriber{t: t, stream: stream, revisions: map[string]uint64{}}
	got := 0
	for sub.caughtUp == 0 {
		if e := sub.next().GetEvent(); e != nil {
			got++
			if e.GetEvent().GetTenant() != "loja" {
				t.Fatalf("an event of %s", e.GetEvent().GetTenant())
			}
		}
	}
	if got != 4 {
		t.Errorf("%d events, want loja's 4", got)
	}
	g.recordOf("outra", 10, domain.KindApproved) // live, too
	g.recordOf("loja", 11, domain.KindApproved)
	if e := sub.next().GetEvent().GetEvent(); e.GetTenant() != "loja" || e.GetProviderOrderId() != "A-11" {
		t.Errorf("the next event is %v", e)
	}
}

func TestARevokedTokensSubscriptionEndsWithItsToken(t *testing.T) {
	g := newGuarded(t)
	subscribeAs := func(name string) *subscriber {
		ctx, cancel := context.WithCancel(g.as(t.Context(), name))
		t.Cleanup(cancel)
		stream, err := g.events.Subscribe(ctx, fromBeginning())
		must(t, err)
		return &subscriber{t: t, stream: stream, revisions: map[string]uint64{}}
	}
	revoked, stays := subscribeAs("reader"), subscribeAs("listener")
	for _, sub := range []*subscriber{revoked, stays} {
		for sub.caughtUp == 0 {
			sub.next()
		}
	}
	_, err := g.tokens.Revoke("reader", time.Now())
	must(t, err)
	must(t, g.authority.Refresh())
	closing := revoked.next().GetClosing()
	if closing.GetReason() != "access_ended" || closing.GetResumeToken() == "" {
		t.Errorf("closing = %v", closing)
	}
	if _, err := revoked.stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the stream's end = %v, want UNAUTHENTICATED", err)
	}
	g.record(20, domain.KindApproved)
	if e := stays.next().GetEvent().GetEvent(); e.GetProviderOrderId() != "A-20" {
		t.Errorf("another's next event is %v", e)
	}
	ctx, cancel := context.WithCancel(g.as(t.Context(), "listener"))
	defer cancel()
	stream, err := g.events.Subscribe(ctx, from(closing.GetResumeToken()))
	must(t, err)
	again := &subscriber{t: t, stream: stream, revisions: map[string]uint64{}}
	if e := again.next().GetEvent().GetEvent(); e.GetProviderOrderId() != "A-20" {
		t.Errorf("the first event from its token is %v", e)
	}
}

// TestWhoLosesAccessHearsIt has a long check and a call that waits running when their
// token is revoked.
func TestWhoLosesAccessHearsIt(t *testing.T) {
	g := &guarded{tokens: access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}, secrets: map[string]string{}, store: &store{t: t}}
	var err error
	g.authority, err = access.New(access.Config{TokensFile: g.tokens.Path}, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	running, waiting := make(chan struct{}), make(chan struct{})
	waits := readyViews()
	waits.wait = func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		return ctx.Err()
	}
	g.server = serve(t, grpcapi.Config{UnaryTimeout: time.Hour}, grpcapi.Deps{
		Views: waits, Clock: time.Now, Logger: slog.New(slog.DiscardHandler), Access: g.authority,
		Verifier: verifier(func(ctx context.Context, _ grpcapi.Check, _ func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error) {
			close(running)
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	})
	g.create("operator", []access.Scope{access.Admin}, access.AnyTenant)
	stream, err := g.views.Verify(g.as(t.Context(), "operator"), &comandav1.VerifyRequest{})
	must(t, err)
	<-running
	asked := make(chan error, 1)
	go func() {
		_, err := g.orders.GetOrder(g.as(t.Context(), "operator"), &comandav1.GetOrderRequest{OrderId: string(anOrder)})
		asked <- err
	}()
	<-waiting
	_, err = g.tokens.Revoke("operator", time.Now())
	must(t, err)
	must(t, g.authority.Refresh())
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the check's end = %v, want UNAUTHENTICATED", err)
	}
	if err := <-asked; status.Code(err) != codes.Unauthenticated {
		t.Errorf("the call's end = %v, want UNAUTHENTICATED", err)
	}
}

// TestCertificatesAreReadAgain asks with a certificate, over TLS, before and after
// every certificate and authority was replaced by another.
func TestCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	before, after := accesstest.NewCA(t, time.Now()), accesstest.NewCA(t, time.Now())
	install := func(ca *accesstest.CA) (cert, key, clientCA string) {
		cert, key = ca.Server().Write(t, dir, "server")
		return cert, key, accesstest.Write(t, filepath.Join(dir, "ca.pem"), ca.PEM)
	}
	cfg := access.Config{Identities: []access.Identity{{
		Name: "billing", SAN: "billing.example.com", Scopes: []access.Scope{access.OrdersRead}, Tenants: []domain.TenantID{"loja"},
	}}}
	cfg.TLS.CertFile, cfg.TLS.KeyFile, cfg.TLS.ClientCAFile = install(before)
	authority, err := access.New(cfg, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	var caller *peer.Peer
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Histories: history{func() ([]*comandav1.Event, error) { return []*comandav1.Event{{Tenant: "loja"}}, nil }},
		Views:     readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler), Access: authority,
	})
	ask := func(roots, signer *accesstest.CA) error {
		client := signer.Client("", "billing.example.com", "")
		pair, err := tls.X509KeyPair(client.PEM, client.KeyPEM)
		must(t, err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots.PEM)
		conn, err := grpc.NewClient(s.conn.Target(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair},
		})))
		must(t, err)
		defer func() { must(t, conn.Close()) }()
		caller = &peer.Peer{}
		_, err = comandav1.NewOrderServiceClient(conn).GetOrderHistory(t.Context(),
			&comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)}, grpc.Peer(caller))
		return err
	}
	must(t, ask(before, before))
	if err := ask(before, after); err == nil {
		t.Error("a certificate of another authority: no error")
	}
	install(after)
	must(t, authority.Refresh())
	must(t, ask(after, after))
	if info, ok := caller.AuthInfo.(credentials.TLSInfo); !ok || info.State.NegotiatedProtocol != "h2" {
		t.Errorf("it is not HTTP/2 over TLS: %+v", caller)
	}
	if err := ask(before, after); err == nil {
		t.Error("the former server's certificate is still there")
	}
	if err := ask(after, before); err == nil {
		t.Error("a certificate of the former authority: no error")
	}
}

func TestNobodyListensBeyondLoopbackWithoutAccessControl(t *testing.T) {
	api, err := grpcapi.New(grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", ":0")
	must(t, err)
	if err := api.Serve(listener); domain.KindOf(err) != domain.Invalid {
		t.Errorf("Serve = %v, want an error of kind invalid", err)
	}
	if _, err := listener.Accept(); err == nil {
		t.Error("the listener is still open")
	}
	api.Stop(t.Context())
}
