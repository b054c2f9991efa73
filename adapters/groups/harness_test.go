package groups_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
)

func TestMain(m *testing.M) {
	// Each check is a group of its own on a real server. The command line may ask for more.
	if err := flag.Set("rapid.checks", "8"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait, so that a failure is one and not a hang.
const patience = 30 * time.Second

// house is a log with a recorder, on a server of its own.
type house struct {
	t        *testing.T
	node     *natsnode.Node
	log      *eventstore.Log
	recorder *eventstore.Recorder
	ahead    atomic.Int64 // of the clock
}

func newHouse(t *testing.T, partitions int) *house {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0", UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 64, Wait: 20 * time.Second})
	must(t, err)
	background(t, vault.Run)
	<-vault.Ready()
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Partitions: partitions, Vault: vault})
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	h := &house{t: t, node: node, log: log}
	h.recorder, err = eventstore.NewRecorder(log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	must(t, err)
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// background runs run until the test's end and waits for it.
func background(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	})
}

// clock is the groups' clock, which a test can put forward.
func (h *house) clock() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func (h *house) forward(d time.Duration) { h.ahead.Add(int64(d)) }

var kinds = []domain.Kind{
	domain.KindStarted, domain.KindPending, domain.KindDetails, domain.KindRefused, domain.KindApproved, domain.KindRefunded, domain.KindShipping,
}

// record stores the order's revisions up to n, of at most 7, that are not there yet.
func (h *house) record(id string, from, n int) {
	h.t.Helper()
	h.recordAs("loja", id, from, n)
}

func (h *house) recordAs(tenant domain.TenantID, id string, from, n int) {
	h.t.Helper()
	for revision := from; revision <= n; revision++ {
		kind := kinds[revision-1]
		_, err := h.recorder.Record(h.t.Context(), domain.Message{
			Source: "loja-checkout", Tenant: tenant, Provider: "comanda", ReceivedAt: time.Now(), Body: []byte("{}"),
		}, []domain.Fact{{
			Kind: kind, Provider: "comanda", ProviderOrderID: id, Key: kind.String(), OccurredAt: time.Now().UTC(),
			Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(100), Paid: domain.Minor(100)},
		}})
		must(h.t, err)
	}
}

// orderID is the id of one of record's.
func orderID(id string) domain.OrderID {
	return domain.Identity{Tenant: "loja", Provider: "comanda", ProviderOrderID: id}.OrderID()
}

// office is one process's groups.
type office struct {
	*groups.Groups

	conn *nats.Conn
}

// open makes groups on a connection of their own.
func (h *house) open(t *testing.T, change ...func(*groups.Config)) *office {
	t.Helper()
	conn, err := h.node.Connect("groups")
	must(t, err)
	js, err := jetstream.New(conn)
	must(t, err)
	cfg := groups.Config{PinTTL: 2 * time.Second, Tick: 10 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	g, err := groups.Open(t.Context(), cfg, groups.Deps{
		JetStream: js, Log: h.log, Match: match, Clock: h.clock,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	must(t, err)
	t.Cleanup(conn.Close)
	return &office{Groups: g, conn: conn}
}

// match reads a filter that is a kind's word; "" is everything.
func match(filter []byte) (func(*ring.Entry) bool, error) {
	return func(e *ring.Entry) bool { return len(filter) == 0 || e.Kind.String() == string(filter) }, nil
}

// create makes a group from the beginning.
func (o *office) create(t *testing.T, name string, change ...func(*groups.Group)) {
	t.Helper()
	group := groups.Group{Name: name, AckWait: time.Minute, MaxDeliveries: 3}
	for _, c := range change {
		c(&group)
	}
	_, err := o.Create(t.Context(), group, domain.Position{})
	must(t, err)
}

// member is a member, and what it has.
type member struct {
	*groups.Member

	t    *testing.T
	left bool
}

func (o *office) join(t *testing.T, name string, credits int) *member {
	t.Helper()
	return o.joinAs(t, name, credits, func(domain.TenantID) bool { return true })
}

func (o *office) joinAs(t *testing.T, name string, credits int, allows func(domain.TenantID) bool) *member {
	t.Helper()
	m, _, err := o.Join(t.Context(), name, credits, allows)
	must(t, err)
	out := &member{Member: m, t: t}
	t.Cleanup(func() { out.leave(false) })
	return out
}

func (m *member) leave(failed bool) {
	if !m.left {
		m.left = true
		m.Leave(failed)
	}
}

// message is what comes next.
func (m *member) message() groups.Message {
	m.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if msg, ok := m.Take(); ok {
			return msg
		}
		select {
		case <-m.Ready():
		case <-timeout.C:
			m.t.Fatal("nothing comes")
		}
	}
}

// next is the next delivery.
func (m *member) next() *groups.Delivery {
	m.t.Helper()
	msg := m.message()
	if msg.Delivery == nil {
		m.t.Fatalf("instead of an event comes %+v", msg)
	}
	return msg.Delivery
}

// want is the next delivery, which is to be of an order's revision and attempt.
func (m *member) want(id string, revision, attempt int) *groups.Delivery {
	m.t.Helper()
	d := m.next()
	if got, want := short(m.t, d), fmt.Sprintf("%s/%d #%d", orderID(id), revision, attempt); got != want {
		m.t.Fatalf("given is %s, want %s (%s)", got, want, id)
	}
	return d
}

// none checks that nothing has come. It is called after something that would have come later.
func (m *member) none() {
	m.t.Helper()
	if msg, ok := m.Take(); ok {
		m.t.Fatalf("too much: %+v", msg)
	}
}
