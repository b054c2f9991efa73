package main

import (
	"bufio"
	"cmp"
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

	"comanda.internal/cmd/comanda/bench"
	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// benchServer is a serve in a process of its own, as users run it.
type benchServer struct {
	dir   string
	addr  addresses
	token string
	child *exec.Cmd // nil: it ran before, and goes on

	posters []*bench.Poster
	posted  time.Time // when posters began to be used last
}

// idleMost is less than the server leaves a connection alone for.
const idleMost = time.Minute

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

// benchServe says how a server is started.
type benchServe struct {
	dir           string
	partitions    int // 0: those of the log that is there
	unsafeNoFsync bool
	logLevel      string // "" is warn
	pprof         bool   // serve profiles, and let the heap be collected
	profile       bool   // and record locks for them
}

func (b *benchServe) args() []string {
	args := []string{
		"serve", "--data-dir", b.dir, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0",
		"--nats-listen", "127.0.0.1:0", "--partitions", strconv.Itoa(b.partitions), "--log-level", cmp.Or(b.logLevel, "warn"),
	}
	if b.unsafeNoFsync {
		args = append(args, "--unsafe-no-fsync")
	}
	if b.pprof || b.profile {
		args = append(args, "--pprof")
	}
	if b.profile {
		args = append(args, "--pprof-locks")
	}
	return args
}

// startBenchServer runs serve and waits until it says that it is ready.
func startBenchServer(ctx context.Context, how *benchServe, out *stdio) (*benchServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &benchServer{dir: how.dir, child: exec.CommandContext(ctx, self, how.args()...)} //nolint:gosec // this program itself
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
	return connectBy(dataDir, natsnode.CoreCredentials)
}

// connectBy is with a file of credentials in that directory.
func connectBy(dataDir, file string) (*nats.Conn, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, natsDir, file)) //nolint:gosec // below the caller's own data directory
	if err != nil {
		return nil, err
	}
	var c struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, err
	}
	return nats.Connect(c.URL, nats.UserInfo(c.User, c.Password))
}

// cpu is the processor time that the server has used; 0 when it does not say.
func (s *benchServer) cpu(ctx context.Context) time.Duration {
	seconds := s.metrics(ctx, "process_cpu_seconds_total")[0]
	return time.Duration(seconds * float64(time.Second))
}

// metrics are the server's own, by name; 0 for what it does not say.
func (s *benchServer) metrics(ctx context.Context, names ...string) []float64 {
	values := make([]float64, len(names))
	_ = s.get(ctx, "/metrics", func(body io.Reader) error {
		for lines := bufio.NewScanner(body); lines.Scan(); {
			name, text, _ := strings.Cut(lines.Text(), " ")
			for i := range names {
				if value, err := strconv.ParseFloat(text, 64); name == names[i] && err == nil {
					values[i] = value
				}
			}
		}
		return nil
	})
	return values
}

// collect has a server that serves profiles collect its garbage.
func (s *benchServer) collect(ctx context.Context) error {
	return s.get(ctx, "/debug/pprof/heap?gc=1", func(body io.Reader) error {
		_, err := io.Copy(io.Discard, body)
		return err
	})
}

// get reads a path of the server's ops address. An answer other than 200 is an
// error of kind Unavailable.
func (s *benchServer) get(ctx context.Context, path string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr.Ops+path, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return domain.Errorf(domain.Unavailable, "bench: the server answers %s with %s", path, response.Status)
	}
	return read(response.Body)
}

// connected are clients who post webhooks, each with a connection that it keeps from
// one measurement to the next, as a platform does. They are one caller's at a time.
func (s *benchServer) connected(ctx context.Context, now time.Time, clients int) []*bench.Poster {
	if now.Sub(s.posted) > idleMost {
		s.disconnect(0)
	}
	s.posted = now
	for len(s.posters) < clients {
		s.posters = append(s.posters, bench.NewPoster(s.addr.HTTP, "/webhooks/"+string(bench.Source), s.token))
	}
	s.disconnect(clients)
	for _, p := range s.posters {
		_ = p.Connect(ctx) // the first call tries again, and counts its failure
	}
	return s.posters
}

// disconnect ends the connections of all clients but the first ones.
func (s *benchServer) disconnect(but int) {
	for _, p := range s.posters[but:] {
		p.Close()
	}
	s.posters = s.posters[:but]
}

// stop ends a server that was started here.
func (s *benchServer) stop() error {
	s.disconnect(0)
	if s.child == nil {
		return nil
	}
	if err := s.child.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.child.Wait()
}

// kill ends a server that was started here as a crash does.
func (s *benchServer) kill() error {
	s.disconnect(0)
	if err := s.child.Process.Kill(); err != nil {
		return err
	}
	_ = s.child.Wait() // it was killed
	return nil
}

// awaitReady asks /readyz until it says so.
func (s *benchServer) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.get(ctx, "/readyz", func(io.Reader) error { return nil })
		if domain.KindOf(err) != domain.Unavailable {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
