package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// crampedYAML has some of what is published passed on to INTAKE, and given out again soon.
const crampedYAML = sourcesYAML + "\ncheckout: {max_requests: 8, record_timeout: 5s, ack_wait: 6s}\n"

// TestKillWhileACheckoutPublishes kills serve with SIGKILL in the middle of what a checkout
// publishes, some rounds long. Whatever was acknowledged, by Comanda or by INTAKE,
// is in the log once, after the next start at the latest.
func TestKillWhileACheckoutPublishes(t *testing.T) {
	k := &intakeKill{t: t, dir: t.TempDir(), acknowledged: map[string]bool{}}
	k.file = filepath.Join(k.dir, "config.yaml")
	if err := os.WriteFile(k.file, []byte(crampedYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	for round := range 4 {
		k.round(round)
	}
	t.Logf("%d recorded and %d passed on before they were acknowledged, %d not acknowledged", k.own, k.passedOn, k.unanswered)
	if k.own == 0 || k.passedOn == 0 || k.unanswered == 0 {
		t.Error("no kill fell into the middle")
	}

	s := startServer(t, k.dir, crampedYAML)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	events, err := s.events.Subscribe(ctx, &comandav1.SubscribeRequest{
		Start: &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for len(k.acknowledged) > 0 {
		m, err := events.Recv()
		if err != nil {
			t.Fatalf("%d acknowledged messages are not in the log: %v", len(k.acknowledged), err)
		}
		if e := m.GetEvent().GetEvent(); e != nil {
			delete(k.acknowledged, e.GetProviderOrderId())
			if e.GetRevision() != 1 {
				t.Errorf("%s has a second event", e.GetProviderOrderId())
			}
		}
	}
}

// intakeKill is what the rounds share.
type intakeKill struct {
	t    *testing.T
	dir  string
	file string

	mu                        sync.Mutex
	acknowledged              map[string]bool // orders
	own, passedOn, unanswered int
}

// round publishes until some were acknowledged, and kills.
func (k *intakeKill) round(round int) {
	k.t.Helper()
	const storm, enough = 96, 40
	child := exec.Command("comanda", "serve", "--data-dir", k.dir, "--config", k.file, "--log-level", "error",
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	_ = os.Remove(filepath.Join(k.dir, addressesFile))
	if err := child.Start(); err != nil {
		k.t.Fatal(err)
	}
	exited := make(chan int, 1)
	ctx, cancel := context.WithCancel(k.t.Context())
	defer cancel()
	go func() {
		_ = child.Wait()
		cancel() // nobody is answered any more
		exited <- child.ProcessState.ExitCode()
	}()
	s := &testServer{t: k.t, dir: k.dir}
	s.await(exited, &out)
	conn := s.checkout()
	defer conn.Close()

	var answers atomic.Int64
	var published sync.WaitGroup
	die := sync.OnceFunc(func() {
		if err := child.Process.Kill(); err != nil {
			k.t.Error(err)
		}
	})
	defer die()
	for i := range storm {
		published.Go(func() {
			k.publish(ctx, conn, fmt.Sprintf("K-%d-%d", round, i))
			if answers.Add(1) == int64(enough-9*round) {
				die()
			}
		})
	}
	published.Wait()
	die()
	<-exited
}

func (k *intakeKill) publish(ctx context.Context, conn *nats.Conn, order string) {
	m := nats.NewMsg("intake.loja-checkout")
	m.Data = fmt.Appendf(nil, `{"specversion":"1.0","id":"e","source":"checkout","type":"comanda.fact.started.v1","subject":%q}`, order)
	reply, err := conn.RequestMsgWithContext(ctx, m)
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil:
		k.unanswered++
		return
	case !strings.HasPrefix(string(reply.Data), `{"stream":"INTAKE",`) || strings.Contains(string(reply.Data), `"error"`):
		k.t.Errorf("%s is answered %s", order, reply.Data)
		return
	case len(reply.Data) > len(`{"stream":"INTAKE","seq":1000000000}`):
		k.own++
	default:
		k.passedOn++
	}
	k.acknowledged[order] = true
}
