package mirror_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/mirror"
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

// wantError wants an error of this kind with this text.
func wantError(t *testing.T, err error, kind domain.ErrorKind, text string) {
	t.Helper()
	if domain.KindOf(err) != kind || !bytes.Contains([]byte(fmt.Sprint(err)), []byte(text)) {
		t.Errorf("the error is of kind %v: %v; want %v and %q", domain.KindOf(err), err, kind, text)
	}
}

// store is a log, and what is needed to write to it.
type store struct {
	t        *testing.T
	conn     *nats.Conn
	js       jetstream.JetStream
	log      *eventstore.Log
	vault    *privacy.Vault
	recorder *eventstore.Recorder
	end      func() // before the test's end
}

// open opens the log on conn, or makes it. keys is the key-encryption key's file.
func open(t *testing.T, conn *nats.Conn, keys string, cfg eventstore.Config) *store {
	t.Helper()
	s := &store{t: t, conn: conn}
	var err error
	s.js, err = jetstream.New(conn)
	must(t, err)
	s.vault, err = privacy.Open(t.Context(), conn, privacy.Config{KeyFile: keys, PoolSize: 300, Wait: 20 * time.Second})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if cfg.Inspect { // nothing is made for a log that is only looked at
		done <- nil
	} else {
		go func() { done <- s.vault.Run(ctx) }()
	}
	cfg.Vault = s.vault
	s.log, err = eventstore.Open(t.Context(), conn, cfg)
	must(t, err)
	s.recorder, err = eventstore.NewRecorder(s.log, s.vault, order.Default(), eventstore.RecorderConfig{Clock: func() time.Time { return noon }})
	must(t, err)
	ended := false
	s.end = func() {
		if !ended {
			ended = true
			cancel()
			must(t, errors.Join(<-done, s.log.Close()))
		}
	}
	t.Cleanup(s.end)
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

var kinds = []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded}

func (s *store) record(n, minute int) error {
	_, err := s.recorder.Record(s.t.Context(), message(), []domain.Fact{fact(n, minute, kinds[minute])})
	return err
}

// fill records three events of each order, one kind after the other.
func (s *store) fill(from, to int) {
	s.t.Helper()
	for minute := range kinds {
		for n := from; n < to; n++ {
			must(s.t, s.record(n, minute))
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
	_, err = s.js.Publish(s.t.Context(), "intake.loja-checkout", []byte("waits"))
	must(s.t, err)
}

// verify wants a sound log with this many events whose sealed parts all open.
func (s *store) verify(events uint64) {
	s.t.Helper()
	report, err := s.log.Verify(s.t.Context(), eventstore.VerifyOptions{Event: func(r *domain.Recorded) error {
		_, body, err := s.vault.Raw(s.t.Context(), &r.Event)
		if err == nil && !bytes.Equal(body, message().Body) {
			err = errors.New("the raw message is another")
		}
		return err
	}})
	must(s.t, err)
	if report.ProblemCount != 0 || report.Events != events {
		s.t.Errorf("verify: %d events, want %d; problems %v", report.Events, events, report.Problems)
	}
}

func (s *store) head() domain.Position {
	s.t.Helper()
	head, err := s.log.Head(s.t.Context())
	must(s.t, err)
	return head
}

func events(head domain.Position) (n uint64) {
	for p := range head.Partitions() {
		n += head.At(p)
	}
	return n
}

// stored is every message of a stream, as text, as far as a mirror of the log
// keeps it; exact has times and all headers too.
func stored(t *testing.T, conn *nats.Conn, name string, exact bool) []string {
	t.Helper()
	js, err := jetstream.New(conn)
	must(t, err)
	st, err := js.Stream(t.Context(), name)
	must(t, err)
	state := st.CachedInfo().State
	out := []string{fmt.Sprintf("%d messages from %d to %d", state.Msgs, state.FirstSeq, state.LastSeq)}
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		m, err := st.GetMsg(t.Context(), seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		must(t, err)
		text := fmt.Sprintf("%d %s %v %v %x", m.Sequence, m.Subject, m.Header["Nats-Msg-Id"], m.Header[eventstore.HeaderType], m.Data)
		if exact {
			text = fmt.Sprintf("%s %v %v", text, m.Time, m.Header)
		}
		out = append(out, text)
	}
	return out
}

// copied is a mirror in a directory, one process's at a time.
type copied struct {
	t      *testing.T
	dir    string
	node   *natsnode.Node
	mirror *mirror.Mirror
}

func side(dir string) string { return filepath.Join(dir, "mirror") }

// start opens the mirror in dir of the log on source, as a new process would.
func start(t *testing.T, dir string, source *nats.Conn, cfg mirror.Config) *copied {
	t.Helper()
	c := &copied{t: t, dir: dir}
	var err error
	c.node, err = natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None, UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, c.node.Close()) })
	cfg.Source, cfg.Target, cfg.Dir, cfg.AfterCreate = source, c.node.Conn(), side(dir), c.node.SyncDirs
	c.mirror, err = mirror.Open(t.Context(), cfg)
	if err != nil {
		must(t, errors.Join(err, c.node.Close()))
	}
	return c
}

// refused is the error of a start.
func refused(t *testing.T, target, source *nats.Conn) error {
	t.Helper()
	m, err := mirror.Open(t.Context(), mirror.Config{Source: source, Target: target, Dir: t.TempDir()})
	if err == nil {
		must(t, m.Close())
	}
	return err
}

func (c *copied) pass() mirror.Progress {
	c.t.Helper()
	p, err := c.mirror.Pass(c.t.Context())
	must(c.t, err)
	return p
}

func (c *copied) stop() {
	c.t.Helper()
	must(c.t, errors.Join(c.mirror.Close(), c.node.Close()))
}

// sound proves a stopped mirror, as an instance that only looks, and says how
// many events it has.
func sound(t *testing.T, dir, keys string) uint64 {
	t.Helper()
	node := natstest.FastNode(t, filepath.Join(dir, "nats"))
	s := open(t, node.Conn(), keys, eventstore.Config{Existing: true, Inspect: true})
	n := events(s.head())
	s.verify(n)
	s.end()
	must(t, node.Close())
	return n
}

// verified is sound, and wants this many events.
func verified(t *testing.T, dir, keys string, want uint64) {
	t.Helper()
	if got := sound(t, dir, keys); got != want {
		t.Errorf("the mirror has %d events, want %d", got, want)
	}
}
