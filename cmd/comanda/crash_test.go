package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestKillInTheMiddle kills serve with SIGKILL while 200 webhooks are under way.
// After a restart each that got a 2xx is in the log exactly once, or, for a
// quarantined 202, in quarantine.
//
// SIGKILL proves nothing about fsync: the page cache survives it.
func TestKillInTheMiddle(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("comanda", "serve", "--data-dir", dir, "--config", file,
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() { _ = child.Wait(); exited <- child.ProcessState.ExitCode() }()
	first := &testServer{t: t, dir: dir}
	first.await(exited, &out)

	facts, quarantined := stormThenKill(t, first, child)
	<-exited
	t.Logf("acknowledged before the kill: %d facts, %d quarantined", len(facts), len(quarantined))
	if len(facts) == 0 || len(facts)+len(quarantined) == storm {
		t.Fatalf("the kill did not fall into the middle: %d of %d acknowledged", len(facts)+len(quarantined), storm)
	}

	s := startServer(t, dir, sourcesYAML)
	seen := map[string]int{}
	s.tail(func(m *comandav1.SubscribedEvent) bool {
		seen[m.GetEvent().GetEventId()]++
		for id := range facts {
			if seen[id] == 0 {
				return false
			}
		}
		return true
	})
	for id, a := range facts {
		if seen[id] != 1 {
			t.Errorf("the acknowledged event %s is in the log %d times", id, seen[id])
		}
		if o := s.order(a); o.GetRevision() == 0 {
			t.Errorf("the view has no %s", a.OrderID)
		}
	}
	stored := s.quarantine()
	for id := range quarantined {
		if stored[id] != 1 {
			t.Errorf("the acknowledged message %s is in quarantine %d times", id, stored[id])
		}
	}
}

const storm = 200

// stormThenKill sends 200 webhooks at once, every eighth with an unknown status,
// kills the server when a third is answered, and gives back what was
// acknowledged: by event id and by quarantine id.
func stormThenKill(t *testing.T, s *testServer, child *exec.Cmd) (facts, quarantined map[string]answer) {
	t.Helper()
	facts, quarantined = map[string]answer{}, map[string]answer{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	third := make(chan struct{})
	for i := range storm {
		token := fmt.Sprintf("STORM-%d", i/2)
		body := fixture(t, "aprovei-"+[]string{"pending", "approved"}[i%2], "VCP1O8SB9GJ", token)
		if i%8 == 0 {
			body = strings.Replace(body, `"payment_status": "pending"`, `"payment_status": "teleported"`, 1)
		}
		wg.Go(func() {
			a, err := s.try("loja-aprovei", body)
			if err != nil {
				return // killed before the answer: it may be stored or not
			}
			mu.Lock()
			defer mu.Unlock()
			switch a.Code {
			case http.StatusOK:
				facts[a.EventID] = a
			case http.StatusAccepted:
				quarantined[a.QuarantineID] = a
			default:
				t.Errorf("the answer is %d %s", a.Code, a.Text)
			}
			if len(facts)+len(quarantined) == storm/3 {
				close(third)
			}
		})
	}
	select {
	case <-third:
	case <-time.After(30 * time.Second):
		t.Error("no third of the webhooks was answered in time")
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	return facts, quarantined
}
