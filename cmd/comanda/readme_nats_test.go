package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// readmeJSON is the README's example of this name: the block "json <name>".
func readmeJSON(t *testing.T, name string) string {
	t.Helper()
	_, block, found := strings.Cut(readme(t), "```json "+name+"\n")
	block, _, closed := strings.Cut(block, "```")
	if !found || !closed {
		t.Fatalf("the README has no example %q", name)
	}
	return block
}

func parsed(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return v
}

// delivered is one request to an endpoint.
type delivered struct {
	header http.Header
	body   []byte
}

// TestReadmeCheckout publishes the README's event as its Go does, and holds the
// outcome and what an endpoint is told of it to the README's own words.
func TestReadmeCheckout(t *testing.T) {
	posts := make(chan delivered, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		posts <- delivered{r.Header, body}
	}))
	t.Cleanup(endpoint.Close)
	dir := t.TempDir()
	startServer(t, dir, endpointYAML(endpoint.URL))

	outcome := publishAsReadme(t, dir, []byte(readmeJSON(t, "event")))
	want, told := parsed(t, readmeJSON(t, "outcome")), parsed(t, outcome)
	first := ownNumber(t, told)
	if ownNumber(t, want); first != 0 {
		told["sequence"] = want["sequence"] // when this test ran
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("the outcome (-README +program):\n%s", diff)
	}
	if again := parsed(t, publishAsReadme(t, dir, []byte(readmeJSON(t, "event")))); again["outcome"] != "duplicate" || ownNumber(t, again) <= first {
		t.Errorf("published again it is %v", again)
	}
	var d delivered
	select {
	case d = <-posts:
	case <-time.After(20 * time.Second):
		t.Fatal("the endpoint is told nothing")
	}
	want, got := parsed(t, readmeJSON(t, "delivery")), parsed(t, string(d.body))
	for _, event := range []map[string]any{want, got} {
		data, _ := event["data"].(map[string]any)
		at, _ := data["recorded_at"].(string)
		if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
			t.Error(err)
		}
		delete(data, "recorded_at") // when this test ran
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the endpoint's body (-README +program):\n%s", diff)
	}
	checkReadmeHeaders(t, d)
}

// ownNumber is the sequence of an outcome whose message Comanda took itself.
func ownNumber(t *testing.T, outcome map[string]any) float64 {
	t.Helper()
	n, ok := outcome["sequence"].(float64)
	if !ok || n < 1e15 {
		t.Errorf("the sequence is %v", outcome["sequence"])
	}
	return n
}

// publishAsReadme is the README's Go.
func publishAsReadme(t *testing.T, dir string, event []byte) string {
	t.Helper()
	if !strings.Contains(readme(t), "`comanda-data/nats/nats-checkout.json`") {
		t.Error("the README does not name the credentials' file")
	}
	text, err := os.ReadFile(filepath.Join(dir, "nats", "nats-checkout.json"))
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, err := nc.SubscribeSync("outcome.loja-checkout")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "intake.loja-checkout", event); err != nil {
		t.Fatal(err)
	}
	outcome, err := outcomes.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if id := outcome.Header.Get("Nats-Msg-Id"); id != "evt-1" {
		t.Errorf("the outcome's Nats-Msg-Id is %q", id)
	}
	for _, line := range []string{
		`nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))`,
		`nc.SubscribeSync("outcome.loja-checkout")`,
		`js.Publish(ctx, "intake.loja-checkout", event)`,
		`outcomes.NextMsg(`,
	} {
		if !strings.Contains(readme(t), line) {
			t.Errorf("the README's Go has no %s", line)
		}
	}
	return string(outcome.Data)
}

// checkReadmeHeaders holds the README's list of headers to those of d, and its
// recipe to the signature.
func checkReadmeHeaders(t *testing.T, d delivered) {
	t.Helper()
	_, block, _ := strings.Cut(readme(t), "```http\n")
	block, _, _ = strings.Cut(block, "```")
	lines := regexp.MustCompile(`(?m)^([A-Za-z-]+): (.*)$`).FindAllStringSubmatch(block, -1)
	if len(lines) < 4 {
		t.Fatalf("the README lists %d headers", len(lines))
	}
	for _, line := range lines {
		name, value := http.CanonicalHeaderKey(line[1]), line[2]
		got := d.header.Get(name)
		switch name {
		case "Webhook-Timestamp", "Webhook-Signature": // of the moment
			if len(got) != len(value) {
				t.Errorf("%s is %q, in the README %q", name, got, value)
			}
		default:
			if got != value {
				t.Errorf("%s is %q, in the README %q", name, got, value)
			}
		}
	}
	key, err := base64.StdEncoding.DecodeString(endpointKey)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(d.header.Get("webhook-id") + "." + d.header.Get("webhook-timestamp") + "."))
	mac.Write(d.body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); d.header.Get("webhook-signature") != want {
		t.Errorf("the signature is %s, want %s", d.header.Get("webhook-signature"), want)
	}
}

// TestKnownLimitsAreRepaired has each of the README's known limits happen, and the
// checkout repair it by a dated fact about the platform's order.
func TestKnownLimitsAreRepaired(t *testing.T) {
	s := startServer(t, t.TempDir(), sourcesYAML)
	about := func(id, kind, order, platform string, at time.Time) string {
		return `{"specversion": "1.0", "id": "` + id + `", "source": "checkout", "type": "comanda.fact.` + kind + `.v1", "subject": "` + order +
			`", "time": "` + at.UTC().Format(time.RFC3339) + `", "data": {"about": {"provider": "` + platform + `", "account": "principal"}}}`
	}
	aprovei := func(order, status, approved, refunded string) string {
		return `{"transaction_token": "` + order + `", "payment_status": "` + status + `", "transaction_amount": 12000, ` +
			`"date_created": "2024-10-07T14:20:30Z", "date_approved": ` + approved + `, "date_refunded": ` + refunded + `}`
	}
	const approvedAt, disputedAt = `"2024-10-07T14:21:02Z"`, `"2024-10-09T10:00:00Z"`
	soon := time.Now().Add(time.Minute) // within what clocks may differ by

	// A second approval that is equal to the first.
	s.expect("loja-aprovei", aprovei("A", "approved", approvedAt, "null"), "applied", "approved")
	s.expect("loja-aprovei", aprovei("A", "chargeback", approvedAt, disputedAt), "applied", "chargeback")
	s.expect("loja-aprovei", aprovei("A", "approved", approvedAt, "null"), "duplicate", "chargeback")
	s.expect("loja-checkout", about("1", "chargeback_reversed", "A", "aprovei", soon), "applied", "approved")

	// A pending dated by its creation, of a charge that was refused.
	s.expect("loja-aprovei", aprovei("B", "refused", "null", "null"), "applied", "refused")
	s.expect("loja-aprovei", aprovei("B", "pending", "null", "null"), "late", "refused")
	s.expect("loja-checkout", about("2", "pending", "B", "aprovei", soon), "applied", "pending")

	// An undated chargeback after a dated reversal.
	line := func(status string) string {
		return `{"object": "order", "id": 9, "status": "` + status + `", "price": 12000, "confirmation_purchase_date": "2024-10-07 11:21:02"}`
	}
	s.expect("loja-onprofit", line("PAID"), "applied", "approved")
	s.expect("loja-checkout", about("3", "chargeback_reversed", "order/9", "onprofit", time.Date(2024, 10, 9, 10, 0, 0, 0, time.UTC)), "noted", "approved")
	s.expect("loja-onprofit", line("CHARGEBACK"), "applied", "chargeback")
	s.expect("loja-checkout", about("4", "chargeback_reversed", "order/9", "onprofit", soon), "applied", "approved")
}
