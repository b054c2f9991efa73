package natsnode_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// frontOf is node's connection for a front; refused has what the server refuses it.
func frontOf(t *testing.T, node *natsnode.Node) (conn *nats.Conn, refused <-chan error) {
	t.Helper()
	conn, err := node.ConnectFront("front")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 64)
	conn.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err })
	return conn, errs
}

// What a front needs is allowed: a message is taken, passed on to the stream, answered and told of.
func TestAFrontMayHandleMessages(t *testing.T) {
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir, Checkouts: []domain.SourceID{"loja-a"}})
	intake(t, node.Conn())
	conn, refused := frontOf(t, node)
	_, err := conn.QueueSubscribe(natsnode.Taken+"intake.*", "comanda", func(m *nats.Msg) {
		if !strings.HasPrefix(m.Reply, "_R_.") {
			t.Errorf("the answer goes to %s", m.Reply)
		}
		stored, err := conn.Request(strings.TrimPrefix(m.Subject, natsnode.Taken), m.Data, 30*time.Second)
		if err == nil {
			err = conn.Publish("outcome.loja-a", []byte("done"))
		}
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
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	merchant := login(t, node, dir, natsnode.CheckoutCredentialsOf("loja-a"))
	outcomes, err := merchant.SubscribeSync("outcome.loja-a")
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(merchant)
	if err != nil {
		t.Fatal(err)
	}
	for want := range uint64(3) {
		if ack, err := js.Publish(t.Context(), "intake.loja-a", []byte("{}")); err != nil || ack.Sequence != want+1 {
			t.Errorf("acknowledged %+v, %v", ack, err)
		}
		if _, err := outcomes.NextMsg(30 * time.Second); err != nil {
			t.Error(err)
		}
	}
	select {
	case err := <-refused:
		t.Error(err)
	default:
	}
}

// Whatever a front is brought to, also by a header that it hands on, writes nothing else.
func TestAFrontMayDoNothingElse(t *testing.T) {
	node := start(t, natsnode.Config{DataDir: t.TempDir()})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	streams := map[string]jetstream.Stream{"INTAKE": intake(t, node.Conn())}
	for name, subject := range map[string]string{"ORDERS": "orders.>", "KV_keys": "$KV.keys.>"} {
		if streams[name], err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	conn, refused := frontOf(t, node)
	for _, subject := range []string{
		"orders.00.loja.ord_x", "orders.x", "quarantine.loja.x", "relay.a.b", "intake", "intake.a.b", "outcome.a.b", "comanda.intake.loja", "comanda.record.loja",
		"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.DELETE.ORDERS", "$JS.API.STREAM.PURGE.INTAKE", "$JS.API.STREAM.MSG.GET.ORDERS",
		"$JS.API.DIRECT.GET.KV_keys.x", "$JS.API.CONSUMER.CREATE.ORDERS", "$JS.ACK.INTAKE.comanda.1.1.1.1.1",
		"$KV.keys.x", "$SYS.REQ.SERVER.PING", "$SRV.PING", "_INBOX.others",
	} {
		if err := conn.Publish(subject, []byte("x")); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, refused, "publish to "+subject)
		traced := nats.NewMsg("intake.loja")
		traced.Header.Set("Nats-Trace-Dest", subject)
		if err := conn.PublishMsg(traced); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, refused, "a trace to "+subject)
	}
	for _, subject := range []string{">", "*", "intake.>", "comanda.>", "comanda.record.*", "orders.>", "outcome.*", "quarantine.>", "$JS.>", "$KV.>", "$SYS.>", "$SRV.>", "_R_.>", "_INBOX.>"} {
		if _, err := conn.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, refused, "subscribe to "+subject)
	}
	for name, stream := range streams {
		if info, err := stream.Info(t.Context()); err != nil || info.State.LastSeq != 0 {
			t.Errorf("%s: %v is stored, %v", name, info.State, err)
		}
	}
	// The same trace by core itself is written: it is the rights that stop it, and no setting of the server.
	heard, err := node.Conn().SubscribeSync("orders.>")
	if err != nil {
		t.Fatal(err)
	}
	traced := nats.NewMsg("intake.loja")
	traced.Header.Set("Nats-Trace-Dest", "orders.00.loja.ord_x")
	if err := node.Conn().PublishMsg(traced); err != nil {
		t.Fatal(err)
	}
	if _, err := heard.NextMsg(30 * time.Second); err != nil {
		t.Errorf("core's own trace: %v", err)
	}
}

// A server of yours has no such user.
func TestNoFrontOnAServerOfYours(t *testing.T) {
	dir := t.TempDir()
	node := start(t, natsnode.Config{DataDir: dir})
	yours := start(t, natsnode.Config{URL: node.ClientURL(), CredsFile: filepath.Join(dir, natsnode.CoreCredentials)})
	if _, err := yours.ConnectFront("front"); domain.KindOf(err) != domain.Invalid {
		t.Errorf("%v", err)
	}
}
