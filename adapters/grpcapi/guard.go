package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// guard stands around every call: access, deadline, panics, errors, metrics.
type guard struct {
	access  *access.Authority // nil: everything is allowed
	timeout time.Duration
	metrics *metrics
	clock   func() time.Time
	logger  *slog.Logger
}

func (g *guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	wait := waitOf(request)
	ctx, cancel := context.WithTimeout(ctx, g.timeout+wait) // the earlier of two deadlines holds
	defer cancel()
	started := g.clock()
	allowed, release, err := g.admit(ctx, info.FullMethod, wait > 0) // who waits takes as much as a stream
	if err != nil {
		return nil, g.finish(ctx, info.FullMethod, started, err)
	}
	defer release()
	response, err := recovered(func() (any, error) { return handler(allowed, request) })
	err = unlessLost(allowed, err)
	if denied, ok := errors.AsType[*access.DeniedError](err); ok && denied.Reason != access.Withdrawn && g.access != nil {
		g.access.Denied(allowed, info.FullMethod, denied) // for what it asked
	}
	return response, g.finish(ctx, info.FullMethod, started, err)
}

func (g *guard) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	started := g.clock()
	allowed, release, err := g.admit(stream.Context(), info.FullMethod, true)
	if err != nil {
		return g.finish(stream.Context(), info.FullMethod, started, err)
	}
	defer release()
	_, err = recovered(func() (any, error) { return nil, handler(server, &allowedStream{stream, allowed}) })
	return g.finish(stream.Context(), info.FullMethod, started, unlessLost(allowed, err))
}

// unlessLost is err, or that the caller lost access, for that is why the handler's
// context ended.
func unlessLost(ctx context.Context, err error) error {
	if _, closed := errors.AsType[*closedError](err); closed {
		return err
	}
	if lost := access.Lost(ctx); lost != nil && err != nil {
		return lost
	}
	return err
}

// admit asks whether the caller may call the method.
func (g *guard) admit(ctx context.Context, method string, stream bool) (context.Context, func(), error) {
	if g.access == nil {
		return access.With(ctx, access.Everything()), func() {}, nil
	}
	return g.access.Admit(ctx, method, needs[method], stream)
}

// allowedStream is a stream whose context holds the caller's allowance.
type allowedStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // gRPC hands a stream's context on in the stream
}

// Context implements [grpc.ServerStream].
func (s *allowedStream) Context() context.Context { return s.ctx }

// panicError is a panic of a handler.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// recovered makes an error of a panic.
func recovered(handler func() (any, error)) (response any, err error) {
	defer func() {
		if value := recover(); value != nil {
			response, err = nil, &panicError{value: value, stack: debug.Stack()}
		}
	}()
	return handler()
}

// finish makes the status of err, counts it, and logs what is our own fault.
func (g *guard) finish(ctx context.Context, method string, started time.Time, err error) error {
	code := codes.OK
	if err != nil {
		st := statusOf(err)
		code = st.Code()
		if code == codes.Internal || code == codes.DataLoss || code == codes.Unknown {
			g.logger.ErrorContext(ctx, "gRPC call went wrong", "method", method, "kind", domain.KindOf(err).String(), "error", err)
		}
		err = st.Err()
	}
	g.metrics.calls.WithLabelValues(method, code.String()).Inc()
	g.metrics.duration.WithLabelValues(method).Observe(g.clock().Sub(started).Seconds())
	return err
}

// metrics are the server's. They exist whether or not anybody registered them.
type metrics struct {
	calls         *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	subscriptions prometheus.Gauge
	sent          prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer, newest *ring.Ring) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "comanda_grpcapi_calls_total", Help: "Finished calls by method and code.",
		}, []string{"method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "comanda_grpcapi_call_seconds", Help: "Time of a call; of a subscription its whole life.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 12),
		}, []string{"method"}),
		subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_grpcapi_subscriptions", Help: "Subscriptions that are open now.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "comanda_grpcapi_events_sent_total", Help: "Events sent to subscribers.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "comanda_grpcapi_ring_bytes", Help: "About what is held in memory of the newest events, for all subscribers together.",
	}, func() float64 { return float64(newest.Bytes()) })
	for _, c := range []prometheus.Collector{m.calls, m.duration, m.subscriptions, m.sent, held} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("register the gRPC metrics: %w", err)
		}
	}
	return m, nil
}
