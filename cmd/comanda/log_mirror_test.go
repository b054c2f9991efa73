package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// mirrorProcess is 'comanda log mirror' in a process of its own.
type mirrorProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	out logBuffer
}

func startMirror(t *testing.T, dir, from string) *mirrorProcess {
	t.Helper()
	m := &mirrorProcess{t: t, cmd: exec.Command("comanda", "log", "mirror", dir, "--data-dir", from)}
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.out
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return m
}

// until waits until it is so.
func (m *mirrorProcess) until(so func() bool) {
	m.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			_ = m.cmd.Process.Kill()
			m.t.Fatalf("the mirror does not come so far; it said:\n%s", m.out.String())
		}
	}
}

func (m *mirrorProcess) level() bool { return strings.Contains(m.out.String(), "lag 0") }

// end sends a signal, and waits for the process's exit code.
func (m *mirrorProcess) end(signal os.Signal) int {
	m.t.Helper()
	if err := m.cmd.Process.Signal(signal); err != nil {
		m.t.Error(err)
	}
	_ = m.cmd.Wait()
	return m.cmd.ProcessState.ExitCode()
}

// TestAMirrorIsKilledAndPromoted kills a mirror with SIGKILL while webhooks pour
// in: when its first stream is there, and when it is level. Each time what it holds is
// proven. In the end it has every event, and serves in its source's place.
func TestAMirrorIsKilledAndPromoted(t *testing.T) {
	home := t.TempDir()
	dir, mirrored := filepath.Join(home, "data"), filepath.Join(home, "mirror")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, dir, sourcesYAML)
	first := s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	stop, begun, poured := make(chan struct{}), make(chan []answer, 1), make(chan error, 1)
	go func() { poured <- pour(s, fixture(t, "aprovei-approved"), stop, begun) }()
	<-begun

	made := func() bool {
		_, err := os.Stat(filepath.Join(mirrored, natsDir, "nats", "jetstream", "core", "streams", "ORDERS-00"))
		return err == nil
	}
	for round := range 4 {
		m := startMirror(t, mirrored, dir)
		if round == 0 {
			m.until(made)
		} else {
			m.until(m.level)
		}
		if code := m.end(os.Kill); code != -1 {
			t.Fatalf("round %d: the mirror ended with %d; it said:\n%s", round, code, m.out.String())
		}
		if code, out, errOut := command(t, "verify", "--data-dir", mirrored); code != exitOK && (round > 0 || code != exitNotFound) {
			t.Fatalf("round %d: verify ends with %d: %s%s", round, code, out, errOut)
		}
	}
	close(stop)
	if err := <-poured; err != nil {
		t.Fatal(err)
	}
	mirrorIsNotServed(t, s, mirrored)
	out := must(t, "log", "mirror", mirrored, "--data-dir", dir, "--once")
	if !strings.HasPrefix(out, "mirrored ") || !strings.HasSuffix(out, "lag 0\n") {
		t.Errorf("mirror says %s", out)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	if code, _, errOut := command(t, "log", "mirror", mirrored, "--data-dir", dir); code != exitUnavailable || !strings.Contains(errOut, "no server runs") {
		t.Errorf("a mirror of a stopped server ends with %d: %s", code, errOut)
	}
	if out := must(t, "log", "mirror", mirrored, "--promote"); !strings.HasPrefix(out, "promoted ") {
		t.Errorf("promote says %s", out)
	}
	if diff := cmp.Diff(storedHistories(t, dir), storedHistories(t, mirrored)); diff != "" {
		t.Errorf("orders (-source +promoted):\n%s", diff)
	}
	for _, args := range [][]string{{"--promote"}, {"--once", "--data-dir", dir}} {
		if code, _, errOut := command(t, append([]string{"log", "mirror", mirrored}, args...)...); code != exitRefused {
			t.Errorf("after the promotion %v ends with %d: %s", args, code, errOut)
		}
	}
	serveRestored(t, s, mirrored, first)
}

// mirrorIsNotServed tries to serve a mirror while it is written to, and when not.
func mirrorIsNotServed(t *testing.T, s *testServer, dir string) {
	t.Helper()
	serve := []string{
		"serve", "--data-dir", dir, "--config", filepath.Join(s.dir, "config.yaml"),
		"--http", "none", "--grpc", "none", "--ops", "none", "--nats-listen", "none",
	}
	m := startMirror(t, dir, s.dir)
	m.until(m.level)
	if code, _, errOut := command(t, serve...); code != exitUnavailable || !strings.Contains(errOut, "in use by another process") {
		t.Errorf("serve on a mirror at work ends with %d: %s", code, errOut)
	}
	if code := m.end(os.Interrupt); code != exitOK || !strings.Contains(m.out.String(), "mirrored ") {
		t.Errorf("the mirror ended with %d; it said:\n%s", code, m.out.String())
	}
	if code, _, errOut := command(t, serve...); code != exitRefused || !strings.Contains(errOut, "comanda log mirror --promote") {
		t.Errorf("serve on a mirror ends with %d: %s", code, errOut)
	}
	if code, _, errOut := command(t, "log", "mirror", s.dir, "--data-dir", dir, "--once"); code == exitOK {
		t.Errorf("a mirror over a log ends with %d: %s", code, errOut)
	}
	if code, _, errOut := command(t, "log", "mirror", filepath.Dir(dir), "--data-dir", s.dir, "--once"); code != exitRefused || !strings.Contains(errOut, "not empty") {
		t.Errorf("a mirror in another directory ends with %d: %s", code, errOut)
	}
}
