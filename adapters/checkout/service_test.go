package checkout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/checkout"
	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/comanda"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/timeline"
	"comanda.internal/projections/waiting"
)

// office is a service at work on a house's log, with views.
type office struct {
	*house

	room *waiting.Room
	stop func()
}

// officeOptions are what a test changes of a desk.
type officeOptions struct {
	cfg      checkout.Config
	recorder intake.Recorder
	views    checkout.Views
}

func newOffice(t *testing.T, o officeOptions) *office {
	t.Helper()
	h := newHouse(t)
	file, err := projections.Open(filepath.Join(t.TempDir(), "views.db"))
	must(t, err)
	view, logger, registry := orders.New(file), slog.New(slog.DiscardHandler), prometheus.NewRegistry()
	d := &office{house: h, room: waiting.New(view)}
	runner, err := projections.New(projections.Config{}, projections.Deps{
		Log: h.log, Machine: order.Default(), Clock: time.Now, Logger: logger, Committed: d.room.Committed,
	}, file, timeline.New(file), view)
	must(t, err)
	if o.recorder == nil {
		o.recorder = h.recorder
	}
	if o.views == nil {
		o.views = runner
	}
	in, err := intake.New(o.recorder, h.log, time.Now, logger, registry)
	must(t, err)
	codec, err := comanda.New(comanda.Config{})
	must(t, err)
	service, err := checkout.NewService(o.cfg, checkout.ServiceDeps{
		Conn: h.node.Conn(), Intake: in, Orders: d.room, Views: o.views, Version: "devel", Clock: time.Now, Logger: logger, Registerer: registry,
		Sources: []*intake.Source{
			{ID: "loja-checkout", Provider: provider.Comanda, Tenant: "loja", Codec: codec},
			{ID: "loja-pos", Provider: provider.Comanda, Tenant: "loja", Account: "pos", Codec: codec},
			{ID: "outra-checkout", Provider: provider.Comanda, Tenant: "outra", Codec: codec},
		},
	})
	must(t, err)
	stopViews := inBackground(t, runner.Run)
	<-runner.Ready()
	d.stop = inBackground(t, service.Run)
	<-service.Ready()
	t.Cleanup(func() {
		d.stop()
		stopViews()
		must(t, file.Close())
	})
	return d
}

// inBackground runs until it is told to stop, which may be said twice.
func inBackground(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	done := false
	return func() {
		cancel()
		if !done {
			done = true
			must(t, <-ended)
		}
	}
}

// reply is what the merchant is answered.
type reply struct {
	code, description string
	body              map[string]any
	header            nats.Header
}

// ask is a request of the merchant's.
func (d *office) ask(t *testing.T, subject, body string, headers ...string) reply {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	got, err := d.merchant.RequestMsg(m, answerWait)
	if err != nil {
		t.Fatalf("%s is met with silence: %v", subject, err)
	}
	r := reply{code: got.Header.Get(micro.ErrorCodeHeader), description: got.Header.Get(micro.ErrorHeader), header: got.Header}
	if len(got.Data) > 0 {
		must(t, json.Unmarshal(got.Data, &r.body))
	}
	return r
}

// order is the answer's order.
func (r *reply) order(t *testing.T) map[string]any {
	t.Helper()
	o, ok := r.body["order"].(map[string]any)
	if r.code != "" || !ok {
		t.Fatalf("the answer is %+v", r)
	}
	return o
}

func TestARequestRecordsAFact(t *testing.T) {
	d := newOffice(t, officeOptions{})
	body := event("evt-1", "approved", "A-1", `,"data":{"reference":"EX1","paid":100,"total":100}`)
	first := d.ask(t, "comanda.record.loja-checkout", body, "X-Request-Id", "req-1", "traceparent", trace)
	if first.code != "" || first.body["outcome"] != "applied" || first.body["status"] != "approved" || first.body["message_id"] != "evt-1" {
		t.Fatalf("answered %+v", first)
	}
	if n := d.head(t); n != 1 { // durable when it is answered
		t.Errorf("%d events in the log", n)
	}
	for name, want := range map[string]string{
		"X-Request-Id": "req-1", "traceparent": trace, "Nats-Msg-Id": "evt-1", "Content-Type": "application/json",
	} {
		if got := first.header.Get(name); got != want {
			t.Errorf("the answer's %s is %q, want %q", name, got, want)
		}
	}
	again := d.ask(t, "comanda.record.loja-checkout", body)
	if again.body["outcome"] != "duplicate" || again.body["event_id"] != first.body["event_id"] || d.head(t) != 1 {
		t.Errorf("asked again: %+v, %d events", again, d.head(t))
	}
	events, err := d.log.Order(t.Context(), domain.OrderID(fmt.Sprint(first.body["order_id"])))
	must(t, err)
	if len(events) != 1 || events[0].Event.Cause.Traceparent != trace || events[0].Event.Cause.RequestID != "req-1" {
		t.Errorf("stored: %+v", events)
	}
}

// What the fold refuses is told at once and not stored, while INTAKE stores it: its
// sender has gone. The same id may then say what is legal.
func TestARequestIsToldWhatTheFoldRefuses(t *testing.T) {
	d := newOffice(t, officeOptions{})
	at := func(minute int) string { return fmt.Sprintf(`,"time":"2026-05-09T17:%02d:00Z"`, minute) }
	d.ask(t, "comanda.record.loja-checkout", event("evt-1", "approved", "A-1", at(1)))
	refused := d.ask(t, "comanda.record.loja-checkout", event("evt-2", "pending", "A-1", at(2)))
	if refused.code != "409" || !strings.Contains(refused.description, "the order was approved then") || d.head(t) != 1 {
		t.Errorf("answered %+v, %d events", refused, d.head(t))
	}
	for member, want := range map[string]any{"kind": "pending", "status_then": "approved", "status": "approved", "at": "2026-05-09T17:02:00Z"} {
		if refused.body[member] != want {
			t.Errorf("%s is %v, want %v", member, refused.body[member], want)
		}
	}
	if legal := fmt.Sprint(refused.body["legal"]); !strings.Contains(legal, "refunded") || strings.Contains(legal, "pending") {
		t.Errorf("legal: %s", legal)
	}
	if legal := d.ask(t, "comanda.record.loja-checkout", event("evt-2", "refunded", "A-1", at(2))); legal.body["outcome"] != "applied" || d.head(t) != 2 {
		t.Errorf("answered %+v, %d events", legal, d.head(t))
	}
	if n := len(d.quarantined(t)); n != 0 {
		t.Errorf("%d in quarantine", n)
	}
}

func TestBadRequestsAreAnswered(t *testing.T) {
	d := newOffice(t, officeOptions{cfg: checkout.Config{MaxBody: 1000, MaxWait: time.Minute}})
	const id = `"order_id":"ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"`
	for _, c := range []struct {
		name, subject, body, code, says string
		kept                            bool
	}{
		{"not JSON", "comanda.record.loja-checkout", "{", "400", "correct it", true},
		{"a field missing", "comanda.record.loja-checkout", `{"id":"evt-9"}`, "400", "correct it", true},
		{"an unknown source", "comanda.record.Nenhuma", event("e", "started", "A", ""), "404", "no source nenhuma", false},
		{"too large", "comanda.record.loja-checkout", event("e", "started", strings.Repeat("x", 1000), ""), "413", "more than 1000", false},
		{"not JSON", "comanda.order.get.loja-checkout", "{", "400", "not a request", false},
		{"nothing", "comanda.order.get.loja-checkout", "", "400", "not a request", false},
		{"no member that is known", "comanda.order.get.loja-checkout", `{"orderid":"x"}`, "400", "orderid", false},
		{"a member twice", "comanda.order.get.loja-checkout", `{"reference":"x","reference":"x"}`, "400", "duplicate", false},
		{"no order named", "comanda.order.get.loja-checkout", "{}", "400", "not valid", false},
		{"two orders named", "comanda.order.get.loja-checkout", `{` + id + `,"reference":"x"}`, "400", "not valid", false},
		{"no order id", "comanda.order.get.loja-checkout", `{"order_id":"A-1"}`, "400", "not valid", false},
		{"no view", "comanda.order.get.loja-checkout", `{` + id + `,"view":"FULL"}`, "400", "not valid", false},
		{"no position", "comanda.order.get.loja-checkout", `{` + id + `,"min_position":"*"}`, "400", "not valid", false},
		{"another tenant's source", "comanda.order.get.loja-checkout", `{"provider_order_id":"A","source":"outra-checkout"}`, "400", "not valid", false},
		{"a source that goes with nothing", "comanda.order.get.loja-checkout", `{` + id + `,"source":"loja-pos"}`, "400", "not valid", false},
		{"an unknown order", "comanda.order.get.loja-checkout", `{` + id + `}`, "404", "no such order", false},
		{"an unknown source", "comanda.order.get.nenhuma", `{` + id + `}`, "404", "no source nenhuma", false},
		{"an unknown status", "comanda.order.wait.loja-checkout", `{` + id + `,"statuses":["PAID"]}`, "400", "not valid", false},
		{"too long", "comanda.order.wait.loja-checkout", `{` + id + `,"timeout_ms":60001}`, "400", "not valid", false},
		{"a past that is waited for", "comanda.order.wait.loja-checkout", `{` + id + `,"timeout_ms":-1}`, "400", "not valid", false},
		{"an unknown source", "comanda.order.wait.nenhuma", `{` + id + `}`, "404", "no source nenhuma", false},
	} {
		before := len(d.quarantined(t))
		got := d.ask(t, c.subject, c.body)
		if got.code != c.code || !strings.Contains(got.description, c.says) {
			t.Errorf("%s to %s: %s %q, want %s that says %q", c.name, c.subject, got.code, got.description, c.code, c.says)
		}
		if strings.Contains(c.says, "not valid") && len(got.body) == 0 {
			t.Errorf("%s: no word on which field", c.name)
		}
		if kept := len(d.quarantined(t)) > before; kept != c.kept {
			t.Errorf("%s: kept %t", c.name, kept)
		}
	}
	if n := d.head(t); n != 0 {
		t.Errorf("%d events in the log", n)
	}
	// What the sender cannot mend is no error, as over HTTP.
	if got := d.ask(t, "comanda.record.loja-checkout", event("evt-8", "levitated", "A-1", "")); got.code != "" || got.body["outcome"] != "quarantined" {
		t.Errorf("an unknown kind: %+v", got)
	}
}

// An order is found by each of its names, by its own tenant only.
func TestARequestReadsAnOrder(t *testing.T) {
	d := newOffice(t, officeOptions{})
	body := event("evt-1", "approved", "A-1", `,"data":{"reference":"EX1","paid":100,"total":100,"items":[{"code":"S","quantity":1,"unit_price":100}]}`)
	recorded := d.ask(t, "comanda.record.loja-checkout", body).body
	id, min := fmt.Sprint(recorded["order_id"]), fmt.Sprintf(`,"min_position":"%v"`, recorded["position"])
	for _, c := range []struct{ source, request string }{
		{"loja-checkout", `"order_id":"` + id + `"`},
		{"loja-checkout", `"reference":"EX1"`},
		{"loja-checkout", `"provider_order_id":"A-1"`},
		{"loja-pos", `"provider_order_id":"A-1","source":"loja-checkout"`},
	} {
		got := d.ask(t, "comanda.order.get."+c.source, "{"+c.request+min+"}")
		if o := got.order(t); o["order_id"] != id || o["status"] != "approved" || o["paid"] != 100.0 || len(o["items"].([]any)) != 0 {
			t.Errorf("%s of %s: %v", c.request, c.source, o)
		}
	}
	got := d.ask(t, "comanda.order.get.loja-checkout", `{"reference":"EX1","view":"full"}`)
	if o := got.order(t); len(o["items"].([]any)) != 1 {
		t.Errorf("in full: %v", o)
	}
	for _, c := range []struct{ source, request string }{
		{"outra-checkout", `"order_id":"` + id + `"`},
		{"outra-checkout", `"reference":"EX1"`},
		{"outra-checkout", `"provider_order_id":"A-1"`},
		{"loja-pos", `"provider_order_id":"A-1"`}, // another account's
	} {
		if got := d.ask(t, "comanda.order.get."+c.source, "{"+c.request+"}"); got.code != "404" {
			t.Errorf("%s of %s: %+v", c.request, c.source, got)
		}
		wait := d.ask(t, "comanda.order.wait."+c.source, "{"+c.request+`,"timeout_ms":1}`)
		if wait.code != "" || wait.body["met"] != false || wait.body["order"] != nil {
			t.Errorf("a wait for %s of %s: %+v", c.request, c.source, wait)
		}
	}
}

// The buyer is back before the platform's word, or the order itself, is there.
func TestARequestWaits(t *testing.T) {
	d := newOffice(t, officeOptions{})
	answers := make(chan reply, 1)
	go func() {
		answers <- d.ask(t, "comanda.order.wait.loja-checkout", `{"reference":"EX1","no_longer_pending":true,"timeout_ms":60000}`)
	}()
	for d.room.Waiting() == 0 { // it is on its way
		d.ask(t, "$SRV.PING.comanda", "")
	}
	d.ask(t, "comanda.record.loja-checkout", event("evt-1", "pending", "A-1", `,"data":{"reference":"EX1"}`))
	d.ask(t, "comanda.record.loja-checkout", event("evt-2", "approved", "A-1", `,"data":{"reference":"EX1"}`))
	got := <-answers
	if got.body["met"] != true || got.order(t)["status"] != "approved" {
		t.Errorf("answered %+v", got)
	}
	at := d.ask(t, "comanda.order.wait.loja-checkout", `{"provider_order_id":"A-1","statuses":["refunded"],"timeout_ms":1}`)
	if at.body["met"] != false || at.order(t)["status"] != "approved" {
		t.Errorf("at the deadline: %+v", at)
	}
	if met := d.ask(t, "comanda.order.wait.loja-checkout", `{"provider_order_id":"A-1","revision":2}`); met.body["met"] != true {
		t.Errorf("at revision 2: %+v", met)
	}
}

// Whoever is in hand when the service stops is answered, and nobody after.
func TestAWaitIsAnsweredWhenTheServiceStops(t *testing.T) {
	d := newOffice(t, officeOptions{})
	answers := make(chan reply, 1)
	go func() {
		answers <- d.ask(t, "comanda.order.wait.loja-checkout", `{"reference":"EX1","timeout_ms":60000}`)
	}()
	for d.room.Waiting() == 0 {
		d.ask(t, "$SRV.PING.comanda", "")
	}
	d.stop()
	if got := <-answers; got.code != "503" {
		t.Errorf("answered %+v", got)
	}
	if _, err := d.merchant.Request("comanda.order.get.loja-checkout", nil, answerWait); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("and after: %v", err)
	}
}

func TestTooManyRequestsAreTold(t *testing.T) {
	d := newOffice(t, officeOptions{cfg: checkout.Config{MaxRequests: 1}})
	answers := make(chan reply, 1)
	go func() {
		answers <- d.ask(t, "comanda.order.wait.loja-checkout", `{"reference":"EX1","timeout_ms":60000}`)
	}()
	for d.room.Waiting() == 0 {
		d.ask(t, "$SRV.PING.comanda", "")
	}
	if got := d.ask(t, "comanda.order.wait.loja-checkout", `{"reference":"EX2"}`); got.code != "429" {
		t.Errorf("one more is answered %+v", got)
	}
	// Whoever waits keeps nobody from being recorded.
	if got := d.ask(t, "comanda.record.loja-checkout", event("evt-1", "pending", "A-1", "")); got.body["outcome"] != "applied" {
		t.Errorf("a fact meanwhile: %+v", got)
	}
	d.room.Close()
	if got := <-answers; got.code != "503" {
		t.Errorf("the one before: %+v", got)
	}
}

func TestALogThatIsAwayIsSaid(t *testing.T) {
	d := newOffice(t, officeOptions{recorder: recorderFunc(func(context.Context, domain.Message, []domain.Fact) ([]domain.Outcome, error) {
		return nil, domain.Errorf(domain.Unavailable, "away")
	})})
	if got := d.ask(t, "comanda.record.loja-checkout", event("evt-1", "pending", "A-1", "")); got.code != "503" || !strings.Contains(got.description, "again") {
		t.Errorf("answered %+v", got)
	}
}

// behind are views that are still being built.
type behind struct{ ready chan struct{} }

func (b behind) Ready() <-chan struct{}                      { return b.ready }
func (b behind) Wait(context.Context, domain.Position) error { return nil }

func TestViewsThatAreBehindAnswerNothing(t *testing.T) {
	d := newOffice(t, officeOptions{views: behind{make(chan struct{})}})
	for _, subject := range []string{"comanda.order.get.loja-checkout", "comanda.order.wait.loja-checkout"} {
		if got := d.ask(t, subject, `{"reference":"EX1"}`); got.code != "503" {
			t.Errorf("%s: %+v", subject, got)
		}
	}
}

// TestTheServiceIsFound has the merchant find it, and holds the schemas to what is
// taken.
func TestTheServiceIsFound(t *testing.T) {
	d := newOffice(t, officeOptions{})
	answer, err := d.merchant.Request("$SRV.INFO.comanda", nil, answerWait)
	must(t, err)
	var info micro.Info
	must(t, json.Unmarshal(answer.Data, &info))
	if info.Name != checkout.ServiceName || info.Version != checkout.ServiceVersion || info.Metadata["comanda"] != "devel" {
		t.Errorf("found %+v", info)
	}
	members := map[string][]string{
		"order-get":  {"min_position", "order_id", "provider_order_id", "reference", "source", "view"},
		"order-wait": {"no_longer_pending", "order_id", "provider_order_id", "reference", "revision", "source", "statuses", "timeout_ms", "view"},
	}
	subjects := map[string]string{}
	for _, e := range info.Endpoints {
		subjects[e.Name] = e.Subject
		var request, response struct{ Properties map[string]any }
		must(t, json.Unmarshal([]byte(e.Metadata["request"]), &request))
		must(t, json.Unmarshal([]byte(e.Metadata["response"]), &response))
		if want := members[e.Name]; want != nil && !reflect.DeepEqual(want, slices.Sorted(maps.Keys(request.Properties))) {
			t.Errorf("%s says that it takes %v", e.Name, slices.Sorted(maps.Keys(request.Properties)))
		}
		for name := range request.Properties { // each is known, whatever it is worth
			if got := d.ask(t, strings.Replace(e.Subject, "*", "loja-checkout", 1), `{"`+name+`":null}`); strings.Contains(got.description, name) {
				t.Errorf("%s does not know %s: %s", e.Name, name, got.description)
			}
		}
	}
	want := map[string]string{"record": "comanda.record.*", "order-get": "comanda.order.get.*", "order-wait": "comanda.order.wait.*"}
	if diff := cmp.Diff(want, subjects); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

// No stream of ours may store what is asked; one of anybody's that would is refused.
func TestNoStreamStoresRequests(t *testing.T) {
	h := newHouse(t)
	must(t, checkout.CheckOverlap(t.Context(), h.js))
	for _, c := range []struct {
		subject string
		refused bool
	}{
		{"comanda.>", true},
		{"comanda.*.get.*", true},
		{"comanda.record.loja-checkout", true},
		{"comanda.*.x", true},
		{"$SRV.INFO", true},
		{"comanda.record", false},
		{"comanda.events.*", false},
		{"comanda.order.get.a.b", false},
		{"outcome.*", false},
	} {
		_, err := h.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{c.subject}})
		must(t, err)
		err = checkout.CheckOverlap(t.Context(), h.js)
		if refused := domain.KindOf(err) == domain.Refused; refused != c.refused || refused && !strings.Contains(err.Error(), "MINE stores "+c.subject) {
			t.Errorf("%s: %v", c.subject, err)
		}
		must(t, h.js.DeleteStream(t.Context(), "MINE"))
	}
}
