package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"comanda.internal/projections"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const rebuildRounds = 10

// TestKillDuringRebuild starts serve on one data directory again and again, has it
// build its views without a pause, with an operator promoting what a kill left, and
// kills it with SIGKILL after a random number of answers. Every start finds whole
// views, and in the end they are what the log says.
func TestKillDuringRebuild(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(sourcesYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t)
	promoted, left := uint64(0), 0
	for round := range rebuildRounds {
		promoted += rebuildAndKill(t, program, dir, file, round, 5+rng.IntN(200))
		if t.Failed() {
			t.FailNow()
		}
		if _, err := os.Stat(filepath.Join(dir, viewsFile+".next")); err == nil {
			left++
		}
	}
	t.Logf("%d promotions; %d kills left a build", promoted, left)
	if promoted == 0 || left == 0 {
		t.Error("no build was promoted, or no kill fell into one: the test is of no use")
	}
	s := startServer(t, dir, sourcesYAML) // it is verified when the test ends
	for round := range rebuildRounds {
		s.expect("loja-aprovei", rebuildBody(t, "aprovei-refunded", round), "applied", "refunded")
	}
}

func rebuildBody(t *testing.T, name string, round int) string {
	t.Helper()
	return fixture(t, name, "VCP1O8SB9GJ", fmt.Sprintf("REBUILD-%d", round))
}

// rebuildAndKill kills after so many answers, and tells how many builds were
// promoted until then.
func rebuildAndKill(t *testing.T, program, dir, file string, round, answers int) (promoted uint64) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, addressesFile))
	child := exec.Command(program, "serve", "--data-dir", dir, "--config", file, "--log-level", "warn",
		"--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--nats-listen", "127.0.0.1:0")
	var out logBuffer
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan int, 1)
	go func() { _ = child.Wait(); exited <- child.ProcessState.ExitCode() }()
	s := &testServer{t: t, dir: dir}
	s.await(exited, &out)
	conn, err := grpc.NewClient(s.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := comandav1.NewViewServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.expect("loja-aprovei", rebuildBody(t, "aprovei-approved", round), "applied", "approved")
	for range answers {
		if _, err := client.PromoteViews(ctx, &comandav1.PromoteViewsRequest{}); err != nil && status.Code(err) != codes.NotFound {
			t.Error(err)
		}
		_, err := client.RebuildViews(ctx, &comandav1.RebuildViewsRequest{})
		if err != nil && status.Code(err) != codes.FailedPrecondition {
			t.Error(err)
		}
		now, err := client.GetViewStatus(ctx, &comandav1.GetViewStatusRequest{})
		if err != nil {
			t.Error(err)
			break
		}
		switch b := now.GetBuild(); b.GetOutcome() {
		case "":
			promoted = max(promoted, b.GetNumber()-1)
		case projections.Promoted:
			promoted = max(promoted, b.GetNumber())
		default:
			t.Errorf("a build %s: %s", b.GetOutcome(), b.GetDetail())
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-exited
	if text := out.String(); strings.Contains(text, "level=ERROR") {
		t.Errorf("serve says:\n%s", text)
	}
	return promoted
}
