package mirror_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/mirror"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// same wants every event of the source in its place in the mirror.
func same(t *testing.T, s *store, c *copied) {
	t.Helper()
	for p := range s.log.Partitions() {
		name := eventstore.OrdersStream(p)
		if diff := cmp.Diff(stored(t, s.conn, name, false), stored(t, c.node.Conn(), name, false)); diff != "" {
			t.Errorf("%s (-source +mirror):\n%s", name, diff)
		}
	}
}

// TestMirrorWhileOthersWrite cuts the mirror off again and again, while webhooks
// pour in, and proves what is there each time.
func TestMirrorWhileOthersWrite(t *testing.T) {
	keys, dir := filepath.Join(t.TempDir(), "kek"), t.TempDir()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 4})
	s.fillAll(60)
	held := uint64(0)
	for cut := range 4 {
		var writers sync.WaitGroup
		for w := range 4 {
			writers.Go(func() {
				for n := range 15 {
					for minute := range kinds {
						if err := s.record(1000*(cut+1)+100*w+n, minute); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		ctx, cancel := context.WithCancel(t.Context())
		batches := 0
		c := start(t, dir, s.conn, mirror.Config{Interval: time.Millisecond, Progress: func(mirror.Progress) {
			if batches++; batches > 2*cut {
				cancel()
			}
		}})
		must(t, c.mirror.Run(ctx))
		c.stop()
		writers.Wait()
		n := sound(t, dir, keys)
		if n < held {
			t.Errorf("cut %d: the mirror has %d events, and had %d before", cut, n, held)
		}
		held = n
	}
	c := start(t, dir, s.conn, mirror.Config{})
	if p := c.pass(); p.Lag() != 0 || p.Held != events(s.head()) {
		t.Errorf("after a pass on a quiet log: %+v", p)
	}
	same(t, s, c)
	s.fill(9000, 9002)
	if p := c.pass(); p.Held != events(s.head()) {
		t.Errorf("after one more: %+v", p)
	}
	same(t, s, c)
	c.stop()
	verified(t, dir, keys, events(s.head()))
}

// TestWhatIsNoMirrorOfItIsRefused tries every target that is something else.
func TestWhatIsNoMirrorOfItIsRefused(t *testing.T) {
	keys, dir := filepath.Join(t.TempDir(), "kek"), t.TempDir()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	other := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys+"2", eventstore.Config{})
	s.fill(0, 2)
	wantError(t, refused(t, other.conn, s.conn), domain.Refused, "no mirror but a log of its own")
	js := other.js
	must(t, js.DeleteStream(t.Context(), "ORDERS-00"))
	wantError(t, refused(t, other.conn, s.conn), domain.Refused, "nothing is overwritten")
	wantError(t, refused(t, s.conn, other.conn), domain.NotFound, "there is no log")

	c := start(t, dir, s.conn, mirror.Config{})
	c.pass()
	third := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys+"3", eventstore.Config{})
	wantError(t, refused(t, c.node.Conn(), third.conn), domain.Refused, "a mirror of "+s.log.Identity())
	wantError(t, refused(t, third.conn, c.node.Conn()), domain.Refused, "this is a mirror")
	if _, err := eventstore.Open(t.Context(), c.node.Conn(), eventstore.Config{Existing: true}); true {
		wantError(t, err, domain.Refused, "comanda log mirror --promote")
	}
	_, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None})
	if !errors.Is(err, natsnode.ErrInUse) {
		t.Errorf("a second process on the mirror: %v", err)
	}

	// Somebody writes to the mirror all the same.
	target, err := c.node.Connect("intruder")
	must(t, err)
	_, err = target.Request("orders.00.loja.x", []byte("x"), 10*time.Second)
	must(t, err)
	s.fill(2, 3)
	_, err = c.mirror.Pass(t.Context())
	wantError(t, err, domain.Refused, "somebody else writes")
	c.stop()
	c = start(t, dir, s.conn, mirror.Config{})
	_, err = c.mirror.Pass(t.Context())
	wantError(t, err, domain.Corrupt, "from sequence 7 on")
	c.stop()
}

// copyDir copies a stopped server's directory.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(to, os.DirFS(from)))
	for _, name := range []string{natsnode.CoreCredentials, natsnode.CheckoutCredentials} {
		must(t, os.Remove(filepath.Join(to, name))) // which others could read now; new ones are made
	}
	return to
}

// TestASourceThatIsNotWhatItWas puts an older copy of the source in its place: as
// it was, and when it has gone another way since.
func TestASourceThatIsNotWhatItWas(t *testing.T) {
	keys, dir, home := filepath.Join(t.TempDir(), "kek"), t.TempDir(), t.TempDir()
	node := natstest.FastNode(t, home)
	s := open(t, node.Conn(), keys, eventstore.Config{Partitions: 2})
	s.fill(0, 20)
	old := s.head()
	s.end()
	must(t, node.Close())
	older := copyDir(t, home)

	node = natstest.FastNode(t, home)
	s = open(t, node.Conn(), keys, eventstore.Config{})
	s.fill(20, 30)
	c := start(t, dir, s.conn, mirror.Config{})
	c.pass()
	c.stop()

	wrong := open(t, natstest.FastNode(t, older).Conn(), keys, eventstore.Config{})
	held := s.head()
	try := func(text string) {
		t.Helper()
		c := start(t, dir, wrong.conn, mirror.Config{})
		_, err := c.mirror.Pass(t.Context())
		wantError(t, err, domain.Corrupt, text)
		c.stop()
		verified(t, dir, keys, events(held))
	}
	try("went backwards")
	wrong.fill(40, 70)
	try("from sequence " + strconv.FormatUint(old.At(0)+1, 10) + " on its ORDERS-00")

	// The right one goes on.
	s.fill(30, 33)
	c = start(t, dir, s.conn, mirror.Config{})
	c.pass()
	same(t, s, c)
	c.stop()
}

// TestAnEventThatFollowsNothing is in a source that was tampered with.
func TestAnEventThatFollowsNothing(t *testing.T) {
	keys, dir := filepath.Join(t.TempDir(), "kek"), t.TempDir()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	s.fill(0, 3)
	c := start(t, dir, s.conn, mirror.Config{})
	c.pass()
	c.stop()
	st, err := s.js.Stream(t.Context(), "ORDERS-00")
	must(t, err)
	last, err := st.GetMsg(t.Context(), 9)
	must(t, err)
	var e comandav1.Envelope
	must(t, proto.Unmarshal(last.Data, &e))
	e.Event.Revision, e.PrevHash[0] = 4, e.GetPrevHash()[0]^1
	data, err := proto.Marshal(&e)
	must(t, err)
	_, err = s.js.PublishMsg(t.Context(), &nats.Msg{Subject: last.Subject, Data: data})
	must(t, err)
	c = start(t, dir, s.conn, mirror.Config{})
	_, err = c.mirror.Pass(t.Context())
	wantError(t, err, domain.Corrupt, "ORDERS-00 at 10, revision 4 of order ord_")
	c.stop()
	verified(t, dir, keys, 9)
}

// TestASourceThatIsAwayIsWaitedFor cuts the network, and heals it.
func TestASourceThatIsAwayIsWaitedFor(t *testing.T) {
	keys, dir, home := filepath.Join(t.TempDir(), "kek"), t.TempDir(), t.TempDir()
	node := natstest.FastNode(t, home)
	s := open(t, node.Conn(), keys, eventstore.Config{})
	s.fill(0, 2)
	proxy := natstest.NewProxy(t, node.Addr())
	var healed sync.Once
	ctx, cancel := context.WithCancel(t.Context())
	held := uint64(0)
	c := start(t, dir, natstest.Client(t, proxy.Addr(), home).Conn(), mirror.Config{
		Interval: time.Millisecond,
		Away:     func(error) { healed.Do(proxy.Heal) },
		Progress: func(p mirror.Progress) {
			if held == 0 && p.Held == 6 {
				proxy.Cut()
				s.fill(2, 4)
			}
			if held = p.Held; held == 12 {
				cancel()
			}
		},
	})
	must(t, c.mirror.Run(ctx))
	same(t, s, c)
	c.stop()
	verified(t, dir, keys, 12)
}

// TestADestroyedKeyIsDestroyedInTheMirror erases an order's key in the source.
func TestADestroyedKeyIsDestroyedInTheMirror(t *testing.T) {
	keys, dir := filepath.Join(t.TempDir(), "kek"), t.TempDir()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	s.fill(0, 2)
	c := start(t, dir, s.conn, mirror.Config{})
	c.pass()
	history, err := s.log.Order(t.Context(), fact1())
	must(t, err)
	kv, err := s.js.KeyValue(t.Context(), "KEYS")
	must(t, err)
	must(t, kv.Purge(t.Context(), history[0].Event.KeyID))
	c.pass()
	c.stop()
	node := natstest.FastNode(t, filepath.Join(dir, "nats"))
	looked := open(t, node.Conn(), keys, eventstore.Config{Existing: true, Inspect: true})
	if _, _, err := looked.vault.Raw(t.Context(), &history[0].Event); domain.KindOf(err) != domain.NotFound {
		t.Errorf("the mirror opens what was destroyed: %v", err)
	}
	for _, text := range stored(t, node.Conn(), "KV_KEYS", false) {
		if strings.Contains(text, history[0].Event.KeyID) && !strings.HasSuffix(text, "[] [] ") {
			t.Errorf("the mirror still has %s", text)
		}
	}
}

func fact1() domain.OrderID {
	f := fact(1, 0, domain.KindPending)
	return f.Identity("loja").OrderID()
}
