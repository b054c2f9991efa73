package mirror_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/mirror"
	"comanda.internal/eventstore/natsnode/natstest"
)

// told makes a consumer as an endpoint's, that was told up to a floor.
func told(t *testing.T, s *store, name string, events int) {
	t.Helper()
	durable, err := s.js.CreateOrUpdateConsumer(t.Context(), "ORDERS-01", jetstream.ConsumerConfig{
		Durable: name, AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "orders.*.loja.*",
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"comanda"}, PinnedTTL: time.Minute,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 2,
	})
	must(t, err)
	batch, err := durable.Fetch(events, jetstream.FetchPriorityGroup("comanda"))
	must(t, err)
	for m := range batch.Messages() {
		must(t, m.DoubleAck(t.Context()))
	}
	must(t, batch.Error())
}

func durable() error { return nil }

// TestAPromotedMirrorIsTheLog promotes a mirror whose source went on, and wants
// everything that a backup has, in a new epoch.
func TestAPromotedMirrorIsTheLog(t *testing.T) {
	keys, dir := filepath.Join(t.TempDir(), "kek"), t.TempDir()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 4})
	s.fillAll(20)
	told(t, s, "notify-erp", 2)
	kv, err := s.js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "NOTIFY"})
	must(t, err)
	for range 3 { // only the last is there: a stream with holes
		_, err = kv.PutString(t.Context(), "erp.ord", "blocked")
		must(t, err)
	}
	c := start(t, dir, s.conn, mirror.Config{Also: []string{"KV_NOTIFY", "KV_ABSENT"}})
	_, err = mirror.Promote(t.Context(), c.node.Conn(), side(dir), durable)
	wantError(t, err, domain.Refused, "never level")
	c.pass()
	c.stop()
	beside := map[string][]string{}
	for _, name := range []string{"KV_NOTIFY", "QUARANTINE", "RELAY", "INTAKE", "AUDIT"} {
		beside[name] = stored(t, s.conn, name, true)
	}
	head := s.head()
	s.fill(20, 25) // and the source dies
	verified(t, dir, keys, 60)

	node := natstest.FastNode(t, filepath.Join(dir, "nats"))
	_, err = backup.Create(t.Context(), node.Conn(), filepath.Join(t.TempDir(), "b"), backup.Options{Clock: time.Now})
	wantError(t, err, domain.Refused, "this is a mirror")
	files, err := filepath.Glob(filepath.Join(side(dir), "INTAKE-*.snapshot"))
	must(t, err)
	whole, err := os.ReadFile(files[0])
	must(t, err)
	must(t, os.WriteFile(files[0], whole[1:], 0o600))
	_, err = mirror.Promote(t.Context(), node.Conn(), side(dir), durable)
	wantError(t, err, domain.Corrupt, "INTAKE-")
	must(t, os.WriteFile(files[0], whole, 0o600))

	done, err := mirror.Promote(t.Context(), node.Conn(), side(dir), durable)
	must(t, err)
	again := open(t, node.Conn(), keys, eventstore.Config{Existing: true})
	again.verify(60)
	for name, want := range beside {
		if diff := cmp.Diff(want, stored(t, node.Conn(), name, true)); diff != "" {
			t.Errorf("%s (-source +promoted):\n%s", name, diff)
		}
	}
	moved, err := again.js.Consumer(t.Context(), "ORDERS-01", "notify-erp")
	must(t, err)
	if info := moved.CachedInfo(); info.AckFloor.Stream != 3 || info.Config.OptStartSeq != 2 || info.NumPending != head.At(1)-3 {
		t.Errorf("the consumer was told up to %d, has %d to come, and began at %d", info.AckFloor.Stream, info.NumPending, info.Config.OptStartSeq)
	}
	again.fill(20, 30)
	again.verify(90)
	honoured, ok := again.log.Honoured(1)
	if again.log.Identity() != s.log.Identity() || again.log.Epoch() <= 1 || again.log.Epoch() != done.Lineage.Epoch || !ok || !honoured.Equal(head) || done.Events != 60 {
		t.Errorf("log %s, epoch %d, epoch 1 honoured up to %v (%t), want %v; promoted %+v", again.log.Identity(), again.log.Epoch(), honoured, ok, head, done)
	}
	_, err = mirror.Promote(t.Context(), node.Conn(), side(dir), durable)
	wantError(t, err, domain.Refused, "live already")
	wantError(t, refused(t, node.Conn(), s.conn), domain.Refused, "no mirror but a log of its own")
	again.end()

	// And the other way: a mirror of what was promoted.
	back := start(t, t.TempDir(), node.Conn(), mirror.Config{})
	if p := back.pass(); p.Held != 90 {
		t.Errorf("a mirror of the promoted log: %+v", p)
	}
	back.stop()
}
