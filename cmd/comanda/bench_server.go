package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	child *exec.Cmd
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
	if s.addr, err = readAddresses(dir); err != nil {
		return nil, err
	}
	cfg, err := loadConfig(filepath.Join(dir, demoFile))
	if err != nil {
		return nil, err
	}
	s.token = cfg.Sources[0].Auth.Tokens[0].Reveal()
	return s, nil
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
	text, err := os.ReadFile(filepath.Join(dataDir, natsDir, natsnode.CoreCredentials))
	if err != nil {
		return nil, err
	}
	var c struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))
}

// cpu is the processor time that the server has used; 0 where the system does
// not say (proc(5), stat: utime and stime, in ticks of a hundredth of a second).
func (s *benchServer) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.child.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	const utime, stime = 11, 12
	if len(fields) <= stime {
		return 0
	}
	var ticks int64
	for _, i := range []int{utime, stime} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

func (s *benchServer) stop() error {
	if err := s.child.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.child.Wait()
}
