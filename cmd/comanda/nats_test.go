package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
)

// natsLogin connects with a credentials file of a server's data directory.
func natsLogin(t *testing.T, dir, file string) *nats.Conn {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, natsDir, file))
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
	t.Cleanup(nc.Close)
	return nc
}

// TestReadmeRequests makes the requests of the README's command lines, one after
// the other, as the checkout.
func TestReadmeRequests(t *testing.T) {
	dir := t.TempDir()
	startServer(t, dir, sourcesYAML)
	nc := natsLogin(t, dir, "nats-checkout.json")
	commands := regexp.MustCompile(`(?m)^\$ nats --context comanda req '?([^ ']+)'? '(.*)'$`).FindAllStringSubmatch(readme(t), -1)
	if len(commands) != 4 {
		t.Fatalf("the README makes %d requests", len(commands))
	}
	for _, command := range commands {
		answer, err := nc.Request(command[1], []byte(command[2]), 20*time.Second)
		if err != nil {
			t.Fatalf("%s: %v", command[0], err)
		}
		if code := answer.Header.Get(micro.ErrorCodeHeader); code != "" {
			t.Errorf("%s: %s %s", command[0], code, answer.Header.Get(micro.ErrorHeader))
		}
		for subject, says := range map[string]string{
			"comanda.record.loja-checkout": `"outcome":"applied"`, "comanda.order.get.loja-checkout": `"status":"pending"`,
			"comanda.order.wait.loja-checkout": `"met":true`, "$SRV.INFO.comanda": `"subject":"comanda.order.wait.*"`,
		} {
			if command[1] == subject && !strings.Contains(string(answer.Data), says) {
				t.Errorf("%s is answered %s", command[0], answer.Data)
			}
		}
	}
}

// TestAStreamThatStoresRequestsIsRefused has somebody store what Comanda is asked:
// the check of the configuration says so, and no server starts beside it.
func TestAStreamThatStoresRequestsIsRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	file := filepath.Join(other, "other.yaml")
	config := fmt.Sprintf("%snats: {url: %q, creds_file: %q, replicas: 1}\n", sourcesYAML, "nats://"+s.addr.NATS, filepath.Join(dir, natsDir, "nats-core.json"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := must(t, "config", "check", "--config", file); !strings.Contains(out, "nothing is wrong") {
		t.Errorf("the check says %s", out)
	}
	js, err := jetstream.New(natsLogin(t, dir, "nats-core.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "HEARSAY", Subjects: []string{"comanda.order.>"}}); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := command(t, "config", "check", "--config", file)
	if code != exitRefused || !strings.Contains(errOut, "stream HEARSAY stores comanda.order.>") {
		t.Errorf("the check ends with %d: %s", code, errOut)
	}
	code, _, errOut = command(t, "serve", "--config", file, "--data-dir", other, "--key-file", filepath.Join(dir, keyFile),
		"--http", "none", "--grpc", "none", "--ops", "none")
	if code != exitRefused || !strings.Contains(errOut, "stream HEARSAY stores comanda.order.>") {
		t.Errorf("serve ends with %d: %s", code, errOut)
	}
	if err := js.DeleteStream(t.Context(), "HEARSAY"); err != nil {
		t.Fatal(err)
	}
}
