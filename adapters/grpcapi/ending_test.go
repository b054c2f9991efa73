package grpcapi_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// metric is the value of a counter or gauge with labels, in turns of name and value; 0: there
// is none.
func metric(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			has := map[string]string{}
			for _, l := range m.GetLabel() {
				has[l.GetName()] = l.GetValue()
			}
			matches := f.GetName() == name
			for i := 0; i < len(labels); i += 2 {
				matches = matches && has[labels[i]] == labels[i+1]
			}
			if matches {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// recordLarge stores a fact of order n whose event is larger than what waits in a stream for
// its client, so that one that reads nothing is sent one of them.
func (s *store) recordLarge(n int) domain.Outcome {
	s.t.Helper()
	fact := domain.Fact{
		Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: identity(n).ProviderOrderID, Key: "large",
		OccurredAt: time.Now().UTC(), Items: []domain.Item{{Title: strings.Repeat("x", 200_000)}},
	}
	message := domain.Message{Source: "loja-checkout", Tenant: "loja", Provider: "comanda", Body: []byte("{}"), ReceivedAt: time.Now()}
	outcomes, err := s.recorder.Record(s.t.Context(), message, []domain.Fact{fact})
	must(s.t, err)
	return outcomes[0]
}

// unread is a stream of which nothing is read yet.
type unread struct {
	method string
	begin  func(ctx context.Context, g *guarded) (next func() (event *comandav1.Event, token string, closing bool, err error))
	token  bool // its end has one
}

var unreadStreams = map[string]unread{
	"Subscribe": {comandav1.EventService_Subscribe_FullMethodName, func(ctx context.Context, g *guarded) func() (*comandav1.Event, string, bool, error) {
		stream, err := g.events.Subscribe(ctx, fromBeginning())
		must(g.t, err)
		return func() (*comandav1.Event, string, bool, error) {
			m, err := stream.Recv()
			return m.GetEvent().GetEvent(), m.GetEvent().GetResumeToken(), m.GetClosing() != nil, err
		}
	}, true},
	"ReadEvents": {comandav1.EventService_ReadEvents_FullMethodName, func(ctx context.Context, g *guarded) func() (*comandav1.Event, string, bool, error) {
		stream, err := g.events.ReadEvents(ctx, &comandav1.ReadEventsRequest{})
		must(g.t, err)
		return func() (*comandav1.Event, string, bool, error) {
			m, err := stream.Recv()
			return m.GetEvent().GetEvent(), m.GetEvent().GetResumeToken(), m.GetClosing() != nil, err
		}
	}, true},
	"Consume": {comandav1.EventService_Consume_FullMethodName, func(ctx context.Context, g *guarded) func() (*comandav1.Event, string, bool, error) {
		stream, err := g.events.Consume(ctx)
		must(g.t, err)
		must(g.t, stream.Send(helloOf("erp", 10)))
		return func() (*comandav1.Event, string, bool, error) {
			m, err := stream.Recv()
			return m.GetEvent().GetEvent(), "", m.GetClosing() != nil, err
		}
	}, false},
}

// TestAClientThatReadsNothingLearnsWhyWhenItDoes ends streams whose clients have read nothing,
// so that no Closing can be sent. Their handlers end nevertheless, and the client that then reads
// finds what was sent, and after it the reason and where to go on in the status.
func TestAClientThatReadsNothingLearnsWhyWhenItDoes(t *testing.T) {
	for name, stream := range unreadStreams {
		for reason, code := range map[string]codes.Code{"access_ended": codes.Unauthenticated, "shutting_down": codes.Unavailable} {
			t.Run(name+" "+reason, func(t *testing.T) {
				g, registry := newUnread(t)
				next := stream.begin(g.as(t.Context(), "reader"), g)
				until(t, func() bool { return metric(t, registry, "comanda_grpcapi_events_sent_total") > 0 })
				stopped := make(chan struct{})
				if reason == "access_ended" {
					close(stopped)
					_, err := g.tokens.Revoke("reader", time.Now())
					must(t, err)
					must(t, g.authority.Refresh())
				} else {
					go func() {
						defer close(stopped)
						g.Stop(context.WithoutCancel(t.Context()))
					}()
				}
				until(t, func() bool {
					return metric(t, registry, "comanda_grpcapi_calls_total", "method", stream.method, "code", code.String()) == 1
				})
				g.wantOneEventAndAnEnd(t, next, reason, code, stream.token)
				<-stopped
			})
		}
	}
}

// until polls for a state that will come.
func until(t *testing.T, is func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !is() {
		select {
		case <-again.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// newUnread is a guarded server that waits for nobody, with three large events and a group.
func newUnread(t *testing.T) (*guarded, *prometheus.Registry) {
	t.Helper()
	store, registry := newStore(t), prometheus.NewRegistry()
	for n := range 3 {
		store.recordLarge(n)
	}
	g := &guarded{store: store, tokens: access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}, secrets: map[string]string{}}
	var err error
	g.authority, err = access.New(access.Config{TokensFile: g.tokens.Path}, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	deps := g.deps()
	deps.Access, deps.Registerer = g.authority, registry
	g.server = serve(t, grpcapi.Config{CloseWithin: time.Millisecond}, deps)
	g.create("reader", []access.Scope{access.EventsRead}, "loja")
	g.create("operator", []access.Scope{access.Admin}, access.AnyTenant)
	must(t, createGroup(&comandav1.CreateGroupRequest{Group: group("erp")})(g.as(t.Context(), "operator"), g))
	return g, registry
}

// wantOneEventAndAnEnd reads a stream to its end, and goes on from both tokens.
func (g *guarded) wantOneEventAndAnEnd(
	t *testing.T, next func() (*comandav1.Event, string, bool, error), reason string, code codes.Code, wantToken bool,
) {
	t.Helper()
	var events []string
	var last string
	for {
		event, token, closing, err := next()
		if closing {
			t.Error("a Closing came, though there was no room")
		}
		if event != nil {
			events, last = append(events, event.GetEventId()), token
		}
		if err == nil {
			continue
		}
		var told *errdetails.ErrorInfo
		for _, d := range status.Convert(err).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				told = info
			}
		}
		token = told.GetMetadata()["resume_token"]
		if status.Code(err) != code || told.GetMetadata()["closing"] != reason || (token != "") != wantToken || len(events) != 1 {
			t.Fatalf("after %d events, the end is %v with %v", len(events), err, told)
		}
		if !wantToken {
			return
		}
		if got, want := placeOf(t, token), placeOf(t, last); !want.Covers(got) {
			t.Errorf("the end is at %v, the event at %v", got, want)
		}
		again := serve(t, grpcapi.Config{}, g.deps())
		if left := subscribe(t, again, from(last)).catchUp(); len(left) != 2 || left[0] == events[0] || left[1] == events[0] {
			t.Errorf("after the event's token come %v, the event was %v", left, events)
		}
		if left := subscribe(t, again, from(token)).catchUp(); len(left) != 2 {
			t.Errorf("after the end's token come %v", left)
		}
		return
	}
}

// TestReadEventsClosesWithItsToken has a log that does not answer, and a server that stops, or
// a caller that loses its access; and a log that fails.
func TestReadEventsClosesWithItsToken(t *testing.T) {
	for reason, end := range map[string]func(g *guarded){
		"shutting_down": func(g *guarded) { g.stop() },
		"access_ended": func(g *guarded) {
			_, err := g.tokens.Revoke("reader", time.Now())
			must(g.t, err)
			must(g.t, g.authority.Refresh())
		},
		"log_unavailable": func(*guarded) {},
	} {
		t.Run(reason, func(t *testing.T) {
			g := guard(t, newStore(t))
			g.create("reader", []access.Scope{access.EventsRead}, "loja")
			deps := g.deps()
			deps.Access = g.authority
			log := &watched{Log: g.log, stall: make(chan struct{})}
			if reason == "log_unavailable" {
				log.broken = domain.Errorf(domain.Corrupt, "sequence 7 follows 5")
			}
			deps.Log = log
			g.server = serve(t, grpcapi.Config{}, deps)
			g.fill(1)
			stream, err := g.events.ReadEvents(g.as(t.Context(), "reader"), &comandav1.ReadEventsRequest{})
			must(t, err)
			until(t, func() bool { return log.scans.Load() > 0 })
			end(g)
			m, err := stream.Recv()
			must(t, err)
			if c := m.GetClosing(); c.GetReason() != reason || !placeOf(t, c.GetResumeToken()).IsZero() {
				t.Errorf("closing = %v", m)
			}
			_, err = stream.Recv()
			info := detail[*errdetails.ErrorInfo](t, err)
			if info.GetMetadata()["closing"] != reason || info.GetMetadata()["resume_token"] != m.GetClosing().GetResumeToken() {
				t.Errorf("the stream's end = %v with %v", err, info)
			}
		})
	}
}
