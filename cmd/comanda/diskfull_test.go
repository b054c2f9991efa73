package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// fileLimit is how large a file may grow once the disk is full: room for some
// hundred webhooks of bulk bytes in one block of the log, and for what the views write.
const (
	fileLimit = 5 << 20
	bulk      = 32 << 10
)

// smallDisk is the program on a disk that is full, from the first byte on its
// standard input, for every file that reaches fileLimit. The kernel answers such a
// write with EFBIG where a full disk answers ENOSPC; any user may set the limit,
// where only root may mount a small disk.
func smallDisk() {
	go func() {
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 0 {
			return
		}
		limit := syscall.Rlimit{Cur: fileLimit, Max: fileLimit}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(exitFailed)
		}
	}()
	main()
}

// TestFullDisk fills the disk below a running serve with many clients at once:
// it stops being ready, answers 503, and ends by itself with exit code 5. Started
// again with room, it has every event that it acknowledged, and goes on.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if path := os.Getenv("COMANDA_TEST_SMALL_DISK"); path != "" {
		dir = path // a small file system, mounted by hand
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("comanda-small-disk", "serve", "--data-dir", dir, "--config", file,
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	limit, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() { _ = child.Wait(); exited <- child.ProcessState.ExitCode() }()
	t.Cleanup(func() { _ = child.Process.Kill() })
	full := &testServer{t: t, dir: dir}
	full.await(exited, &out)
	if _, err := limit.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}

	acknowledged, refused := full.fill()
	t.Logf("acknowledged %d, refused %d", len(acknowledged), refused)
	if len(acknowledged) == 0 || refused == 0 {
		t.Errorf("%d were acknowledged and %d refused: want both", len(acknowledged), refused)
	}
	if body := full.notReady(exited); !strings.Contains(body, "[-] log: the log cannot be written") {
		t.Errorf("readiness says:\n%s", body)
	}
	select {
	case code := <-exited:
		if code != exitUnavailable {
			t.Errorf("serve ended with %d, want %d; it said:\n%s", code, exitUnavailable, out.String())
		}
	case <-time.After(60 * time.Second):
		t.Fatalf("serve goes on with a full disk; it said:\n%s", out.String())
	}

	s := startServer(t, dir, sourcesYAML)
	seen := map[string]int{}
	last := s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	s.tail(func(m *comandav1.SubscribedEvent) bool {
		seen[m.GetEvent().GetEventId()]++
		return m.GetEvent().GetEventId() == last.EventID
	})
	for id := range acknowledged {
		if seen[id] != 1 {
			t.Errorf("the acknowledged event %s is in the log %d times", id, seen[id])
		}
	}
}

// fill posts until nothing is taken any more, and gives back the events that were
// acknowledged and the number of webhooks that were answered 503.
func (s *testServer) fill() (acknowledged map[string]bool, refused int) {
	s.t.Helper()
	acknowledged = map[string]bool{}
	var mu sync.Mutex
	var clients sync.WaitGroup
	padding := strings.Repeat("x", bulk)
	for client := range 100 { // enough for batches
		clients.Go(func() {
			for n := range 100 {
				token := fmt.Sprintf("FULL-%d-%d", client, n)
				body := fixture(s.t, "aprovei-pending", "VCP1O8SB9GJ", token)
				body = strings.Replace(body, "{", `{"padding": "`+padding+`",`, 1)
				a, err := s.try("loja-aprovei", body)
				mu.Lock()
				switch {
				case err != nil:
				case a.Code == http.StatusOK:
					acknowledged[a.EventID] = true
				case a.Code == http.StatusServiceUnavailable:
					refused++
				default:
					s.t.Errorf("the answer is %d %s", a.Code, a.Text)
				}
				mu.Unlock()
				if err != nil || a.Code != http.StatusOK {
					return
				}
			}
			s.t.Error("the disk never fills")
		})
	}
	clients.Wait()
	return acknowledged, refused
}

// notReady is what /readyz says once it is not ready.
func (s *testServer) notReady(exited chan int) string {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case code := <-exited:
			exited <- code
			s.t.Fatalf("serve ended with %d, and was ready until then", code)
		case <-tick.C:
		}
		response, err := http.Get("http://" + s.addr.Ops + "/readyz")
		if err != nil {
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err == nil && response.StatusCode == http.StatusServiceUnavailable {
			return string(body)
		}
	}
}
