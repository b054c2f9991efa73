package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestItServesWhenTheViewsAreReadyAndNotBefore(t *testing.T) {
	v := &views{ready: make(chan struct{})}
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Histories: history{func() ([]*comandav1.Event, error) { return []*comandav1.Event{{}}, nil }},
		Views:     v, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	ask := func() error {
		_, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)})
		return err
	}
	st := status.Convert(ask())
	retry := slices.ContainsFunc(st.Details(), func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
	if st.Code() != codes.Unavailable || !retry {
		t.Errorf("before: %v with retry info %v, want UNAVAILABLE with it", st, retry)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := healthv1.NewHealthClient(s.conn).Watch(ctx, &healthv1.HealthCheckRequest{Service: "comanda.v1.OrderService"})
	must(t, err)
	next := func() healthv1.HealthCheckResponse_ServingStatus {
		answer, err := watch.Recv()
		must(t, err)
		return answer.GetStatus()
	}
	if got := next(); got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health before = %v", got)
	}
	close(v.ready)
	if got := next(); got != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health when ready = %v", got)
	}
	must(t, ask())
	all, err := healthv1.NewHealthClient(s.conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	must(t, err)
	if got := all.GetStatus(); got != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health of the whole server = %v", got)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
	}()
	if got := next(); got != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health while stopping = %v", got)
	}
	cancel() // a watch ends with its client
	<-stopped
}

func TestStopCutsOffWhatDoesNotEnd(t *testing.T) {
	v := readyViews()
	waiting := make(chan struct{})
	v.wait = func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		return ctx.Err()
	}
	s := serve(t, grpcapi.Config{UnaryTimeout: time.Hour}, grpcapi.Deps{Views: v, Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	ended := make(chan error, 1)
	go func() {
		_, err := s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: string(anOrder)})
		ended <- err
	}()
	<-waiting
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Stop(ctx)
	if err := <-ended; err == nil {
		t.Error("the call went well")
	}
}

func TestReflectionListsTheServices(t *testing.T) {
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	stream, err := reflectionv1.NewServerReflectionClient(s.conn).ServerReflectionInfo(t.Context())
	must(t, err)
	must(t, stream.Send(&reflectionv1.ServerReflectionRequest{
		MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{},
	}))
	must(t, stream.CloseSend())
	answer, err := stream.Recv()
	must(t, err)
	var names []string
	for _, service := range answer.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	for _, want := range []string{"comanda.v1.OrderService", "comanda.v1.EventService", "comanda.v1.ViewService", "grpc.health.v1.Health"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %v", want, names)
		}
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream's end = %v", err)
	}
}

// verifier runs what the test says.
type verifier func(context.Context, grpcapi.Check, func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error)

func (v verifier) Verify(ctx context.Context, check grpcapi.Check, progress func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error) {
	return v(ctx, check, progress)
}

func TestVerifySendsProgressAndOneReport(t *testing.T) {
	since := domain.Position{}.With(1, 7)
	report := &comandav1.VerifyReport{Events: 2, Orders: 1, Problems: []*comandav1.VerifyProblem{{Rule: "chain"}}, ProblemCount: 1}
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verifier: verifier(func(_ context.Context, got grpcapi.Check, progress func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error) {
			if !got.Since.Equal(since) || got.Customers {
				t.Errorf("check = %v, want since %v", got, since)
			}
			return report, errors.Join(
				progress(&comandav1.VerifyProgress{Events: 1, Total: 2}),
				progress(&comandav1.VerifyProgress{Events: 2, Total: 2}),
			)
		}),
	})
	bad, err := s.views.Verify(t.Context(), &comandav1.VerifyRequest{SincePosition: "?"})
	must(t, err)
	if _, err := bad.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a position that is none: %v, want INVALID_ARGUMENT", err)
	}
	both, err := s.views.Verify(t.Context(), &comandav1.VerifyRequest{SincePosition: since.String(), Customers: true})
	must(t, err)
	if _, err := both.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("customers since a position: %v, want INVALID_ARGUMENT", err)
	}
	stream, err := s.views.Verify(t.Context(), &comandav1.VerifyRequest{SincePosition: since.String()})
	must(t, err)
	for n := range uint64(2) {
		m, err := stream.Recv()
		must(t, err)
		if m.GetProgress().GetEvents() != n+1 {
			t.Errorf("progress = %v", m)
		}
	}
	m, err := stream.Recv()
	must(t, err)
	if diff := cmp.Diff(report, m.GetReport(), protocmp.Transform()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream's end = %v", err)
	}
}

func TestOneCheckAtATimeAndNoneBeyondTheServersEnd(t *testing.T) {
	running := make(chan struct{})
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Views: readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Verifier: verifier(func(ctx context.Context, _ grpcapi.Check, _ func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error) {
			close(running)
			<-ctx.Done()
			return nil, ctx.Err()
		}),
	})
	first, err := s.views.Verify(t.Context(), &comandav1.VerifyRequest{})
	must(t, err)
	<-running
	second, err := s.views.Verify(t.Context(), &comandav1.VerifyRequest{})
	must(t, err)
	if _, err := second.Recv(); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second check: %v, want RESOURCE_EXHAUSTED", err)
	}
	s.stop()
	if _, err := first.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the server's end: %v, want UNAVAILABLE", err)
	}
}

func TestCallsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	deps := grpcapi.Deps{
		Histories: history{func() ([]*comandav1.Event, error) { return nil, domain.Errorf(domain.Corrupt, "torn") }},
		Views:     readyViews(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
		Registerer: registry,
	}
	s := serve(t, grpcapi.Config{}, deps)
	_, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)})
	if status.Code(err) != codes.DataLoss {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	must(t, err)
	found := false
	for _, f := range families {
		if f.GetName() != "comanda_grpcapi_calls_total" {
			continue
		}
		labels := f.GetMetric()[0].GetLabel()
		found = labels[0].GetValue() == "DataLoss" && labels[1].GetValue() == comandav1.OrderService_GetOrderHistory_FullMethodName &&
			f.GetMetric()[0].GetCounter().GetValue() == 1
	}
	if !found {
		t.Error("the call is not counted by method and code")
	}
	if _, err := grpcapi.New(grpcapi.Config{}, deps); err == nil {
		t.Error("a second server with the same registry: no error")
	}
}
