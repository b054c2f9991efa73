package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/asof"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/purchases"
	"comanda.internal/projections/queue"
	"comanda.internal/projections/stats"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Config tunes a Server. The zero value is right.
type Config struct {
	// MaxRequestBytes bounds a request. Default 1 MiB.
	MaxRequestBytes int `yaml:"max_request_bytes"`
	// MaxResponseBytes bounds an answer; a client must be told to accept more
	// than its default of 4 MiB. Default 16 MiB.
	MaxResponseBytes int `yaml:"max_response_bytes"`
	// UnaryTimeout ends a call that brings no deadline, or a later one. Default 10 s.
	UnaryTimeout time.Duration `yaml:"unary_timeout"`
	// Heartbeat is how long a subscription may be silent. Default 15 s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// KeepaliveTime and KeepaliveTimeout find dead connections: a ping after so
	// much silence, and so long for its answer. Defaults 30 s and 10 s. Clients
	// may ping every 10 s.
	KeepaliveTime    time.Duration `yaml:"keepalive_time"`
	KeepaliveTimeout time.Duration `yaml:"keepalive_timeout"`
	// MaxStreams bounds the calls of one connection. Default 1,024.
	MaxStreams uint32 `yaml:"max_streams"`
}

const clientMayPingEvery = 10 * time.Second

func (c *Config) setDefaults() {
	defaultTo(&c.MaxRequestBytes, 1<<20)
	defaultTo(&c.MaxResponseBytes, 16<<20)
	defaultTo(&c.UnaryTimeout, 10*time.Second)
	defaultTo(&c.Heartbeat, 15*time.Second)
	defaultTo(&c.KeepaliveTime, 30*time.Second)
	defaultTo(&c.KeepaliveTimeout, 10*time.Second)
	defaultTo(&c.MaxStreams, 1024)
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate joins everything that is wrong with c.
func (c Config) Validate() error {
	var errs []error
	bad := func(field string, wrong bool) {
		if wrong {
			errs = append(errs, domain.Errorf(domain.Invalid, "%s: must not be negative", field))
		}
	}
	bad("max_request_bytes", c.MaxRequestBytes < 0)
	bad("max_response_bytes", c.MaxResponseBytes < 0)
	bad("unary_timeout", c.UnaryTimeout < 0)
	bad("heartbeat", c.Heartbeat < 0)
	bad("keepalive_time", c.KeepaliveTime < 0)
	bad("keepalive_timeout", c.KeepaliveTimeout < 0)
	return errors.Join(errs...)
}

// Orders reads the view of orders.
type Orders interface {
	Get(id domain.OrderID) (*comandav1.Order, bool, error)
	List(filter orders.Filter, page orders.Page) (rows []*comandav1.Order, next string, err error)
}

// Histories reads the view of every order's events.
type Histories interface {
	// History is by revision; empty for an unknown order.
	History(id domain.OrderID) ([]*comandav1.Event, error)
}

// Purchases reads the view of what the orders of one reference come to together.
type Purchases interface {
	Get(tenant domain.TenantID, reference string) (*comandav1.Purchase, bool, error)
	List(filter purchases.Filter, page purchases.Page) (found []*comandav1.Purchase, next string, err error)
}

// Past reads orders and purchases as they were.
type Past interface {
	Order(ctx context.Context, id domain.OrderID, m asof.Moment) (*comandav1.Order, bool, error)
	Orders(ctx context.Context, filter orders.Filter, m asof.Moment, page orders.Page) (rows []*comandav1.Order, next string, err error)
	Purchase(ctx context.Context, tenant domain.TenantID, reference string, m asof.Moment) (*comandav1.Purchase, bool, error)
	Purchases(ctx context.Context, filter purchases.Filter, m asof.Moment, page purchases.Page) (found []*comandav1.Purchase, next string, err error)
}

// Replayer folds every order by another machine.
type Replayer interface {
	// Replay calls send with differences and progress, whose error ends it.
	Replay(ctx context.Context, other *order.Machine, tenant domain.TenantID, send func(*comandav1.ReplayResponse) error) (*comandav1.ReplayReport, error)
}

// Queue reads a view of things that wait for an operator.
type Queue interface {
	List(filter queue.Filter, page queue.Page) (items []*comandav1.QueueItem, next string, err error)
}

// Stats reads the view of counts.
type Stats interface {
	Funnel(q stats.Query) ([]*comandav1.FunnelRow, error)
	Approval(q stats.Query) ([]*comandav1.ApprovalRow, error)
	Transitions(q stats.Query) ([]*comandav1.TransitionRow, error)
	Verdicts(q stats.Query) ([]*comandav1.VerdictRow, error)
	Dwell(q stats.Query) ([]*comandav1.DwellRow, error)
	Money(q stats.Query) ([]*comandav1.MoneyRow, error)
}

// Views says how far the views are.
type Views interface {
	// Ready is closed when the views have caught up.
	Ready() <-chan struct{}
	// Wait blocks until the views hold position.
	Wait(ctx context.Context, position domain.Position) error
}

// Lineage tells one log from another.
type Lineage interface {
	// Identity is made with the log and kept for ever.
	Identity() string
	// Epoch is 1 and grows with each restore of the log from a backup.
	Epoch() uint64
	// Honoured is the head of the backup that ended an earlier epoch; false for
	// an epoch that did not lead to this one.
	Honoured(epoch uint64) (domain.Position, bool)
}

// Log is what subscriptions read.
type Log interface {
	Lineage
	Partitions() int
	Head(ctx context.Context) (domain.Position, error)
	// Follow hands events above the sequence after to handle, in order, until
	// ctx ends.
	Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error
}

// Verifier proves log and views.
type Verifier interface {
	// Verify calls progress now and then; its error ends the check.
	Verify(ctx context.Context, since domain.Position, progress func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error)
}

// Deps is what a Server reads through. All but Registerer are required.
type Deps struct {
	Orders    Orders
	Histories Histories
	Purchases Purchases
	Past      Past
	Customers Customers
	Conflicts Queue
	Attention Queue
	Stats     Stats
	Views     Views
	Log       Log
	Verifier  Verifier
	Operator  Operator
	Replayer  Replayer
	Clock     func() time.Time
	Logger    *slog.Logger
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
}

// Server is the gRPC server.
type Server struct {
	grpc    *grpc.Server
	health  *health.Server
	views   Views
	closing chan struct{} // closed by Stop

	stopOnce sync.Once
}

// New is a server that does not listen yet.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure gRPC: %w", err)
	}
	m, err := newMetrics(deps.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{health: health.NewServer(), views: deps.Views, closing: make(chan struct{})}
	guard := &guard{timeout: cfg.UnaryTimeout, metrics: m, clock: deps.Clock, logger: deps.Logger}
	s.grpc = grpc.NewServer(
		grpc.MaxRecvMsgSize(cfg.MaxRequestBytes),
		grpc.MaxSendMsgSize(cfg.MaxResponseBytes),
		grpc.MaxConcurrentStreams(cfg.MaxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: cfg.KeepaliveTime, Timeout: cfg.KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientMayPingEvery, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true), // Stop leaves no goroutine behind
		grpc.UnaryInterceptor(guard.unary),
		grpc.StreamInterceptor(guard.stream),
	)
	views := reads{deps.Views, deps.Log}
	comandav1.RegisterOrderServiceServer(s.grpc, &orderService{orders: deps.Orders, histories: deps.Histories, past: deps.Past, customers: deps.Customers, reads: views})
	comandav1.RegisterPurchaseServiceServer(s.grpc, &purchaseService{purchases: deps.Purchases, past: deps.Past, reads: views})
	comandav1.RegisterQueueServiceServer(s.grpc, &queueService{conflicts: deps.Conflicts, attention: deps.Attention, reads: views})
	comandav1.RegisterStatsServiceServer(s.grpc, &statsService{stats: deps.Stats, reads: views})
	comandav1.RegisterEventServiceServer(s.grpc, &eventService{
		log: deps.Log, heartbeat: cfg.Heartbeat, clock: deps.Clock, closing: s.closing, metrics: m,
	})
	comandav1.RegisterViewServiceServer(s.grpc, &viewService{verifier: deps.Verifier, operator: deps.Operator, closing: s.closing})
	comandav1.RegisterMachineServiceServer(s.grpc, &machineService{replayer: deps.Replayer, closing: s.closing, reads: views})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	return s, nil
}

// Serve answers on listener, which it closes, until Stop; it then returns nil.
// It may be called once.
func (s *Server) Serve(listener net.Listener) error {
	watched := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.views.Ready():
			s.setHealth(healthv1.HealthCheckResponse_SERVING)
		case <-s.closing:
		case <-ended:
		}
	}()
	err := s.grpc.Serve(listener)
	close(ended)
	<-watched
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve gRPC on %s: %w", listener.Addr(), err)
	}
	return nil
}

// Stop ends every subscription with a Closing message and lets other calls
// finish; what is still running when ctx ends is cut off. It returns when no call
// runs any more.
func (s *Server) Stop(ctx context.Context) {
	s.stopOnce.Do(func() {
		s.health.Shutdown()
		close(s.closing)
	})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.grpc.GracefulStop()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		s.grpc.Stop()
		<-stopped
	}
}

// setHealth says the same of the server as a whole and of each service.
func (s *Server) setHealth(state healthv1.HealthCheckResponse_ServingStatus) {
	for _, service := range []string{
		"",
		comandav1.OrderService_ServiceDesc.ServiceName,
		comandav1.PurchaseService_ServiceDesc.ServiceName,
		comandav1.QueueService_ServiceDesc.ServiceName,
		comandav1.StatsService_ServiceDesc.ServiceName,
		comandav1.EventService_ServiceDesc.ServiceName,
		comandav1.ViewService_ServiceDesc.ServiceName,
		comandav1.MachineService_ServiceDesc.ServiceName,
	} {
		s.health.SetServingStatus(service, state)
	}
}
