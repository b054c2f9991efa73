package main

import (
	"context"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestComposeServes runs Comanda with docker-compose.yml's own command and
// files on its three servers: a webhook goes in, and its order comes out.
func TestComposeServes(t *testing.T) {
	l := startComposeLog(t)
	service := l.compose.Services["comanda"]
	for _, name := range composeNodes {
		if service.DependsOn[name].Condition != "service_healthy" {
			t.Errorf("Comanda does not wait for %s", name)
		}
	}
	for _, port := range service.Ports {
		if !strings.HasPrefix(port, "127.0.0.1:") {
			t.Errorf("%s is published to everyone", port)
		}
	}

	dir := t.TempDir()
	const etc = "/etc/comanda"
	for _, c := range service.Configs {
		if path.Dir(c.Target) != etc {
			t.Fatalf("%s is outside %s", c.Target, etc)
		}
		content := strings.ReplaceAll(l.compose.Configs[c.Source].Content, etc, dir)
		if err := os.WriteFile(filepath.Join(dir, path.Base(c.Target)), []byte(content), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--data-dir", dir, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0"}
	for _, arg := range service.Command {
		args = append(args, l.hosts.Replace(strings.ReplaceAll(arg, etc, dir)))
	}
	// Its command comes first.
	args = append(args[len(args)-len(service.Command):], args[:len(args)-len(service.Command)]...)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out logBuffer
	exited := make(chan int, 1)
	go func() { exited <- run(ctx, args, &out, &out) }()
	s := &testServer{t: t, dir: dir}
	s.await(exited, &out)

	conn, err := grpc.NewClient(s.addr.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s.orders = comandav1.NewOrderServiceClient(conn)
	a := s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	if got := s.order(a).GetStatus(); got != comandav1.OrderStatus_ORDER_STATUS_APPROVED {
		t.Errorf("the order is %v", got)
	}

	// What compose asks when it looks after Comanda's health.
	health := append(service.Healthcheck.Test[2:], "--data-dir", dir)
	if code := run(t.Context(), health, &out, &out); code != exitOK {
		t.Errorf("the health check answers %d; the log says:\n%s", code, out.String())
	}
	if code := run(t.Context(), []string{"verify", "--data-dir", dir}, &out, &out); code != exitOK {
		t.Errorf("verify answers %d; the log says:\n%s", code, out.String())
	}
	cancel()
	select {
	case code := <-exited:
		if code != exitOK {
			t.Errorf("serve ended with %d; it said:\n%s", code, out.String())
		}
	case <-time.After(60 * time.Second):
		t.Errorf("serve does not end; it said:\n%s", out.String())
	}
}
