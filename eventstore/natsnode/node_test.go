package natsnode_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg natsnode.Config) *natsnode.Node {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	node, err := natsnode.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return node
}

// login connects to node over TCP with the credentials in the named file.
func login(t *testing.T, node *natsnode.Node, dir, file string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	var creds struct{ URL, User, Password string }
	if err := json.Unmarshal(text, &creds); err != nil {
		t.Fatal(err)
	}
	if creds.URL != node.ClientURL() {
		t.Fatalf("%s says url %q, the server is at %q", file, creds.URL, node.ClientURL())
	}
	closed := make(chan struct{})
	opts = append(opts, nats.UserInfo(creds.User, creds.Password), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	conn, err := nats.Connect(creds.URL, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	return conn
}

func intake(t *testing.T, conn *nats.Conn) jetstream.Stream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "INTAKE", Subjects: []string{"intake.*"}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// front asks the stream on behalf of the checkout, as Comanda on the embedded server does.
func front(t *testing.T, core *nats.Conn) {
	t.Helper()
	_, err := core.Subscribe(natsnode.Taken+"intake.*", func(m *nats.Msg) {
		stored, err := core.Request(strings.TrimPrefix(m.Subject, natsnode.Taken), m.Data, 30*time.Second)
		if err == nil {
			err = m.Respond(stored.Data)
		}
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestCoreOwnsTheServer(t *testing.T) {
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir})
	intake(t, node.Conn())
	if err := node.SyncDirs(); err != nil {
		t.Errorf("sync: %v", err)
	}
	if got := node.Durability(); got != natsnode.DurabilityFsync {
		t.Errorf("durability %s, want fsync", got)
	}
	conn := login(t, node, dir, natsnode.CoreCredentials)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "INTAKE"); err != nil {
		t.Errorf("core over TCP does not see core's stream: %v", err)
	}
	for _, file := range []string{natsnode.CoreCredentials, natsnode.CheckoutCredentials} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %04o, want 0600", file, info.Mode().Perm())
		}
	}
}

func TestNobodyComesInAnonymously(t *testing.T) {
	node := start(t, natsnode.Config{DataDir: t.TempDir()})
	for name, opt := range map[string]nats.Option{
		"without a user": nats.Name("anonymous"),
		"wrong password": nats.UserInfo("core", "guess"),
		"system account": nats.UserInfo("sys", ""),
	} {
		conn, err := nats.Connect(node.ClientURL(), opt)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want an authorization error", name, err)
		}
	}
}

func TestCheckoutMayDoThreeThings(t *testing.T) {
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir})
	stored := intake(t, node.Conn())
	checkout := login(t, node, dir, natsnode.CheckoutCredentials)

	t.Run("nobody takes it yet", func(t *testing.T) {
		if answer, err := checkout.Request("intake.loja-checkout", []byte("{}"), 30*time.Second); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("answered %v (%v), want no responders", answer, err)
		}
	})
	t.Run("intake is acknowledged by the stream", func(t *testing.T) {
		front(t, node.Conn())
		answer, err := checkout.Request("intake.loja-checkout", []byte("{}"), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		var ack struct {
			Stream string
			Seq    uint64
		}
		if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Stream != "INTAKE" || ack.Seq != 1 {
			t.Errorf("acknowledgement %s, want sequence 1 of INTAKE", answer.Data)
		}
		info, err := stored.Info(t.Context())
		if err != nil || info.State.Msgs != 1 {
			t.Errorf("%d messages stored (%v), want 1", info.State.Msgs, err)
		}
	})
	t.Run("outcome arrives", func(t *testing.T) {
		sub, err := checkout.SubscribeSync("outcome.>")
		if err != nil {
			t.Fatal(err)
		}
		if err := checkout.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := node.Conn().Publish("outcome.loja-checkout", []byte("done")); err != nil {
			t.Fatal(err)
		}
		if m, err := sub.NextMsg(5 * time.Second); err != nil || string(m.Data) != "done" {
			t.Errorf("outcome: %v", err)
		}
	})
	t.Run("requests are answered", func(t *testing.T) {
		sub, err := node.Conn().Subscribe("comanda.order.get", func(m *nats.Msg) { _ = m.Respond([]byte("order")) })
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = sub.Unsubscribe() }()
		if err := node.Conn().Flush(); err != nil {
			t.Fatal(err)
		}
		if m, err := checkout.Request("comanda.order.get", nil, 5*time.Second); err != nil || string(m.Data) != "order" {
			t.Errorf("request: %v", err)
		}
	})
}

func TestCheckoutMayDoNothingElse(t *testing.T) {
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir})
	intake(t, node.Conn())
	refused := make(chan error, 16)
	checkout := login(t, node, dir, natsnode.CheckoutCredentials,
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))

	for _, subject := range []string{
		"orders.00.loja.ord_x", "quarantine.a.b", "relay.a.b", "outcome.loja", "intake.a.b",
		"$JS.API.INFO", "$JS.API.STREAM.DELETE.INTAKE", "$KV.KEYS.x", "$SYS.REQ.SERVER.PING",
	} {
		if err := checkout.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, refused, "publish to "+subject)
	}
	for _, subject := range []string{"orders.>", "intake.>", "comanda.>", ">", "quarantine.>", "$JS.>"} {
		if _, err := checkout.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, refused, "subscribe to "+subject)
	}
	js, err := jetstream.New(checkout)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := js.AccountInfo(ctx); err == nil {
		t.Error("the checkout has JetStream")
	}
}

func wantRefused(t *testing.T, refused <-chan error, what string) {
	t.Helper()
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(30 * time.Second):
		t.Errorf("%s was allowed", what)
	}
}

func TestNoListener(t *testing.T) {
	node := start(t, natsnode.Config{DataDir: t.TempDir(), Listen: natsnode.None})
	if node.Addr() != "" || node.ClientURL() != "" {
		t.Errorf("listens on %q", node.Addr())
	}
	intake(t, node.Conn())
	if _, err := node.Connect("second"); err != nil {
		t.Errorf("a second connection in process: %v", err)
	}
}

func TestRestartKeepsCredentialsAndStreams(t *testing.T) {
	dir := t.TempDir()
	first, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	intake(t, first.Conn())
	password := passwordIn(t, dir)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := start(t, natsnode.Config{DataDir: dir})
	if passwordIn(t, dir) != password {
		t.Error("the password changed with a restart")
	}
	js, err := jetstream.New(second.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "INTAKE"); err != nil {
		t.Errorf("the stream is gone: %v", err)
	}
}

func passwordIn(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, natsnode.CheckoutCredentials))
	if err != nil {
		t.Fatal(err)
	}
	var creds struct{ Password string }
	if err := json.Unmarshal(text, &creds); err != nil || len(creds.Password) < 20 {
		t.Fatalf("password %q: %v", creds.Password, err)
	}
	return creds.Password
}

func TestOneProcessADirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, natsnode.Config{DataDir: dir})
	_, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	if domain.KindOf(err) != domain.Unavailable || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second server on one directory: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dir := t.TempDir()
	_, err = natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: l.Addr().String(), StartTimeout: 2 * time.Second})
	if domain.KindOf(err) != domain.Unavailable {
		t.Errorf("address in use: %v", err)
	}
	start(t, natsnode.Config{DataDir: dir}) // the directory was given back
}

func TestReadableCredentialsAreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, natsnode.CoreCredentials)
	if err := os.WriteFile(path, []byte(`{"user":"core","password":"x"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if domain.KindOf(err) != domain.Invalid || !strings.Contains(err.Error(), "0644") {
		t.Errorf("credentials that others can read: %v", err)
	}
}

func TestServerOfYours(t *testing.T) {
	dir := t.TempDir()
	server := start(t, natsnode.Config{DataDir: dir})
	var log bytes.Buffer
	client := start(t, natsnode.Config{
		URL: server.ClientURL(), CredsFile: filepath.Join(dir, natsnode.CoreCredentials),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	intake(t, client.Conn())
	if client.Embedded() || client.Durability() != natsnode.DurabilityUnknown || client.Addr() != "" {
		t.Errorf("embedded %v, durability %s, addr %q", client.Embedded(), client.Durability(), client.Addr())
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "sync") {
		t.Errorf("no warning of the unknown sync setting: %s", log.String())
	}
	if err := client.SyncDirs(); err != nil {
		t.Errorf("sync of a server elsewhere: %v", err)
	}
}

func TestServerOfYoursIsAway(t *testing.T) {
	_, err := natsnode.Start(t.Context(), natsnode.Config{URL: "nats://127.0.0.1:1", StartTimeout: 200 * time.Millisecond})
	if domain.KindOf(err) != domain.Unavailable {
		t.Errorf("no server: %v", err)
	}
}

func TestConfigJoinsAllMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  natsnode.Config
		want []string
	}{
		"nothing":       {natsnode.Config{}, []string{"data directory"}},
		"bad address":   {natsnode.Config{Listen: "x"}, []string{"data directory", "listen address"}},
		"bad port":      {natsnode.Config{DataDir: "d", Listen: "h:99999"}, []string{"0 to 65535"}},
		"fsync of mine": {natsnode.Config{URL: "nats://x", UnsafeNoFsync: true}, []string{"sync_interval"}},
		"creds alone":   {natsnode.Config{DataDir: "d", CredsFile: "f"}, []string{"set url"}},
	} {
		err := c.cfg.Validate()
		if err == nil {
			t.Errorf("%s: no mistake", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not mention %q", name, err, want)
			}
		}
	}
	_, err := natsnode.Start(t.Context(), natsnode.Config{})
	if domain.KindOf(err) != domain.Invalid {
		t.Errorf("start without anything: %v", err)
	}
}

func TestStartedServerWritesNothingOutsideItsDirectory(t *testing.T) {
	dir := t.TempDir()
	start(t, natsnode.Config{DataDir: filepath.Join(dir, "data")})
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			info, err := entry.Info()
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, path)
			if strings.HasSuffix(path, ".json") && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s is readable by others", rel)
			}
			if !strings.HasPrefix(rel, "data"+string(filepath.Separator)) {
				t.Errorf("%s is outside the data directory", rel)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
