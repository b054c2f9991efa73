package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patiently does what a sender does: while a cluster that was just made does not
// answer, nothing was acknowledged, and it is tried again.
func patiently(t *testing.T, f func() error) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if domain.KindOf(err) != domain.Unavailable || time.Now().After(deadline) {
			must(t, err)
			return
		}
		t.Log("again after:", err)
		<-tick.C
	}
}

// store is a log, and what is needed to write to it.
type store struct {
	t        *testing.T
	conn     *nats.Conn
	log      *eventstore.Log
	vault    *privacy.Vault
	recorder *eventstore.Recorder
}

// open opens the log on conn, or makes it. keys is the key-encryption key's file.
func open(t *testing.T, conn *nats.Conn, keys string, cfg eventstore.Config) *store {
	t.Helper()
	s := &store{t: t, conn: conn}
	var err error
	s.vault, err = privacy.Open(t.Context(), conn, privacy.Config{KeyFile: keys, Replicas: cfg.Replicas, PoolSize: 300, Wait: 20 * time.Second})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.vault.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
	})
	cfg.Vault = s.vault
	s.log, err = eventstore.Open(t.Context(), conn, cfg)
	must(t, err)
	t.Cleanup(func() { must(t, s.log.Close()) })
	s.recorder, err = eventstore.NewRecorder(s.log, s.vault, order.Default(), eventstore.RecorderConfig{Clock: func() time.Time { return noon }})
	must(t, err)
	return s
}

func message() domain.Message {
	return domain.Message{
		Source: "loja-aprovei", Tenant: "loja", Account: "principal", Provider: "aprovei",
		ContentType: "application/json", Body: []byte(`{"customer":"Maria"}`), ReceivedAt: noon.Add(24 * time.Hour),
	}
}

func fact(n, minute int, kind domain.Kind) domain.Fact {
	at := noon.Add(time.Duration(minute) * time.Minute)
	return domain.Fact{
		Kind: kind, Provider: "aprovei", Account: "principal", ProviderOrderID: fmt.Sprintf("token%d", n), Key: kind.String(),
		OccurredAt: at, OccurredText: at.Format(time.RFC3339), Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12000)},
		Personal: &domain.Personal{Name: "Maria da Silva"},
	}
}

func orderID(n int) domain.OrderID {
	f := fact(n, 0, domain.KindStarted)
	return f.Identity("loja").OrderID()
}

// fill records three events of each order, one kind after the other.
func (s *store) fill(from, to int) {
	s.t.Helper()
	for minute, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		for n := from; n < to; n++ {
			patiently(s.t, func() error {
				_, err := s.recorder.Record(s.t.Context(), message(), []domain.Fact{fact(n, minute, kind)})
				return err
			})
		}
	}
}

// fillAll fills every stream of a log.
func (s *store) fillAll(orders int) {
	s.t.Helper()
	s.fill(0, orders)
	_, err := s.log.Quarantine(s.t.Context(), message(), "unmappable", "no status", nil)
	must(s.t, err)
	must(s.t, s.log.Relay(s.t.Context(), message(), "product.created", "1", []byte("{}")))
	_, err = s.log.Audit(s.t.Context(), &comandav1.AuditRecord{Action: "reveal", Actor: "maria@host", Reason: "asked"})
	must(s.t, err)
	_, err = s.js().Publish(s.t.Context(), "intake.loja-checkout", []byte("waits"))
	must(s.t, err)
}

func (s *store) js() jetstream.JetStream {
	s.t.Helper()
	js, err := jetstream.New(s.conn)
	must(s.t, err)
	return js
}

// verify wants a sound log with this many events whose personal parts all open.
func (s *store) verify(events uint64) {
	s.t.Helper()
	var sealed int
	var report *eventstore.Report
	patiently(s.t, func() (err error) {
		sealed = 0
		report, err = s.log.Verify(s.t.Context(), eventstore.VerifyOptions{Event: func(r *domain.Recorded) error {
			sealed++
			_, body, err := s.vault.Raw(s.t.Context(), &r.Event)
			if err == nil && !bytes.Equal(body, message().Body) {
				err = errors.New("the raw message is another")
			}
			return err
		}})
		return err
	})
	if report.ProblemCount != 0 || report.Events != events || sealed != int(events) {
		s.t.Errorf("verify: %d events, want %d; problems %v", report.Events, events, report.Problems)
	}
}

// histories are the stored hashes of every order, by revision.
func (s *store) histories(orders int) map[domain.OrderID][][32]byte {
	s.t.Helper()
	out := make(map[domain.OrderID][][32]byte)
	for n := range orders {
		events, err := s.log.Order(s.t.Context(), orderID(n))
		must(s.t, err)
		for i := range events {
			out[orderID(n)] = append(out[orderID(n)], events[i].Hash)
		}
	}
	return out
}

// stored is every message of a stream, as text: all that there is of it.
func (s *store) stored(name string) []string {
	s.t.Helper()
	st, err := s.js().Stream(s.t.Context(), name)
	must(s.t, err)
	state := st.CachedInfo().State
	out := []string{fmt.Sprintf("%d messages from %d to %d", state.Msgs, state.FirstSeq, state.LastSeq)}
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := st.GetMsg(s.t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		must(s.t, err)
		out = append(out, fmt.Sprintf("%d %s %v %v %x", m.Sequence, m.Subject, m.Time, m.Header, m.Data))
	}
	return out
}

func create(t *testing.T, s *store, also ...string) (*backup.Backup, string) {
	t.Helper()
	var b *backup.Backup
	var dir string
	patiently(t, func() (err error) {
		dir = filepath.Join(t.TempDir(), "backup")
		b, err = backup.Create(t.Context(), s.conn, dir, backup.Options{Also: also, Clock: func() time.Time { return noon }})
		return err
	})
	return b, dir
}

// reopened is the backup as another process finds it.
func reopened(t *testing.T, dir string) *backup.Backup {
	t.Helper()
	b, err := backup.Open(dir)
	must(t, err)
	return b
}

// restored is the backup's log on a server of its own.
func restored(t *testing.T, b *backup.Backup, keys string) *store {
	t.Helper()
	node := natstest.FastNode(t, t.TempDir())
	must(t, b.Restore(t.Context(), node.Conn(), backup.RestoreOptions{}))
	return open(t, node.Conn(), keys, eventstore.Config{Existing: true})
}

func keysIn(b *backup.Backup) uint64 { return b.Streams[0].Messages }

// TestARestoredLogIsTheLog compares every message of every stream, with its
// sequence, time, header and bytes, and a consumer's place.
func TestARestoredLogIsTheLog(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 4})
	s.fillAll(20)
	durable, err := s.js().CreateConsumer(t.Context(), "ORDERS-01", jetstream.ConsumerConfig{Durable: "notify-erp", AckPolicy: jetstream.AckExplicitPolicy})
	must(t, err)
	batch, err := durable.Fetch(2)
	must(t, err)
	for m := range batch.Messages() {
		must(t, m.DoubleAck(t.Context()))
	}
	_, err = s.js().CreateConsumer(t.Context(), "ORDERS-02", jetstream.ConsumerConfig{ // as an endpoint's are
		Durable: "notify-erp", AckPolicy: jetstream.AckExplicitPolicy, FilterSubject: "orders.*.loja.*",
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{"comanda"}, PinnedTTL: time.Minute,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: 2,
	})
	must(t, err)
	kv, err := s.js().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "NOTIFY"})
	must(t, err)
	for range 3 { // only the last is there: a stream with holes
		_, err = kv.PutString(t.Context(), "erp.ord", "blocked")
		must(t, err)
	}

	b, dir := create(t, s, "KV_NOTIFY", "KV_ABSENT")
	if b.Log != s.log.Identity() || b.Epoch != 1 || b.Events != 60 {
		t.Errorf("the manifest says %s, epoch %d, %d events", b.Log, b.Epoch, b.Events)
	}
	head, err := s.log.Head(t.Context())
	must(t, err)
	s.fill(20, 25) // after the backup
	again := restored(t, reopened(t, dir), keys)
	again.verify(60)
	for _, name := range []string{"KV_KEYS", "KV_NOTIFY", "QUARANTINE", "RELAY", "INTAKE", "AUDIT", "ORDERS-00", "ORDERS-01", "ORDERS-02", "ORDERS-03"} {
		want := s.stored(name)
		got := again.stored(name)
		if strings.HasPrefix(name, "ORDERS-") {
			want = want[1 : 1+head.At(int(name[8]-'0'))]
			got = got[1:]
		}
		if name == "KV_KEYS" { // more were made since, of both
			copied := 1 + keysIn(b)
			want, got = want[1:copied], got[1:copied]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-stored +restored):\n%s", name, diff)
		}
	}
	moved, err := again.js().Consumer(t.Context(), "ORDERS-01", "notify-erp")
	must(t, err)
	if got := moved.CachedInfo().AckFloor.Stream; got != 2 {
		t.Errorf("the consumer was told up to %d, want 2", got)
	}
	pinned, err := again.js().Consumer(t.Context(), "ORDERS-02", "notify-erp")
	must(t, err)
	if info := pinned.CachedInfo(); info.Config.OptStartSeq != 2 || info.Config.PriorityPolicy != jetstream.PriorityPolicyPinned || info.NumPending != head.At(2)-1 {
		t.Errorf("the pinned consumer is %+v with %d events to come", info.Config, info.NumPending)
	}

	// It goes on, as the same log in a new epoch that honours the old one's head.
	again.fill(20, 30)
	again.verify(90)
	got, ok := again.log.Honoured(1)
	if again.log.Identity() != s.log.Identity() || again.log.Epoch() <= 1 || !ok || !got.Equal(head) {
		t.Errorf("log %s, epoch %d, epoch 1 honoured up to %v (%t), want %v", again.log.Identity(), again.log.Epoch(), got, ok, head)
	}
}

// TestEveryRestoreIsAnEpochOfItsOwn restores a backup twice, and a backup of one
// of them: each knows its forebears, and not its sibling.
func TestEveryRestoreIsAnEpochOfItsOwn(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	s.fill(0, 1)
	b, _ := create(t, s)
	one, two := restored(t, b, keys), restored(t, b, keys)
	two.fill(1, 2)
	second, _ := create(t, two)
	three := restored(t, second, keys)
	three.verify(6)
	if one.log.Epoch() == two.log.Epoch() || three.log.Epoch() <= two.log.Epoch() {
		t.Errorf("epochs %d and %d of one backup, %d of the second's", one.log.Epoch(), two.log.Epoch(), three.log.Epoch())
	}
	for epoch, want := range map[uint64]uint64{1: 3, two.log.Epoch(): 6} {
		if got, ok := three.log.Honoured(epoch); !ok || got.At(0) != want {
			t.Errorf("epoch %d is honoured up to %d, want %d", epoch, got.At(0), want)
		}
	}
	if _, ok := three.log.Honoured(one.log.Epoch()); ok {
		t.Error("the epoch of another restore is honoured")
	}
}

func TestOnACluster(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	conn := natstest.Open(t, natstest.Cluster(t)[0]).Conn()
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 2})
	s.fillAll(10)
	b, _ := create(t, s)
	must(t, b.Restore(t.Context(), conn, backup.RestoreOptions{Replicas: 3}))
	cluster := open(t, conn, keys, eventstore.Config{Existing: true, Replicas: 3})
	cluster.verify(30)
	cluster.fill(10, 12)
	back, _ := create(t, cluster, "KV_NOBODY") // which the log may have, and has not
	home := natstest.FastNode(t, t.TempDir()).Conn()
	must(t, back.Restore(t.Context(), home, backup.RestoreOptions{Replicas: 1}))
	one := open(t, home, keys, eventstore.Config{Existing: true})
	one.verify(36)
	if diff := cmp.Diff(cluster.histories(12), one.histories(12)); diff != "" {
		t.Errorf("histories (-cluster +one):\n%s", diff)
	}
}

// TestAChangedBackupIsRefused changes every file in several ways.
func TestAChangedBackupIsRefused(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{})
	s.fillAll(3)
	_, dir := create(t, s)
	names, err := os.ReadDir(dir)
	must(t, err)
	if len(names) != 7 {
		t.Fatalf("the backup has %d files: %v", len(names), names)
	}
	refused := func(name, how string) {
		t.Helper()
		if _, err := backup.Open(dir); domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %s: %v, want corrupt and its name", name, how, err)
		}
	}
	for _, entry := range names {
		path := filepath.Join(dir, entry.Name())
		whole, err := os.ReadFile(path)
		must(t, err)
		for _, at := range []int{0, len(whole) / 3, len(whole) / 2, len(whole) - 2, len(whole) - 1} {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1
			must(t, os.WriteFile(path, flipped, 0o600))
			refused(entry.Name(), fmt.Sprintf("with byte %d of %d changed", at, len(whole)))
		}
		must(t, os.WriteFile(path, whole[:len(whole)-1], 0o600))
		refused(entry.Name(), "cut short")
		must(t, os.WriteFile(path, append(bytes.Clone(whole), 0), 0o600))
		refused(entry.Name(), "grown")
		must(t, os.WriteFile(path, whole, 0o600))
	}
	must(t, os.Remove(filepath.Join(dir, "KV_KEYS.snapshot")))
	refused("KV_KEYS.snapshot", "missing")
	must(t, os.Remove(filepath.Join(dir, "manifest.json")))
	if _, err := backup.Open(dir); domain.KindOf(err) != domain.NotFound || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("without a manifest: %v", err)
	}
}

func TestNothingIsOverwritten(t *testing.T) {
	keys := filepath.Join(t.TempDir(), "kek")
	s := open(t, natstest.FastNode(t, t.TempDir()).Conn(), keys, eventstore.Config{Partitions: 2})
	s.fill(0, 2)
	b, dir := create(t, s)
	exists := func(doing string, err error) {
		t.Helper()
		if domain.KindOf(err) != domain.Exists {
			t.Errorf("%s: %v, want exists", doing, err)
		}
	}
	exists("restore over the log", b.Restore(t.Context(), s.conn, backup.RestoreOptions{}))
	_, err := backup.Create(t.Context(), s.conn, dir, backup.Options{Clock: func() time.Time { return noon }})
	exists("a backup over a backup", err)
	_, err = b.Repartition(t.Context(), dir, 2)
	exists("a repartition over a backup", err)

	// A server with a partition that the backup does not have.
	node := natstest.FastNode(t, t.TempDir())
	js, err := jetstream.New(node.Conn())
	must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS-77", Subjects: []string{"x"}})
	must(t, err)
	exists("restore beside another log", b.Restore(t.Context(), node.Conn(), backup.RestoreOptions{}))
	s.verify(6)

	if _, err := backup.Create(t.Context(), node.Conn(), filepath.Join(t.TempDir(), "b"), backup.Options{Clock: func() time.Time { return noon }}); domain.KindOf(err) != domain.NotFound {
		t.Errorf("a backup of no log: %v, want not found", err)
	}
}

// TestABrokenRecordEndsTheBackup flips a bit in a block of a stopped server.
func TestABrokenRecordEndsTheBackup(t *testing.T) {
	dir := t.TempDir()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: natsnode.None})
	must(t, err)
	log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{})
	must(t, err)
	recorder, err := eventstore.NewRecorder(log, privacy.Disabled(), order.Default(), eventstore.RecorderConfig{Clock: func() time.Time { return noon }})
	must(t, err)
	s := &store{t: t, conn: node.Conn(), log: log, recorder: recorder}
	s.fill(0, 3)
	must(t, log.Close())
	must(t, node.Close())
	block := filepath.Join(dir, "nats", "jetstream", "core", "streams", "ORDERS-00", "msgs", "1.blk")
	text, err := os.ReadFile(block)
	must(t, err)
	at := bytes.Index(text, []byte("token2")) // in the first event of the third order
	text[at] ^= 1
	must(t, os.WriteFile(block, text, 0o600))

	again := natstest.FastNode(t, dir)
	_, err = backup.Create(t.Context(), again.Conn(), filepath.Join(t.TempDir(), "b"), backup.Options{Clock: func() time.Time { return noon }})
	if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "ORDERS-00") {
		t.Errorf("backup of a broken log: %v, want corrupt and the stream's name", err)
	}
}
