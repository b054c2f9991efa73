package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/natsnode"
)

// The canary is a person of whom no trace may be found. Its texts are looked for
// as they were sent and as they are normalised.
var canary = []string{
	"Canarina Pintassilgo", "52998224725", "529.982.247-25", "canarina@pintassilgo.example", "11912345678", "+5511912345678",
}

// TestNoTraceOfAPerson sends a person through HTTP, NATS and quarantine, stops
// the server, and looks for the person in everything that it wrote. With
// sealing off, the same search must find each of them.
func TestNoTraceOfAPerson(t *testing.T) {
	t.Run("sealed", func(t *testing.T) {
		for _, trace := range traces(t) {
			t.Errorf("found %s", trace)
		}
	})
	t.Run("control", func(t *testing.T) {
		found := map[string]bool{}
		for _, trace := range traces(t, "--unsafe-no-sealing") {
			found[trace.text] = true
		}
		for _, text := range []string{canary[0], canary[1], canary[3], canary[5]} {
			if !found[text] {
				t.Errorf("the search does not find %q in an unsealed log", text)
			}
		}
	})
}

// trace is a text of the canary and where it was found.
type trace struct{ text, place string }

func (t trace) String() string { return fmt.Sprintf("%q in %s", t.text, t.place) }

// traces are what is found after the canary went through every way in.
func traces(t *testing.T, flags ...string) []trace {
	t.Helper()
	r := startReceiver(t)
	dir := t.TempDir()
	s := startServer(t, dir, endpointYAML(r.URL), flags...)
	person := []string{
		"Teste da Silva", canary[0], "74600027043", canary[2], "teste.silva@example.com", canary[3], "+5511999999999", canary[5],
	}
	s.expect("loja-aprovei", fixture(t, "aprovei-approved", person...), "applied", "approved")
	r.next(t, 1)
	for _, body := range []string{
		fixture(t, "aprovei-approved", append(person, `"approved"`, `"teleported"`)...), // unknown status
		fixture(t, "aprovei-approved", append(person, `12000,`, `"`+canary[0]+`",`)...), // a person where a sum should be
		`{"name": "` + canary[0] + `", "cpf": "` + canary[1],                            // no JSON
	} {
		if a := s.post("loja-aprovei", body); a.Code != http.StatusAccepted {
			t.Fatalf("the answer is %d %s, want 202", a.Code, a.Text)
		}
	}
	if a := s.overNATS(canaryCloudEvent("A-1", canary[1])); a.Outcome != "applied" {
		t.Fatalf("the outcome is %s", a.Text)
	}
	if a := s.overNATS(canaryCloudEvent("", canary[1])); a.Outcome != "quarantined" { // without its required subject
		t.Fatalf("the outcome is %s", a.Text)
	}

	found := search("metrics", s.metrics())
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	found = append(found, search("the log output", []byte(s.output.String()))...)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		found = append(found, search(path, content)...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func canaryCloudEvent(subject, document string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"c-%s","source":"checkout","type":"comanda.fact.pending.v1","subject":%q,
 "data":{"customer":{"name":%q,"email":%q,"phone":%q,"document":%q}}}`, subject, subject, canary[0], canary[3], canary[5], document)
}

func search(place string, content []byte) []trace {
	var found []trace
	for _, text := range canary {
		if bytes.Contains(content, []byte(text)) {
			found = append(found, trace{text, place})
		}
	}
	return found
}

// overNATS publishes body as the checkout does, with the checkout's own
// credentials, and waits for the outcome.
func (s *testServer) overNATS(body string) answer {
	s.t.Helper()
	conn := s.checkout()
	defer conn.Close()
	outcomes, err := conn.SubscribeSync("outcome.loja-checkout")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := conn.Request("intake.loja-checkout", []byte(body), 10*time.Second); err != nil {
		s.t.Fatalf("publish to intake: %v", err)
	}
	m, err := outcomes.NextMsg(20 * time.Second)
	if err != nil {
		s.t.Fatalf("no outcome: %v", err)
	}
	a := answer{Text: string(m.Data)}
	if err := json.Unmarshal(m.Data, &a); err != nil {
		s.t.Fatalf("the outcome is not JSON: %s", m.Data)
	}
	return a
}

// checkout connects with the credentials that are given to a merchant's checkout.
func (s *testServer) checkout() *nats.Conn {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, natsDir, natsnode.CheckoutCredentials))
	if err != nil {
		s.t.Fatal(err)
	}
	var c struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &c); err != nil {
		s.t.Fatal(err)
	}
	conn, err := nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

func (s *testServer) metrics() []byte {
	s.t.Helper()
	response, err := http.Get("http://" + s.addr.Ops + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return text
}
