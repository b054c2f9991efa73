package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"comanda.internal/cmd/comanda/bench"
)

func TestThreads(t *testing.T) {
	for _, c := range []struct{ now, cores, want int }{
		{1, 1, 3},
		{2, 2, 3},
		{3, 3, 3},
		{4, 4, 4},
		{64, 64, 64},
		{1, 2, 1},
		{2, 4, 2},
		{3, 64, 3}, // quotas
	} {
		if got := threads(c.now, c.cores); got != c.want {
			t.Errorf("%d of %d cores: %d threads, want %d", c.now, c.cores, got, c.want)
		}
	}
}

// TestServeOnFewProcessors starts serve as users do, without GOMAXPROCS and with it.
func TestServeOnFewProcessors(t *testing.T) {
	if got := threadsOfServe(t, ""); got < leastThreads && got == runtime.NumCPU() { // fewer are a quota
		t.Errorf("of %d cores there are %d threads", runtime.NumCPU(), got)
	}
	if got := threadsOfServe(t, "5"); got != 5 {
		t.Errorf("GOMAXPROCS is 5, and there are %d threads", got)
	}
}

// TestBenchOnFewProcessors wants what serve is compared with to run on as many threads as
// it, and those to be no cores.
func TestBenchOnFewProcessors(t *testing.T) {
	for _, setting := range []string{"", "5"} {
		child := exec.CommandContext(t.Context(), "comanda", "bench", "read", "--dir", t.TempDir(), "--events", "100",
			"--clients", "1", "--duration", "1ms", "--rounds", "1", "-o", "json")
		child.Env = append(os.Environ(), "GOMAXPROCS="+setting)
		out, err := child.Output()
		if err != nil {
			t.Fatal(err)
		}
		var r bench.Report
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatal(err)
		}
		if want := threadsOfServe(t, setting); r.Machine.Threads != want || r.Machine.Cores > min(want, runtime.NumCPU()) {
			t.Errorf("GOMAXPROCS=%s: %d threads of %d cores; serve has %d threads", setting, r.Machine.Threads, r.Machine.Cores, want)
		}
	}
}

// threadsOfServe is what a serve that was started with that GOMAXPROCS says of itself.
func threadsOfServe(t *testing.T, setting string) int {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "comanda", "serve", "--data-dir", dir, "--config", file,
		"--http", "none", "--grpc", "none", "--ops", "127.0.0.1:0", "--nats-listen", "none")
	child.Env = append(os.Environ(), "GOMAXPROCS="+setting)
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() { _ = child.Wait(); exited <- child.ProcessState.ExitCode() }()
	s := &testServer{t: t, dir: dir}
	s.await(exited, &out)
	_, rest, _ := strings.Cut(get(t, "http://"+s.addr.Ops+"/metrics"), "\ngo_sched_gomaxprocs_threads ")
	text, _, _ := strings.Cut(rest, "\n")
	if err := child.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-exited; code != exitOK {
		t.Fatalf("serve ended with %d; it said:\n%s", code, out.String())
	}
	threads, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return threads
}
