package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"comanda.internal/projections"
	"comanda.internal/projections/customers"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const envDieAt = "COMANDA_TEST_DIE_AT"

// dies is the program, which kills itself at the point that the environment names.
func dies() {
	atPoint = func(p projections.Point) {
		if string(p) == os.Getenv(envDieAt) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // nothing is done after it
		}
	}
	main()
}

// TestKillAtAnyPoint has serve kill itself at one named point of the views' work, and of
// the customer index's, after the other, on one data directory, while webhooks come in and an operator builds,
// promotes and rolls back. After each kill the log and its views hold together.
func TestKillAtAnyPoint(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	sent := 0
	for _, point := range slices.Concat(projections.Points(), customers.Points()) {
		switch point {
		case projections.PointUnparked, projections.PointKeep, projections.PointKeepSpilled, projections.PointKept, projections.PointResumed:
			continue // no order is parked here, and no build takes long enough to be ended: the conformance suite has both
		default:
		}
		sent = max(sent, dieAtPoint(t, dir, file, point))
		(&testServer{t: t, dir: dir}).verify()
		if t.Failed() {
			t.Fatalf("after a kill at %s", point)
		}
	}
	s := startServer(t, dir, sourcesYAML) // it is verified when the test ends, without a server
	conn := s.conn()
	client := comandav1.NewViewServiceClient(conn)
	s.build(client)
	s.verify() // by the server, of both versions
	awaitIndex(t, dir)
	if code, out, errOut := command(t, "verify", "--customers", "--data-dir", dir); code != exitOK {
		t.Errorf("verify --customers ends with %d and says %s%s", code, out, errOut)
	}
	if _, err := client.CancelViewBuild(t.Context(), &comandav1.CancelViewBuildRequest{}); err != nil {
		t.Error(err)
	}
	for n := range sent {
		if a := s.post("loja-aprovei", pointBody(t, n)); a.Outcome != "duplicate" && a.Outcome != "applied" || s.order(a).GetRevision() == 0 {
			t.Errorf("the webhook %d, again: %+v", n, a)
		}
	}
}

func pointBody(t *testing.T, n int) string {
	t.Helper()
	return fixture(t, "aprovei-approved", "VCP1O8SB9GJ", "POINT-"+strconv.Itoa(n))
}

// dieAtPoint works with a new process until it is dead, and tells how many webhooks
// were sent.
func dieAtPoint(t *testing.T, dir, file string, point projections.Point) (sent int) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, addressesFile))
	child := exec.CommandContext(t.Context(), "comanda-dies", "serve", "--data-dir", dir, "--config", file, "--log-level", "warn",
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	child.Env = append(os.Environ(), envDieAt+"="+string(point))
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- child.Wait() }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	o := &operating{t: t, server: testServer{t: t, dir: dir}}
	// A flush comes by itself a second after the views began to follow, as they do anew
	// for whatever an operator does.
	o.only = slices.Contains([]projections.Point{
		projections.PointFlush, projections.PointFlushed, customers.PointFlush, customers.PointFlushed,
	}, point)
	defer o.close()
	for {
		select {
		case err := <-exited:
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("serve ends with %v, want it to be killed at %s; it says:\n%s", err, point, out.String())
			}
			return o.sent
		case <-deadline:
			_ = child.Process.Kill()
			<-exited
			t.Fatalf("serve does not come to %s; it says:\n%s", point, out.String())
		case <-tick.C:
			o.step()
		}
	}
}

// operating is what is done to a server that is to die: errors are its death, or that it
// is not so far yet.
type operating struct {
	t      *testing.T
	server testServer
	conn   *grpc.ClientConn
	views  comandav1.ViewServiceClient
	only   bool // webhooks
	sent   int
	steps  int
}

func (o *operating) close() {
	if o.conn != nil {
		_ = o.conn.Close()
	}
}

// step sends a webhook and does what an operator may do next.
func (o *operating) step() {
	if o.conn == nil && !o.connect() {
		return
	}
	if _, err := o.server.try("loja-aprovei", pointBody(o.t, o.sent)); err != nil {
		return
	}
	o.sent++
	if o.only {
		return
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), 30*time.Second)
	defer cancel()
	o.steps++
	var err error
	_, err = o.views.RebuildViews(ctx, &comandav1.RebuildViewsRequest{Customers: true})
	o.fine(err)
	switch o.steps % 8 {
	case 5:
		_, err = o.views.CancelViewBuild(ctx, &comandav1.CancelViewBuildRequest{})
	case 0:
		_, err = o.views.RollbackViews(ctx, &comandav1.RollbackViewsRequest{})
	case 1, 4:
		_, err = o.views.RebuildViews(ctx, &comandav1.RebuildViewsRequest{Hold: true})
	default:
		_, err = o.views.PromoteViews(ctx, &comandav1.PromoteViewsRequest{})
	}
	o.fine(err)
}

// fine wants no other error than may come.
func (o *operating) fine(err error) {
	switch status.Code(err) {
	case codes.OK, codes.NotFound, codes.FailedPrecondition, codes.Unavailable:
	default:
		o.t.Error(err)
	}
}

func (o *operating) connect() bool {
	a, err := readAddresses(o.server.dir)
	if err != nil {
		return false
	}
	o.server.addr = a
	if o.conn, err = grpc.NewClient(a.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		o.t.Fatal(err)
	}
	o.views = comandav1.NewViewServiceClient(o.conn)
	return true
}

// conn is a connection that is closed with the test.
func (s *testServer) conn() *grpc.ClientConn {
	s.t.Helper()
	conn, err := grpc.NewClient(s.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// build has a build wait beside the views; one that a kill left is as good.
func (s *testServer) build(client comandav1.ViewServiceClient) {
	s.t.Helper()
	_, err := client.RebuildViews(s.t.Context(), &comandav1.RebuildViewsRequest{Hold: true})
	if err != nil && status.Code(err) != codes.FailedPrecondition {
		s.t.Fatal(err)
	}
	await(s.t, "the build waits", func() bool {
		now, err := client.GetViewStatus(s.t.Context(), &comandav1.GetViewStatusRequest{})
		if err != nil {
			s.t.Fatal(err)
		}
		return now.GetBuild().GetCaughtUp()
	})
}
