package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/proto/wire"
)

// storedHistories are the events of every order of a stopped data directory, in
// their canonical bytes, by order and revision.
func storedHistories(t *testing.T, dir string) map[domain.OrderID][][]byte {
	t.Helper()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, natsDir), Listen: natsnode.None})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Close() }()
	log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	out := map[domain.OrderID][][]byte{}
	report, err := log.Verify(t.Context(), eventstore.VerifyOptions{Event: func(r *domain.Recorded) error {
		canonical, err := wire.Encode(&r.Event)
		out[r.Event.OrderID] = append(out[r.Event.OrderID], canonical)
		return err
	}})
	if err != nil || report.ProblemCount > 0 {
		t.Fatalf("verify %s: %v, %v", dir, report, err)
	}
	return out
}

// pour posts orders until it is told to stop, and hands the first twenty to begun.
func pour(s *testServer, body string, stop <-chan struct{}, begun chan<- []answer) error {
	var taken []answer
	for n := 0; ; n++ {
		select {
		case <-stop:
			return nil
		default:
		}
		a, err := s.try("loja-aprovei", strings.Replace(body, "VCP1O8SB9GJ", fmt.Sprintf("VCP%08d", n), 1))
		if err != nil {
			return err
		}
		if a.Outcome != "applied" {
			return fmt.Errorf("the answer is %d %s", a.Code, a.Text)
		}
		if taken = append(taken, a); n == 19 {
			begun <- taken
		}
	}
}

// TestBackupWhileWebhooksPourIn restores the backup of a busy server, and compares
// every order with what the server has of it: a beginning of its history, and all of
// it for what was answered before the backup began.
func TestBackupWhileWebhooksPourIn(t *testing.T) {
	home := t.TempDir()
	dir, saved, again := filepath.Join(home, "data"), filepath.Join(home, "backup"), filepath.Join(home, "again")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, dir, sourcesYAML)
	body := fixture(t, "aprovei-approved")
	first := s.expect("loja-aprovei", body, "applied", "approved")
	stop, begun, poured := make(chan struct{}), make(chan []answer, 1), make(chan error, 1)
	go func() { poured <- pour(s, body, stop, begun) }()
	var answered []answer
	select {
	case answered = <-begun:
	case err := <-poured:
		t.Fatal(err)
	}
	out := must(t, "log", "backup", saved, "--data-dir", dir)
	close(stop)
	if err := <-poured; err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out, "backed up ") {
		t.Errorf("backup says %s", out)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	if code, _, errOut := command(t, "log", "restore", saved, "--data-dir", dir); code != exitRefused || !strings.Contains(errOut, "not empty") {
		t.Errorf("restore over the log ends with %d: %s", code, errOut)
	}
	out = must(t, "log", "restore", saved, "--data-dir", again)
	if !strings.Contains(out, " 0 problems") {
		t.Errorf("restore says %s", out)
	}

	live, restored := storedHistories(t, dir), storedHistories(t, again)
	for _, a := range append(answered, first) {
		if id := domain.OrderID(a.OrderID); len(restored[id]) != len(live[id]) {
			t.Errorf("order %s was answered before the backup; %d of its %d events were restored", id, len(restored[id]), len(live[id]))
		}
	}
	for id, events := range restored {
		if len(events) > len(live[id]) {
			t.Fatalf("order %s has %d events, the server %d", id, len(events), len(live[id]))
		}
		if diff := cmp.Diff(live[id][:len(events)], events); diff != "" {
			t.Errorf("order %s (-server +restored):\n%s", id, diff)
		}
	}
	serveRestored(t, s, again, first)
}

// serveRestored serves a restored directory: not without the key that its data
// keys are wrapped with.
func serveRestored(t *testing.T, s *testServer, again string, first answer) {
	t.Helper()
	config := filepath.Join(s.dir, "config.yaml")
	var b bytes.Buffer
	code := run(context.Background(), []string{
		"serve", "--data-dir", again, "--config", config, "--http", "none", "--grpc", "none", "--ops", "none", "--nats-listen", "none",
	}, &b, &b)
	if code != exitRefused || !strings.Contains(b.String(), "put that file back") {
		t.Errorf("serve without the key ends with %d: %s", code, b.String())
	}
	if err := copyKey(filepath.Join(s.dir, keyFile), filepath.Join(again, keyFile)); err != nil {
		t.Fatal(err)
	}
	served := startConfigured(t, again, config)
	if got := served.order(first).GetRevision(); got != first.Revision {
		t.Errorf("the first order is at revision %d, want %d", got, first.Revision)
	}
	served.expect("loja-aprovei", fixture(t, "aprovei-approved"), "duplicate", "approved")
}

// TestADamagedBackupIsRefused names the file, and leaves nothing behind.
func TestADamagedBackupIsRefused(t *testing.T) {
	home := t.TempDir()
	dir, saved := filepath.Join(home, "data"), filepath.Join(home, "backup")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, dir, sourcesYAML)
	s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	must(t, "log", "backup", saved, "--data-dir", dir) // of files, since no server runs
	path := filepath.Join(saved, "ORDERS-00.snapshot")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := command(t, "log", "restore", saved, "--data-dir", filepath.Join(home, "again"))
	if code != exitFailed || !strings.Contains(errOut, "ORDERS-00.snapshot") {
		t.Errorf("restore ends with %d: %s", code, errOut)
	}
	left, err := os.ReadDir(home)
	if err != nil || len(left) != 2 {
		t.Errorf("beside data and backup there is %v, %v", left, err)
	}
	if code, _, errOut := command(t, "log", "repartition", filepath.Join(home, "moved"), "--partitions", "3", "--data-dir", dir); code != exitUsage {
		t.Errorf("three partitions end with %d: %s", code, errOut)
	}
	if code, _, errOut := command(t, "log", "backup", filepath.Join(home, "none"), "--data-dir", filepath.Join(home, "nowhere")); code != exitNotFound {
		t.Errorf("a backup of nothing ends with %d: %s", code, errOut)
	}
}
