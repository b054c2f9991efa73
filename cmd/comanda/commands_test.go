package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// command runs the program in this process and answers what it printed.
func command(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, &o, &e)
	return code, o.String(), e.String()
}

// must runs a command that succeeds.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errOut := command(t, args...)
	if code != exitOK {
		t.Fatalf("comanda %s ends with %d: %s", strings.Join(args, " "), code, errOut)
	}
	return out
}

// TestTriggerKnowsEveryStatus posts every status of every provider, each for an
// order of its own, and for one order all of them, to a server with the demo's sources.
func TestTriggerKnowsEveryStatus(t *testing.T) {
	dir := t.TempDir()
	s := startDemo(t, dir)
	for _, name := range slices.Sorted(maps.Keys(platforms())) {
		statuses := strings.Fields(must(t, "trigger", name))
		if len(statuses) < 5 {
			t.Fatalf("%s has only the statuses %v", name, statuses)
		}
		for _, status := range statuses {
			for _, order := range [][]string{nil, {"--order", "31415926"}} {
				out := must(t, append([]string{"trigger", name, status, "--data-dir", dir}, order...)...)
				if strings.Contains(out, "quarantined") {
					t.Errorf("%s %s is not understood: %s", name, status, out)
				}
			}
		}
	}
	if n := len(s.quarantine()); n != 0 {
		t.Errorf("%d messages are in quarantine", n)
	}
}

// startDemo runs serve without a configuration.
func startDemo(t *testing.T, dir string) *testServer {
	t.Helper()
	if _, err := demoConfig(dir); err != nil {
		t.Fatal(err)
	}
	return startConfigured(t, dir, filepath.Join(dir, demoFile))
}

// TestATailGoesOn ends a tail after each event, and goes on with its token, which is
// of its filter.
func TestATailGoesOn(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir)
	for _, status := range []string{"pending", "approved", "refunded"} {
		must(t, "trigger", "aprovei", status, "--order", "G-1", "--data-dir", dir)
	}
	tail := func(from string, more ...string) (code int, out, token string) {
		return command(t, append([]string{"events", "tail", "--from", from, "--no-follow", "--tokens", "-o", "jsonl", "--data-dir", dir}, more...)...)
	}
	token := "beginning"
	for _, kind := range []string{"approved", "refunded"} {
		_, out, next := tail(token, "--limit", "1", "--kind", "approved", "--kind", "refunded")
		if strings.Count(out, "\n") != 1 || !strings.Contains(out, `"kind":"`+kind+`"`) {
			t.Errorf("from %s: %s, want %s", token, out, kind)
		}
		token = strings.TrimSpace(next)
	}
	if _, out, _ := tail(token, "--kind", "refunded", "--kind", "approved"); out != "" {
		t.Errorf("at the end: %s", out)
	}
	if code, _, says := tail(token); code != exitRefused || !strings.Contains(says, "filter") {
		t.Errorf("with another filter: %d, %s", code, says)
	}
	for flag, value := range map[string]string{"--kind": "teleported", "--verdict": "guilty", "--edge": "pending", "--order": "x"} {
		if code, _, says := tail("now", flag, value); code != exitUsage {
			t.Errorf("%s %s: %d, %s", flag, value, code, says)
		}
	}
	if code, _, says := tail("now", "--edge", "pending:lost"); code != exitUsage || !strings.Contains(says, "lost") {
		t.Errorf("an edge to nowhere: %d, %s", code, says)
	}
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	s := startDemo(t, dir)
	const unknown = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa"
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"no command":           {nil, exitUsage, "expected one of"},
		"no such command":      {[]string{"teleport"}, exitUsage, "teleport"},
		"help":                 {[]string{"--help"}, exitOK, ""},
		"an unknown order":     {[]string{"orders", "get", unknown, "--data-dir", dir}, exitNotFound, unknown},
		"its history":          {[]string{"orders", "history", unknown, "--data-dir", dir}, exitNotFound, unknown},
		"no order id":          {[]string{"orders", "get", "x", "--data-dir", dir}, exitUsage, "order_id"},
		"an unknown order why": {[]string{"orders", "explain", unknown, "--data-dir", dir}, exitNotFound, unknown},
		"a stale revision": {
			[]string{"orders", "record", "approved", "--source", "loja-aprovei", "--provider-order-id", "X", "--reason", "r", "--expected-revision", "3", "--data-dir", dir},
			exitRefused, "at revision 0, not 3",
		},
		"what cannot be first": {
			[]string{"orders", "record", "resolved", "--source", "loja-aprovei", "--provider-order-id", "X", "--reason", "r", "--event", strings.Repeat("a", 26), "--action", "accept", "--data-dir", dir},
			exitRefused, "no such event",
		},
		"a wait in vain":        {[]string{"orders", "wait", unknown, "--for", "10ms", "--data-dir", dir}, exitUnavailable, "not so within"},
		"no filter":             {[]string{"orders", "list", "--filter", "paid >", "--data-dir", dir}, exitUsage, "1:7"},
		"no position":           {[]string{"orders", "list", "--min-position", "!", "--data-dir", dir}, exitUsage, "min_position"},
		"no status":             {[]string{"orders", "list", "--status", "teleported", "--data-dir", dir}, exitUsage, "teleported"},
		"no token":              {[]string{"events", "tail", "--from", "yesterday", "--data-dir", dir}, exitUsage, "resume_token"},
		"no format":             {[]string{"orders", "list", "-o", "xml", "--data-dir", dir}, exitUsage, "xml"},
		"no server":             {[]string{"orders", "list", "--data-dir", t.TempDir()}, exitUnavailable, "no server runs"},
		"a closed port":         {[]string{"orders", "list", "--server", "127.0.0.1:1", "--timeout", "2s"}, exitUnavailable, "127.0.0.1:1"},
		"no log to verify":      {[]string{"verify", "--data-dir", t.TempDir()}, exitNotFound, "no log: "},
		"no such configuration": {[]string{"serve", "--data-dir", t.TempDir(), "--config", "/nowhere.yaml"}, exitUsage, "/nowhere.yaml"},
		"a taken directory":     {[]string{"serve", "--data-dir", dir, "--nats-listen", "none"}, exitUnavailable, "another"},
		"no address":            {[]string{"serve", "--data-dir", t.TempDir(), "--nats-listen", "none", "--http", "8080"}, exitUsage, "host:port"},
		"no such provider":      {[]string{"trigger", "stripe", "paid"}, exitUsage, "aprovei"},
		"no such webhook":       {[]string{"trigger", "aprovei", "teleported", "--data-dir", dir}, exitUsage, "approved"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, says := command(t, c.args...)
			if code != c.code || !strings.Contains(says, c.says) {
				t.Errorf("it ends with %d and says %q; want %d and something of %q", code, says, c.code, c.says)
			}
		})
	}
	_ = s
}

func TestOutputFormats(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir)
	must(t, "trigger", "aprovei", "approved", "--order", "F-1", "--data-dir", dir)
	must(t, "trigger", "aprovei", "pending", "--order", "F-2", "--data-dir", dir)

	var orders []map[string]any
	if err := json.Unmarshal([]byte(must(t, "orders", "list", "-o", "json", "--data-dir", dir)), &orders); err != nil || len(orders) != 2 {
		t.Fatalf("%d orders as JSON, %v", len(orders), err)
	}
	if orders[0]["status"] != "pending" || orders[1]["status"] != "approved" {
		t.Errorf("the statuses are %v and %v", orders[0]["status"], orders[1]["status"])
	}
	id, _ := orders[1]["order_id"].(string)
	var one map[string]any
	if err := json.Unmarshal([]byte(must(t, "orders", "get", id, "-o", "json", "--data-dir", dir)), &one); err != nil || one["order_id"] != id {
		t.Errorf("one order as JSON: %v, %v", one["order_id"], err)
	}
	lines := strings.Split(strings.TrimSpace(must(t, "events", "tail", "--from", "beginning", "--no-follow", "-o", "jsonl", "--data-dir", dir)), "\n")
	for _, line := range lines {
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil || event["verdict"] != "applied" {
			t.Errorf("the line %s: %v", line, err)
		}
	}
	if len(lines) != 2 {
		t.Errorf("%d events", len(lines))
	}
	rows, err := csv.NewReader(strings.NewReader(must(t, "orders", "list", "-o", "csv", "--status", "approved", "--data-dir", dir))).ReadAll()
	if err != nil || len(rows) != 2 || rows[1][0] != id {
		t.Errorf("the rows are %v, %v", rows, err)
	}
	if out := must(t, "orders", "list", "--status", "chargeback", "-o", "json", "--data-dir", dir); strings.TrimSpace(out) != "[]" {
		t.Errorf("no orders are written %q", out)
	}
	if out := must(t, "orders", "list", "--status", "chargeback", "-o", "csv", "--data-dir", dir); !strings.HasPrefix(out, "order_id,") || strings.Count(out, "\n") != 1 {
		t.Errorf("no orders are written %q as CSV, want the header", out)
	}
}
