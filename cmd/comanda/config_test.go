package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryMistakeSaysWhere reads a file in which every part has mistakes: each
// has a line of its own that names its place.
func TestEveryMistakeSaysWhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
tenants: [LOJA, x]
sources:
  - {id: a, provider: aprovei, tenant: y, auth: {type: magic}}
  - {id: a, provider: aprovei, tenant: x, auth: {type: token, tokens_file: /nonexistent}}
  - {id: b, provider: comanda, tenant: x, auth: {type: hmac, header: X, hash: md5, encoding: rot13, secrets: [s]}}
  - {id: comanda-api, provider: comanda, tenant: x, auth: {type: token, tokens: [t]}}
  - {id: c, provider: iset, tenant: x, auth: {type: token, tokens: [t]}, iset: {fields: {status: bare}, statuses: {a: teleported}}}
endpoints:
  - {id: e, tenant: z, kind: pigeon, url: "ftp://x", events: [order.teleported]}
  - {id: f, tenant: x, kind: voxuy, url_file: /nonexistent, api_token_file: /nonexistent}
webhook: {max_body: -1, max_in_flight: -1}
checkout: {workers: -1, max_body: -1}
views: {interval: -1s, max_batch: -1}
nats: {partitions: 3, replicas: 9}
grpc: {heartbeat: -1s}
access:
  calls_per_second: -1
  identities: [{name: i, cn: i, scopes: [orders:write], tenants: [z]}]
`)
	_, err := loadConfig(path)
	if err == nil || exitCode(err) != exitUsage {
		t.Fatalf("error %v", err)
	}
	lines := strings.Split(err.Error(), "\n")
	for _, want := range []string{
		`tenant "LOJA": `, `source "a": auth.type: `, `source "a": tenant "y" `, `source "a" stands twice`, `source "a": auth.tokens_file: `,
		`source "b": auth.hash: `, `source "b": auth.encoding: `, `source "comanda-api": the name is `, `source "c": fields.status `, `source "c": statuses: `,
		`endpoint "e": url: `, `endpoint "e": kind: `, `endpoint "e": events: `, `endpoint "e": tenant "z" `,
		`endpoint "f": url_file: `, `endpoint "f": api_token_file: `, `endpoint "f": plan.default: `,
		"webhook: max_body: ", "webhook: max_in_flight: ", "checkout: workers: ", "checkout: max_body: ",
		"views: interval: ", "views: max_batch: ", "nats: partitions: ", "nats: replicas: ",
		"grpc: heartbeat: ", "access: calls_per_second: ", "access: identities: ", `access: identity "i": `, `access: identity "i": tenant "z" `,
	} {
		said := false
		for _, line := range lines {
			said = said || strings.HasPrefix(line, want)
		}
		if !said {
			t.Errorf("no line begins with %q:\n%v", want, err)
		}
	}

	write(sourcesYAML + "---\ntenants: [other]\n")
	if _, err := loadConfig(path); err == nil || !strings.Contains(err.Error(), "more than one document") {
		t.Errorf("two documents: %v", err)
	}
}
