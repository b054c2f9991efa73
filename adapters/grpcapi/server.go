package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/celfilter"
	"comanda.internal/adapters/grpcapi/ring"
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
	// UnaryTimeout ends a call that brings no deadline, or a later one; one that waits
	// for something has what it asks for on top. Default 10 s.
	UnaryTimeout time.Duration `yaml:"unary_timeout"`
	// Heartbeat is how long a subscription may be silent. Default 15 s.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// KeepaliveTime and KeepaliveTimeout find dead connections: a ping after so
	// much silence, and so long for its answer. Defaults 30 s and 10 s. Clients
	// may ping every 10 s.
	KeepaliveTime    time.Duration `yaml:"keepalive_time"`
	KeepaliveTimeout time.Duration `yaml:"keepalive_timeout"`
	// CheckpointEvery is after how many events that are not wanted a subscription
	// tells of a place after them. Default 1,000.
	CheckpointEvery uint64 `yaml:"checkpoint_every"`
	// RingBytes is about what is held in memory of the newest events, for all
	// subscribers together, while there are any. Default 16 MiB.
	RingBytes int `yaml:"ring_bytes"`
	// CloseWithin is how long a client that reads nothing is waited for when the server ends
	// its stream. Default 5 s.
	CloseWithin time.Duration `yaml:"close_within"`
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
	defaultTo(&c.CheckpointEvery, 1000)
	defaultTo(&c.RingBytes, ring.DefaultBytes)
	defaultTo(&c.CloseWithin, 5*time.Second)
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
	bad("ring_bytes", c.RingBytes < 0)
	bad("heartbeat", c.Heartbeat < 0)
	bad("close_within", c.CloseWithin < 0)
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
	// Answering is closed when they may be read.
	Answering() <-chan struct{}
	// Outdated is where they stand still, and why, until others are built; "": they do not.
	Outdated() (at domain.Position, why string)
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
	// Scan hands the events above the sequence after and up to upTo, which the log
	// holds, to handle, in order. What it hands over is valid until handle returns, what
	// that points to stays.
	Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error
}

// Verifier proves log and views.
type Verifier interface {
	// Verify calls progress now and then; its error ends the check.
	Verify(ctx context.Context, check Check, progress func(*comandav1.VerifyProgress) error) (*comandav1.VerifyReport, error)
}

// Check is what is to be proven. The zero value is all of the log and the views.
type Check struct {
	// Since is a position after which only is proven.
	Since domain.Position
	// Customers has the index of customers proven, too; not with Since.
	Customers bool
}

// Deps is what a Server reads through. All but Access and Registerer are required.
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
	Groups    *groups.Groups
	Verifier  Verifier
	Operator  Operator
	Replayer  Replayer
	Recorder  Recorder
	Room      Room
	// Sources are those that are configured; none: no order can be named by its source.
	Sources []Source
	Clock   func() time.Time
	Logger  *slog.Logger
	// Access decides who may call, and has the listener's TLS; nil: anyone, on loopback only.
	Access *access.Authority
	// Registerer gets the metrics; nil: they are kept nowhere.
	Registerer prometheus.Registerer
}

// Server is the gRPC server.
type Server struct {
	grpc    *grpc.Server
	health  *health.Server
	access  *access.Authority
	views   Views
	closing chan struct{} // closed by Stop
	endings *endings

	stopOnce sync.Once
}

// New is a server that does not listen yet.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configure gRPC: %w", err)
	}
	newest := ring.New(deps.Log, cfg.RingBytes)
	m, err := newMetrics(deps.Registerer, newest)
	if err != nil {
		return nil, err
	}
	rules, err := newRules()
	if err != nil {
		return nil, err
	}
	filters, err := celfilter.NewCompiler()
	if err != nil {
		return nil, err
	}
	s := &Server{health: health.NewServer(), access: deps.Access, views: deps.Views, closing: make(chan struct{})}
	s.endings = &endings{closing: s.closing, within: cfg.CloseWithin}
	guard := &guard{access: deps.Access, timeout: cfg.UnaryTimeout, metrics: m, clock: deps.Clock, logger: deps.Logger}
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(cfg.MaxRequestBytes),
		grpc.MaxSendMsgSize(cfg.MaxResponseBytes),
		grpc.MaxConcurrentStreams(cfg.MaxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: cfg.KeepaliveTime, Timeout: cfg.KeepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientMayPingEvery, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.WaitForHandlers(true), // Stop leaves no goroutine behind
		grpc.ChainUnaryInterceptor(guard.unary, rules.unary, unknownYet(deps.Views)),
		grpc.ChainStreamInterceptor(guard.stream, rules.stream),
	}
	if deps.Access != nil && deps.Access.TLS() != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(deps.Access.TLS())))
	}
	s.grpc = grpc.NewServer(options...)
	views := reads{deps.Views, deps.Log}
	configured := slices.Clone(sources(deps.Sources))
	slices.SortFunc(configured, func(a, b Source) int { return strings.Compare(string(a.ID), string(b.ID)) })
	comandav1.RegisterOrderServiceServer(s.grpc, &orderService{
		orders: deps.Orders, histories: deps.Histories, past: deps.Past, customers: deps.Customers, recorder: deps.Recorder, room: deps.Room, filters: filters, sources: configured, clock: deps.Clock, reads: views,
	})
	comandav1.RegisterSourceServiceServer(s.grpc, &sourceService{sources: configured})
	comandav1.RegisterPurchaseServiceServer(s.grpc, &purchaseService{purchases: deps.Purchases, past: deps.Past, room: deps.Room, reads: views})
	comandav1.RegisterQueueServiceServer(s.grpc, &queueService{conflicts: deps.Conflicts, attention: deps.Attention, reads: views})
	comandav1.RegisterStatsServiceServer(s.grpc, &statsService{stats: deps.Stats, reads: views})
	comandav1.RegisterEventServiceServer(s.grpc, &eventService{
		log: deps.Log, groups: deps.Groups, ring: newest,
		heartbeat: cfg.Heartbeat, clock: deps.Clock, closing: s.closing, metrics: m,
		checkpointEvery: cfg.CheckpointEvery, endings: s.endings,
	})
	comandav1.RegisterViewServiceServer(s.grpc, &viewService{verifier: deps.Verifier, operator: deps.Operator, customers: deps.Customers, closing: s.closing})
	comandav1.RegisterMachineServiceServer(s.grpc, &machineService{replayer: deps.Replayer, closing: s.closing, reads: views})
	healthv1.RegisterHealthServer(s.grpc, s.health)
	reflection.Register(s.grpc)
	s.setHealth(healthv1.HealthCheckResponse_NOT_SERVING)
	if err := checkNeeds(s.grpc.GetServiceInfo()); err != nil {
		return nil, fmt.Errorf("register gRPC services: %w", err)
	}
	return s, nil
}

// MayListen refuses an address beyond loopback that [Deps] has no access control for.
// [Server.Serve] refuses its listener, too.
func (s *Server) MayListen(addr net.Addr) error { return s.access.MayListen(addr) }

// Serve answers on listener, which it closes, until Stop; it then returns nil.
// It may be called once.
func (s *Server) Serve(listener net.Listener) error {
	if err := s.MayListen(listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	watched := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-s.views.Answering():
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
	s.endings.wait()
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
		comandav1.SourceService_ServiceDesc.ServiceName,
	} {
		s.health.SetServingStatus(service, state)
	}
}
