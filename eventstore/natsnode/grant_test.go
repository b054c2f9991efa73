package natsnode_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// granted is a server with a stream and a service of Comanda's, and two sources'
// checkouts.
type granted struct {
	core *nats.Conn
	// connect is as the checkout of a source.
	connect func(source domain.SourceID, opts ...nats.Option) *nats.Conn
}

// grantedServers are the embedded one, and one of yours with the printed
// configuration: they must grant the same.
func grantedServers(t *testing.T) map[string]*granted {
	t.Helper()
	return map[string]*granted{"embedded": grantedEmbedded(t), "printed": grantedPrinted(t)}
}

func grantedEmbedded(t *testing.T) *granted {
	t.Helper()
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir, Checkouts: []domain.SourceID{"loja-a", "loja-b"}})
	return &granted{core: node.Conn(), connect: func(source domain.SourceID, opts ...nats.Option) *nats.Conn {
		return login(t, node, dir, natsnode.CheckoutCredentialsOf(source), opts...)
	}}
}

func grantedPrinted(t *testing.T) *granted {
	t.Helper()
	const password = "only-for-this-test"
	t.Setenv("COMANDA_CHECKOUT_PASSWORD", password)
	users, exports := "", ""
	for _, source := range []domain.SourceID{"loja-a", "loja-b"} {
		grant := natsnode.GrantOf(source)
		text := grant.Conf("core", "COMANDA_CHECKOUT_PASSWORD")
		head, rest, found := strings.Cut(text, "exports: [\n")
		mine, account, closed := strings.Cut(rest, "    ]\n  }\n")
		if !found || !closed || !strings.HasPrefix(head, "accounts {\n") {
			t.Fatalf("printed:\n%s", text)
		}
		exports += mine
		users += strings.TrimSuffix(account, "}\n")
	}
	opts := &server.Options{}
	if err := opts.ProcessConfigString("accounts {\n core {\n jetstream: enabled\n users: [{user: core, password: core}]\n exports: [\n" + exports + "]\n}\n" + users + "}\n"); err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.JetStream, opts.StoreDir, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true, t.TempDir(), true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	g := &granted{core: connect(t, s.ClientURL(), nats.UserInfo("core", "core"))}
	g.connect = func(source domain.SourceID, opts ...nats.Option) *nats.Conn {
		return connect(t, s.ClientURL(), append(opts, nats.UserInfo("checkout-"+string(source), password))...)
	}
	return g
}

func connect(t *testing.T, url string, opts ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	conn, err := nats.Connect(url, append(opts, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	return conn
}

// furnish makes the stream and the service that checkouts reach.
func (g *granted) furnish(t *testing.T) jetstream.Stream {
	t.Helper()
	stored := intake(t, g.core)
	front(t, g.core)
	service, err := micro.AddService(g.core, micro.Config{Name: "comanda", Version: "1.0.0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = service.Stop() })
	for name, subject := range map[string]string{"record": "comanda.record.*", "get": "comanda.order.get.*", "wait": "comanda.order.wait.*"} {
		echo := micro.HandlerFunc(func(r micro.Request) { _ = r.Respond([]byte(r.Subject())) })
		if err := service.AddEndpoint(name, echo, micro.WithEndpointSubject(subject)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.core.Flush(); err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestACheckoutMaySpeakForItsSource(t *testing.T) {
	for name, g := range grantedServers(t) {
		t.Run(name, func(t *testing.T) {
			stored := g.furnish(t)
			a := g.connect("loja-a")
			for _, subject := range []string{"comanda.record.loja-a", "comanda.order.get.loja-a", "comanda.order.wait.loja-a"} {
				if m, err := a.Request(subject, nil, 10*time.Second); err != nil || string(m.Data) != subject {
					t.Errorf("%s: %v", subject, err)
				}
			}
			js, err := jetstream.New(a)
			if err != nil {
				t.Fatal(err)
			}
			if ack, err := js.Publish(t.Context(), "intake.loja-a", []byte("{}")); err != nil || ack.Stream != "INTAKE" {
				t.Errorf("publish: %v, %v", ack, err)
			}
			if info, err := stored.Info(t.Context()); err != nil || info.State.Msgs != 1 {
				t.Errorf("%d stored, %v", info.State.Msgs, err)
			}
			outcomes, err := a.SubscribeSync("outcome.loja-a")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Flush(); err != nil {
				t.Fatal(err)
			}
			if err := g.core.Publish("outcome.loja-a", []byte("done")); err != nil {
				t.Fatal(err)
			}
			if m, err := outcomes.NextMsg(10 * time.Second); err != nil || string(m.Data) != "done" {
				t.Errorf("outcome: %v", err)
			}
		})
	}
}

// TestACheckoutDiscoversTheServiceAndNoOther asks as "nats micro ls" and "info" do, beside a
// service that is none of the checkout's business.
func TestACheckoutDiscoversTheServiceAndNoOther(t *testing.T) {
	for name, g := range grantedServers(t) {
		t.Run(name, func(t *testing.T) {
			g.furnish(t)
			other, err := micro.AddService(g.core, micro.Config{Name: "other", Version: "1.0.0"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = other.Stop() })
			asked, err := g.core.SubscribeSync("$SRV.>")
			if err != nil {
				t.Fatal(err)
			}
			if err := g.core.Flush(); err != nil {
				t.Fatal(err)
			}
			a := g.connect("loja-a")
			wantAsked := func(subject string) {
				t.Helper()
				if m, err := asked.NextMsg(30 * time.Second); err != nil || m.Subject != subject {
					t.Errorf("asked is %v (%v), want %s", m, err, subject)
				}
			}
			var info micro.Info
			for _, verb := range []string{"$SRV.PING", "$SRV.INFO"} {
				for _, subject := range []string{verb, verb + ".comanda"} {
					m, err := a.Request(subject, nil, 30*time.Second)
					if err != nil {
						t.Fatalf("%s: %v", subject, err)
					}
					if err := json.Unmarshal(m.Data, &info); err != nil || info.Name != "comanda" || info.ID == "" {
						t.Errorf("%s: %s (%v)", subject, m.Data, err)
					}
					wantAsked(verb + ".comanda") // and so nobody else
				}
				one := verb + ".comanda." + info.ID
				var instance micro.Ping
				m, err := a.Request(one, nil, 30*time.Second)
				if err != nil {
					t.Fatalf("%s: %v", one, err)
				}
				if err := json.Unmarshal(m.Data, &instance); err != nil || instance.ID != info.ID {
					t.Errorf("%s: %s (%v)", one, m.Data, err)
				}
				wantAsked(one)
			}
			if len(info.Endpoints) != 3 {
				t.Errorf("it has the endpoints %v", info.Endpoints)
			}
			for _, e := range info.Endpoints {
				if !strings.HasSuffix(e.Subject, ".*") {
					t.Errorf("%s tells of a source: %s", e.Name, e.Subject)
				}
			}
		})
	}
}

func TestACheckoutMayDoNothingElse(t *testing.T) {
	for name, g := range grantedServers(t) {
		t.Run(name, func(t *testing.T) {
			stored := g.furnish(t)
			refused := make(chan error, 64)
			a := g.connect("loja-a", nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
			for _, subject := range []string{
				"orders.00.loja.ord_x", "intake.loja-b", "outcome.loja-a", "outcome.loja-b", "quarantine.loja-a.x", "relay.a.b",
				"comanda.intake.loja-a", "comanda.intake.loja-b", "comanda.record.loja-b", "comanda.order.get.loja-b", "comanda.order.wait.loja-b", "comanda.order.get", "comanda.x",
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.INTAKE", "$JS.API.STREAM.DELETE.INTAKE", "$JS.API.STREAM.PURGE.INTAKE",
				"$JS.API.STREAM.MSG.GET.INTAKE", "$JS.API.DIRECT.GET.INTAKE", "$JS.API.CONSUMER.CREATE.INTAKE", "$JS.ACK.INTAKE.comanda.1.1.1.1.1",
				"$KV.KEYS.x", "$SYS.REQ.SERVER.PING", "$SRV.STATS", "$SRV.STATS.comanda", "$SRV.INFO.other", "$SRV.PING.other", "$SRV.SCHEMA.comanda", "_INBOX.others",
			} {
				if err := a.Publish(subject, []byte("x")); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, refused, "publish to "+subject)
			}
			for _, subject := range []string{
				"intake.>", "intake.loja-a", "intake.loja-b", "outcome.>", "outcome.*", "outcome.loja-b", "orders.>", "comanda.>",
				"comanda.record.loja-b", "quarantine.>", "relay.>", "$JS.>", "$SRV.>", ">", "*",
			} {
				if _, err := a.SubscribeSync(subject); err != nil {
					t.Fatal(err)
				}
				wantRefused(t, refused, "subscribe to "+subject)
			}
			if info, err := stored.Info(t.Context()); err != nil || info.State.Msgs != 0 || info.State.LastSeq != 0 {
				t.Errorf("%v is stored, %v", info.State, err)
			}
		})
	}
}

// Answers to one checkout are not heard by another, which may listen to all inboxes
// of its account, and of its account only.
func TestACheckoutHearsNobodyElse(t *testing.T) {
	for name, g := range grantedServers(t) {
		t.Run(name, func(t *testing.T) {
			g.furnish(t)
			a, b := g.connect("loja-a"), g.connect("loja-b")
			heard, err := b.SubscribeSync("_INBOX.>")
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Flush(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, err := a.Request("comanda.order.get.loja-a", nil, 10*time.Second); err != nil {
					t.Fatal(err)
				}
			}
			// Its own answer comes after whatever it would have heard.
			if _, err := b.Request("comanda.order.get.loja-b", nil, 10*time.Second); err != nil {
				t.Fatal(err)
			}
			for {
				m, err := heard.NextMsg(time.Millisecond)
				if err != nil {
					if !errors.Is(err, nats.ErrTimeout) {
						t.Error(err)
					}
					break
				}
				if string(m.Data) != "comanda.order.get.loja-b" {
					t.Errorf("loja-b hears %s", m.Data)
				}
			}
		})
	}
}

// With users of sources there is none for all of them.
func TestUsersOfSourcesReplaceTheOneForAll(t *testing.T) {
	dir := t.TempDir()
	first, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	node := start(t, natsnode.Config{DataDir: dir, Checkouts: []domain.SourceID{"loja-a"}})
	text, err := os.ReadFile(filepath.Join(dir, natsnode.CheckoutCredentials))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ User, Password string }
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(node.ClientURL(), nats.UserInfo(all.User, all.Password))
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("the checkout of all sources: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, natsnode.CheckoutCredentialsOf("loja-a")))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestCheckoutsThatCannotBe(t *testing.T) {
	for _, cfg := range []natsnode.Config{
		{DataDir: "x", Checkouts: []domain.SourceID{"Loja"}},
		{URL: "nats://127.0.0.1:1", Checkouts: []domain.SourceID{"loja"}},
	} {
		if cfg.Validate() == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
