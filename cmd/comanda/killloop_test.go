package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	comandav1 "comanda.internal/proto/comanda/v1"
)

var (
	killRounds = flag.Int("kill-rounds", 25, "rounds of TestKillLoop")
	killSeed   = flag.Uint64("kill-seed", 0, "seed of TestKillLoop; 0: another each time")
)

// TestKillLoop starts serve on one data directory again and again, and kills it
// with SIGKILL at a random moment of a storm of webhooks, in which orders of
// earlier rounds come back. Whatever was acknowledged in any round is in the log once
// when the last has ended, and the log and its views hold together.
//
//	go test ./cmd/comanda -run TestKillLoop -args -kill-rounds 1000 -kill-seed 7
func TestKillLoop(t *testing.T) {
	seed := *killSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-kill-rounds %d -kill-seed %d", *killRounds, seed)
	l := &killLoop{
		t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 0)), acknowledged: map[string]int{},
		bodies: [2]string{fixture(t, "aprovei-pending"), fixture(t, "aprovei-approved")},
	}
	l.program = buildProgram(t)
	l.file = filepath.Join(l.dir, "config.yaml")
	if err := os.WriteFile(l.file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for round := range *killRounds {
		sent += l.round(round)
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d webhooks sent, %d events acknowledged", sent, len(l.acknowledged))
	if len(l.acknowledged) == 0 || l.unanswered == 0 {
		t.Errorf("%d acknowledged, %d without an answer: no kill fell into the middle", len(l.acknowledged), l.unanswered)
	}

	s := startServer(t, l.dir, sourcesYAML)
	last := s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	seen := map[string]int{}
	s.tail(func(m *comandav1.SubscribedEvent) bool {
		seen[m.GetEvent().GetEventId()]++
		return m.GetEvent().GetEventId() == last.EventID
	})
	for id, round := range l.acknowledged {
		if seen[id] != 1 {
			t.Errorf("%s, acknowledged in round %d, is in the log %d times", id, round, seen[id])
		}
	}
}

// killLoop is what the rounds share.
type killLoop struct {
	t       *testing.T
	program string
	dir     string
	file    string
	rng     *rand.Rand
	bodies  [2]string // of one order

	orders       int            // of which webhooks were sent
	acknowledged map[string]int // the last round, by event id
	unanswered   int
}

// buildProgram builds the program as it is shipped. This binary could stand for it,
// but under the race detector it takes two seconds to start, every round.
func buildProgram(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "comanda")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

const killStorm = 48 // webhooks a round

// round sends a storm to a new process and kills it after a random number of
// answers, and a random moment more.
func (l *killLoop) round(round int) (sent int) {
	l.t.Helper()
	child := exec.Command(l.program, "serve", "--data-dir", l.dir, "--config", l.file, "--log-level", "warn",
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	_ = os.Remove(filepath.Join(l.dir, addressesFile))
	if round%2 == 1 {
		l.forget()
	}
	if err := child.Start(); err != nil {
		l.t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() { _ = child.Wait(); exited <- child.ProcessState.ExitCode() }()
	s := &testServer{t: l.t, dir: l.dir}
	s.await(exited, &out)
	l.still(s, round)

	kill := int64(l.rng.IntN(killStorm))
	var answers atomic.Int64
	var storm sync.WaitGroup
	var mu sync.Mutex
	die := sync.OnceFunc(func() {
		if err := child.Process.Kill(); err != nil {
			l.t.Error(err)
		}
	})
	for i := range killStorm {
		n := l.orders + i/2
		if l.rng.IntN(4) == 0 && l.orders > 0 { // an order of an earlier round, and maybe the same fact
			n = l.rng.IntN(l.orders)
		}
		body := l.body(n, l.rng.IntN(2))
		storm.Go(func() {
			a, err := s.try("loja-aprovei", body)
			mu.Lock()
			switch {
			case err != nil:
				l.unanswered++
			case a.Code == http.StatusOK:
				l.acknowledged[a.EventID] = round
			default:
				l.t.Errorf("round %d: the answer is %d %s", round, a.Code, a.Text)
			}
			mu.Unlock()
			if answers.Add(1) > kill {
				die()
			}
		})
	}
	storm.Wait()
	die()
	<-exited
	l.orders += killStorm / 2
	return killStorm
}

// forget removes what the killed server staged in memory, as a reboot does.
func (l *killLoop) forget() {
	l.t.Helper()
	links, err := filepath.Glob(filepath.Join(l.dir, natsDir, "nats", "jetstream", "*", "streams", "ORDERS-*", "batches"))
	var system syscall.Statfs_t
	const tmpfs = 0x01021994
	inMemory := syscall.Statfs("/dev/shm", &system) == nil && system.Type == tmpfs
	if err != nil || inMemory && len(links) == 0 {
		l.t.Fatalf("batches are staged in %v: %v", links, err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if errors.Is(err, syscall.EINVAL) { // no link: this system has no such memory
			continue
		}
		if err == nil {
			err = os.RemoveAll(filepath.Dir(target))
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *killLoop) body(order, kind int) string {
	return strings.Replace(l.bodies[kind], "VCP1O8SB9GJ", fmt.Sprintf("KILL-%d", order), 1)
}

// still asks the new process for an event of the rounds before, whose
// acknowledgement its view must show.
func (l *killLoop) still(s *testServer, round int) {
	l.t.Helper()
	if round == 0 {
		return
	}
	a, err := s.try("loja-aprovei", l.body(l.orders-1, 1)) // new or repeated: it waits until the view is level
	if err != nil || a.Code != http.StatusOK {
		l.t.Fatalf("round %d: the answer is %d %s, %v", round, a.Code, a.Text, err)
	}
	l.acknowledged[a.EventID] = round
	conn, err := grpc.NewClient(s.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), 20*time.Second)
	defer cancel()
	s.orders = comandav1.NewOrderServiceClient(conn)
	_, err = s.orders.GetOrder(ctx, &comandav1.GetOrderRequest{OrderId: a.OrderID, MinPosition: a.Position})
	if err := errors.Join(err, conn.Close()); err != nil {
		l.t.Fatalf("round %d: %v", round, err)
	}
}
