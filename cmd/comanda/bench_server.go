package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// benchServer is a serve in a process of its own, as users run it.
type benchServer struct {
	dir   string
	addr  addresses
	token string
	child *exec.Cmd // nil: it ran before, and goes on
}

// useBenchServer is the server that runs on dir.
func useBenchServer(dir string) (*benchServer, error) {
	s := &benchServer{dir: dir}
	return s, s.find()
}

// find reads where the server listens and its token for Aprovei.
func (s *benchServer) find() error {
	var err error
	if s.addr, err = readAddresses(s.dir); err != nil {
		return err
	}
	cfg, err := loadConfig(filepath.Join(s.dir, demoFile))
	if err != nil {
		return err
	}
	s.token = cfg.Sources[0].Auth.Tokens[0].Reveal()
	return nil
}

// startBenchServer runs serve on dir and waits until it is ready.
func startBenchServer(ctx context.Context, c *benchIngestCmd, dir string, out *stdio) (*benchServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{
		"serve", "--data-dir", dir, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0",
		"--nats-listen", "127.0.0.1:0", "--partitions", strconv.Itoa(c.Partitions), "--log-level", "warn",
	}
	if c.UnsafeNoSync {
		args = append(args, "--unsafe-no-fsync")
	}
	s := &benchServer{dir: dir, child: exec.CommandContext(ctx, self, args...)} //nolint:gosec // this program itself
	s.child.Cancel = func() error { return s.child.Process.Signal(syscall.SIGTERM) }
	s.child.WaitDelay = 30 * time.Second
	s.child.Stderr = out.err
	stdout, err := s.child.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.child.Start(); err != nil {
		return nil, err
	}
	if err := awaitLine(stdout, readyLine); err != nil {
		return nil, err
	}
	return s, s.find()
}

// awaitLine reads until a line begins with prefix, and goes on reading, so that
// the writer never blocks.
func awaitLine(r io.Reader, prefix string) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			go func() { _, _ = io.Copy(io.Discard, r) }()
			return nil
		}
	}
	return domain.Errorf(domain.Unavailable, "bench: the server ended before it was ready; see its log above")
}

// connectCore reaches the log of the server on dataDir by the credentials that
// it keeps for itself.
func connectCore(dataDir string) (*nats.Conn, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, natsDir, natsnode.CoreCredentials)) //nolint:gosec // below the caller's own data directory
	if err != nil {
		return nil, err
	}
	var c struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))
}

// cpu is the processor time that the server has used, by its own metrics; 0
// when it does not say.
func (s *benchServer) cpu(ctx context.Context) time.Duration {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr.Ops+"/metrics", http.NoBody)
	if err != nil {
		return 0
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "process_cpu_seconds_total "); ok {
			seconds, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return 0
			}
			return time.Duration(seconds * float64(time.Second))
		}
	}
	return 0
}

// stop ends a server that was started here.
func (s *benchServer) stop() error {
	if s.child == nil {
		return nil
	}
	if err := s.child.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.child.Wait()
}
