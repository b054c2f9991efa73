package checkout

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
	"comanda.internal/projections/waiting"
)

// The service's names. A subject ends with the source that asks, because that is
// all by which NATS can tell one user's requests from another's.
const (
	// ServiceName is what $SRV.INFO knows the service by.
	ServiceName = "comanda"
	// ServiceVersion is that of the requests and answers (semantic versioning).
	ServiceVersion = "1.0.0"

	recordPrefix = "comanda.record."
	getPrefix    = "comanda.order.get."
	waitPrefix   = "comanda.order.wait."
)

// Orders answers what an order is, and waits until it is something else.
type Orders interface {
	Look(target waiting.Target, condition waiting.Condition) (waiting.Answer, error)
	Order(ctx context.Context, target waiting.Target, condition waiting.Condition) (waiting.Answer, error)
}

var _ Orders = (*waiting.Room)(nil)

// Views says how far the views have read.
type Views interface {
	Ready() <-chan struct{}
	Wait(ctx context.Context, position domain.Position) error
}

// ServiceDeps is what a Service needs of the process; all of it.
type ServiceDeps struct {
	// Conn is to the account that owns the streams.
	Conn    *nats.Conn
	Sources []*intake.Source
	Intake  *intake.Intake
	Orders  Orders
	Views   Views
	// Version is the program's.
	Version    string
	Clock      func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Service answers requests: it records one fact, and says what an order is, now
// or once it is what the caller waits for. Run may be called once.
type Service struct {
	cfg      Config
	deps     ServiceDeps
	sources  map[string]*intake.Source
	requests *prometheus.CounterVec
	desk     *desk
	waits    *desk // of those who would keep the others out
	ready    chan struct{}
}

// NewService makes a service for the sources in deps.
func NewService(cfg Config, deps ServiceDeps) (*Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	s := &Service{
		cfg: cfg, deps: deps, sources: make(map[string]*intake.Source, len(deps.Sources)),
		desk: newDesk(cfg.MaxRequests), waits: newDesk(cfg.MaxRequests), ready: make(chan struct{}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "comanda", Subsystem: "checkout", Name: "requests_total", Help: "Requests over NATS by endpoint and code; 200 is none.",
		}, []string{"endpoint", "code"}),
	}
	for _, src := range deps.Sources {
		s.sources[string(src.ID)] = src
	}
	if err := deps.Registerer.Register(s.requests); err != nil {
		return nil, fmt.Errorf("register the service's metrics: %w", err)
	}
	return s, nil
}

// Ready is closed when requests are being answered.
func (s *Service) Ready() <-chan struct{} { return s.ready }

// endpoint is one thing that can be asked for.
type endpoint struct {
	name     string
	prefix   string
	metadata map[string]string
	answer   func(context.Context, *request) answer
	desk     *desk
}

func (s *Service) endpoints() []endpoint {
	return []endpoint{
		{"record", recordPrefix, recordMetadata, s.record, s.desk},
		{"order-get", getPrefix, getMetadata, s.get, s.desk},
		{"order-wait", waitPrefix, waitMetadata, s.wait, s.waits},
	}
}

// Run answers until ctx ends, and then finishes what it has in hand; waits are
// answered at once. It refuses to begin while a stream stores what is asked.
func (s *Service) Run(ctx context.Context) error {
	js, err := jetstream.New(s.deps.Conn)
	if err != nil {
		return fmt.Errorf("serve requests: %w", err)
	}
	if err := CheckOverlap(ctx, js); err != nil {
		return err
	}
	service, err := micro.AddService(s.deps.Conn, micro.Config{
		Name: ServiceName, Version: ServiceVersion, Description: "Records facts and answers what orders are",
		Metadata: map[string]string{"comanda": s.deps.Version, "schema": "https://json-schema.org/draft/2020-12/schema"},
	})
	if err != nil {
		return domain.Errorf(domain.Unavailable, "serve requests: %w", err)
	}
	for _, e := range s.endpoints() {
		if err := service.AddEndpoint(e.name, s.handler(ctx, e), micro.WithEndpointSubject(e.prefix+"*"), micro.WithEndpointMetadata(e.metadata)); err != nil {
			_ = service.Stop()
			return domain.Errorf(domain.Unavailable, "serve %s: %w", e.name, err)
		}
	}
	if err := s.deps.Conn.FlushTimeout(apiWait); err != nil {
		_ = service.Stop()
		return domain.Errorf(domain.Unavailable, "serve requests: %w", err)
	}
	close(s.ready)
	<-ctx.Done()
	err = service.Stop()
	s.desk.close()
	s.waits.close()
	if err != nil {
		return fmt.Errorf("stop serving requests: %w", err)
	}
	return nil
}

// handler has each request answered beside the others, and one that is too many at
// once told so.
func (s *Service) handler(ctx context.Context, e endpoint) micro.Handler {
	return micro.HandlerFunc(func(m micro.Request) {
		r := s.read(m, e)
		if !e.desk.take(func() { s.respond(r, e.answer(ctx, r)) }) {
			s.respond(r, refusal(codeBusy, "too many requests at once; ask again"))
		}
	})
}

// request is one that was read, well or badly.
type request struct {
	endpoint string
	token    string         // of the source, as the subject has it
	source   *intake.Source // nil: it is not configured
	header   nats.Header
	body     []byte
	reply    string
	id       string // the sender's; "" when it gave none
	cause    domain.Cause
}

func (s *Service) read(m micro.Request, e endpoint) *request {
	token := strings.TrimPrefix(m.Subject(), e.prefix)
	r := &request{
		endpoint: e.name, token: token, source: s.sources[token], header: nats.Header(m.Headers()), body: m.Data(), reply: m.Reply(),
	}
	r.id = messageID(r.header, r.body, r.source)
	r.cause = causeOf(r.header, r.id)
	return r
}

// respond sends an answer; a request without a reply subject wants none. It does
// not go through the request: micro reads there what another goroutine would write (micro/service.go, reqHandler).
func (s *Service) respond(r *request, a answer) {
	s.requests.WithLabelValues(r.endpoint, strconv.Itoa(a.code)).Inc()
	if r.reply == "" {
		return
	}
	err := s.deps.Conn.PublishMsg(a.message(r))
	if err != nil && a.code == codeOK { // more than the server takes in one message
		a = refusal(codeInternal, "the answer cannot be sent: "+err.Error())
		err = s.deps.Conn.PublishMsg(a.message(r))
	}
	if err != nil {
		s.deps.Logger.Warn("request not answered", "endpoint", r.endpoint, "error", err)
	}
}
