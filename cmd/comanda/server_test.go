package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestMain makes this binary the program too: scripts and crash tests run it
// as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"comanda": main, "comanda-small-disk": smallDisk, "comanda-dies": dies})
}

// sourcesYAML has one source for each provider, with a token for each.
const sourcesYAML = `
tenants: [loja]
sources:
  - {id: loja-aprovei, provider: aprovei, tenant: loja, account: principal, auth: {type: token, tokens: [t-aprovei]}}
  - {id: loja-onprofit, provider: onprofit, tenant: loja, account: principal, auth: {type: token, tokens: [t-onprofit]}}
  - {id: loja-voxuy, provider: voxuy, tenant: loja, account: principal, auth: {type: token, tokens: [t-voxuy]}}
  - id: loja-iset
    provider: iset
    tenant: loja
    account: principal
    auth: {type: token, tokens: [t-iset]}
    iset: {money: decimal, fields: {status: /status, total: /total}, statuses: {pago: approved, aguardando: pending}}
  - {id: loja-checkout, provider: comanda, tenant: loja, account: principal, auth: {type: token, tokens: [t-checkout]}}
`

// testServer is the whole program in this process, on free ports.
type testServer struct {
	t    *testing.T
	dir  string
	addr addresses
	stop func() int // ends it, waits, and answers its exit code

	output logBuffer // what it printed and logged

	damaged bool // the test spoilt the log: it is not verified at the end

	orders comandav1.OrderServiceClient
	events comandav1.EventServiceClient
}

// startServer runs serve with the given configuration file on dir and waits
// until it is ready. It is stopped, and its log verified, when the test ends.
func startServer(t *testing.T, dir, config string, flags ...string) *testServer {
	t.Helper()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startConfigured(t, dir, file, flags...)
}

// startConfigured is startServer with a configuration file that is there.
func startConfigured(t *testing.T, dir, file string, flags ...string) *testServer {
	t.Helper()
	s := &testServer{t: t, dir: dir}
	_ = os.Remove(filepath.Join(dir, addressesFile))
	ctx, cancel := context.WithCancel(context.Background())
	out := &s.output
	exited := make(chan int, 1)
	go func() {
		exited <- run(ctx, append([]string{
			"serve", "--data-dir", dir, "--config", file,
			"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0",
		}, flags...), out, out)
	}()
	s.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case code := <-exited:
			return code
		case <-time.After(60 * time.Second):
			t.Errorf("serve does not end; it said:\n%s", out.String())
			return -1
		}
	})
	s.await(exited, out)
	t.Cleanup(func() {
		if code := s.stop(); code != exitOK {
			t.Errorf("serve ended with %d; it said:\n%s", code, out.String())
		}
		if !s.damaged {
			s.verify()
		}
	})
	conn, err := grpc.NewClient(s.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s.orders, s.events = comandav1.NewOrderServiceClient(conn), comandav1.NewEventServiceClient(conn)
	return s
}

// await waits until the server says that it is ready.
func (s *testServer) await(exited <-chan int, out *logBuffer) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case code := <-exited:
			s.t.Fatalf("serve ended with %d before it was ready; it said:\n%s", code, out.String())
		case <-deadline:
			s.t.Fatalf("serve is not ready; it said:\n%s", out.String())
		case <-tick.C:
		}
		a, err := readAddresses(s.dir)
		if err != nil {
			continue
		}
		s.addr = a
		if ready(a) {
			return
		}
	}
}

// ready reports whether the server at a says that it is.
func ready(a addresses) bool {
	response, err := http.Get("http://" + a.Ops + "/readyz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// verify proves the log and the views of a stopped server.
func (s *testServer) verify() {
	s.t.Helper()
	var out bytes.Buffer
	if code := run(context.Background(), []string{"verify", "--data-dir", s.dir}, &out, &out); code != exitOK {
		s.t.Errorf("verify answers %d:\n%s", code, out.String())
	}
}

// answer is what the intake says.
type answer struct {
	Code         int      `json:"-"`
	Text         string   `json:"-"`
	Outcome      string   `json:"outcome"`
	OrderID      string   `json:"order_id"`
	Status       string   `json:"status"`
	Revision     uint64   `json:"revision"`
	EventID      string   `json:"event_id"`
	Position     string   `json:"position"`
	QuarantineID string   `json:"quarantine_id"`
	Results      []answer `json:"results"`
}

var tokens = map[string]string{
	"loja-aprovei": "t-aprovei", "loja-onprofit": "t-onprofit", "loja-voxuy": "t-voxuy", "loja-iset": "t-iset", "loja-checkout": "t-checkout",
}

// post sends body as source's platform would; path is the source and, for some, an action.
func (s *testServer) post(path, body string) answer {
	s.t.Helper()
	a, err := s.try(path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// try posts and gives back an error when no whole answer came.
func (s *testServer) try(path, body string) (answer, error) {
	source, _, _ := strings.Cut(path, "/")
	request, err := http.NewRequest(http.MethodPost, "http://"+s.addr.HTTP+"/webhooks/"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Authorization", "Bearer "+tokens[source])
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Code: response.StatusCode, Text: string(text)}
	if response.StatusCode == http.StatusServiceUnavailable {
		return a, nil
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return answer{}, fmt.Errorf("the answer %d is not JSON: %s", response.StatusCode, text)
	}
	return a, nil
}

// expect posts and compares outcome and status of the answer's last fact.
func (s *testServer) expect(path, body, outcome, status string) answer {
	s.t.Helper()
	a := s.post(path, body)
	if a.Code != http.StatusOK || a.Outcome != outcome || a.Status != status {
		s.t.Fatalf("the answer is %d %s, want 200 %s %s", a.Code, a.Text, outcome, status)
	}
	return a
}

// order is the order as the view has it after a.
func (s *testServer) order(a answer) *comandav1.Order {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := s.orders.GetOrder(ctx, &comandav1.GetOrderRequest{
		OrderId: a.OrderID, MinPosition: a.Position, View: comandav1.OrderView_ORDER_VIEW_FULL,
	})
	if err != nil {
		s.t.Fatalf("get %s: %v", a.OrderID, err)
	}
	return got.GetOrder()
}

// history is the order's events as words: "kind verdict from>to".
func (s *testServer) history(a answer) []string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	got, err := s.orders.GetOrderHistory(ctx, &comandav1.GetOrderHistoryRequest{OrderId: a.OrderID, MinPosition: a.Position})
	if err != nil {
		s.t.Fatalf("history of %s: %v", a.OrderID, err)
	}
	var out []string
	for i, e := range got.GetEvents() {
		if e.GetRevision() != uint64(i+1) {
			s.t.Errorf("event %d of %s has revision %d", i+1, a.OrderID, e.GetRevision())
		}
		out = append(out, eventWords(e))
	}
	return out
}

func eventWords(e *comandav1.Event) string {
	word := func(c column[*comandav1.Event]) string { return c.text(e) }
	cells := map[string]string{}
	for _, c := range eventColumns() {
		cells[c.name] = word(c)
	}
	return fmt.Sprintf("%s %s %s>%s", cells["kind"], cells["verdict"], cells["status_from"], cells["status_to"])
}

// fixture is a platform's sample, changed by pairs of old and new text.
func fixture(t *testing.T, name string, changes ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "fixtures", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(changes); i += 2 {
		if !strings.Contains(string(text), changes[i]) {
			t.Fatalf("%s has no %s", name, changes[i])
		}
	}
	return strings.NewReplacer(changes...).Replace(string(text))
}

// voxuy posts as a Voxuy sender would, whose answer names no order, and waits
// for the order's first event.
func (s *testServer) voxuy(body, providerOrderID string) answer {
	s.t.Helper()
	if a := s.post("loja-voxuy", body); a.Code != http.StatusOK || a.Text != `{"Success": true}` {
		s.t.Fatalf("the answer is %d %s", a.Code, a.Text)
	}
	id := domain.Identity{Tenant: "loja", Provider: "voxuy", Account: "principal", ProviderOrderID: providerOrderID}.OrderID()
	var found answer
	s.tail(func(m *comandav1.SubscribedEvent) bool {
		found = answer{OrderID: string(id), Position: m.GetPosition()}
		return m.GetEvent().GetOrderId() == string(id)
	})
	return found
}

// tail hands every event from the beginning to each until it answers true.
func (s *testServer) tail(each func(*comandav1.SubscribedEvent) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := s.events.Subscribe(ctx, &comandav1.SubscribeRequest{
		Start: &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			s.t.Fatalf("the subscription ended: %v", err)
		}
		if m.GetEvent() != nil && each(m.GetEvent()) {
			return
		}
	}
}

// quarantine counts the messages in quarantine by their id.
func (s *testServer) quarantine() map[string]int {
	s.t.Helper()
	conn, err := connectCore(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, eventstore.StreamQuarantine)
	if err != nil {
		s.t.Fatal(err)
	}
	seen := map[string]int{}
	info := stream.CachedInfo().State
	if info.Msgs == 0 {
		return seen
	}
	for sequence := info.FirstSeq; sequence <= info.LastSeq; sequence++ {
		m, err := stream.GetMsg(ctx, sequence)
		if err != nil {
			s.t.Fatal(err)
		}
		var kept comandav1.Quarantined
		if err := proto.Unmarshal(m.Data, &kept); err != nil {
			s.t.Fatal(err)
		}
		seen[kept.GetQuarantineId()]++
	}
	return seen
}

// logBuffer is a writer that can be read while it is written to.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
