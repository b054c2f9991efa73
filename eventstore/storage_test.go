package eventstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/stream"
)

// limited is a log on a server whose account may store only so much, and what
// lets it store more.
func limited(t *testing.T) (s *store, raise func(bytes int64)) {
	t.Helper()
	opts := &server.Options{}
	if err := opts.ProcessConfigString(`
		accounts { comanda { jetstream: {max_file: 512K}, users: [{user: comanda, password: comanda}] } }
		no_auth_user: comanda
	`); err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", server.RANDOM_PORT, true, true
	opts.JetStream, opts.StoreDir = true, t.TempDir()
	node, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	node.Start()
	t.Cleanup(func() {
		node.Shutdown()
		node.WaitForShutdown()
	})
	if !node.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	account, err := node.LookupAccount("comanda")
	if err != nil {
		t.Fatal(err)
	}
	s = &store{conn: natstest.Open(t, node.Addr().String()).Conn(), vault: privacy.Disabled()} // no key waits for room
	if s.Log, err = eventstore.Open(t.Context(), s.conn, eventstore.Config{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Recorder, err = eventstore.NewRecorder(s.Log, s.vault, order.Default(), eventstore.RecorderConfig{Clock: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s, func(bytes int64) {
		t.Helper()
		limits := server.JetStreamAccountLimits{
			MaxMemory: -1, MaxStore: bytes, MaxStreams: -1, MaxConsumers: -1, MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
		}
		if err := account.UpdateJetStreamLimits(map[string]server.JetStreamAccountLimits{"": limits}); err != nil {
			t.Fatal(err)
		}
	}
}

// tooLittle is the server's own answer 10047, to who wants more than the account has.
func tooLittle(t *testing.T, s *store) error {
	t.Helper()
	c := streamConfig(t, s, "ORDERS-00")
	c.MaxBytes = 1 << 40
	_, err := newJS(t, s).UpdateStream(t.Context(), c)
	answer, ok := errors.AsType[*jetstream.APIError](err)
	if !ok || stream.CodeOfClient(err) != stream.CodeStorage {
		t.Fatalf("a stream larger than the account: %v, want %d", err, stream.CodeStorage)
	}
	return &stream.APIError{Status: answer.Code, Code: stream.Code(answer.ErrorCode), Description: answer.Description}
}

// TestAnAccountThatIsFullIsUnavailable fills it, singly and in batches. What was
// acknowledged until then is there, and nothing else.
func TestAnAccountThatIsFullIsUnavailable(t *testing.T) {
	s, raise := limited(t)
	var stored, refused atomic.Uint64
	burst := func(round int) {
		var all sync.WaitGroup
		for n := range 150 {
			all.Go(func() {
				out, err := s.Record(t.Context(), message(), []domain.Fact{details(n, round)})
				switch {
				case err == nil && out[0].Verdict == domain.VerdictNoted:
					stored.Add(1)
				case domain.KindOf(err) == domain.Unavailable && len(out) == 0:
					refused.Add(1)
				default:
					t.Errorf("order %d: %+v, %v; want noted or unavailable", n, out, err)
				}
			})
		}
		all.Wait()
	}
	for round := 0; refused.Load() < 150 && !t.Failed(); round++ {
		burst(round)
	}
	for n := range 20 {
		if out, err := s.Record(t.Context(), message(), []domain.Fact{details(n, -1)}); domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
			t.Errorf("on a full account: %+v, %v; want unavailable", out, err)
		}
	}
	wantSound(t, s, stored.Load())
	raise(64 << 20)
	record(t, s, details(0, -1))
	wantSound(t, s, stored.Load()+1)
}

// TestTooLittleStorageIsNoAnswer gives 10047, as the server words it, for an
// append: nats-server 2.15 says it of streams and accounts (server/jetstream.go,
// checkBytesLimits), and of a message 10002 or 10023. It says nothing of an earlier try
// of the same message, so the history decides.
func TestTooLittleStorageIsNoAnswer(t *testing.T) {
	s, _ := limited(t)
	full := tooLittle(t, s)
	record(t, s, fact(1, 0, domain.KindPending))
	tries := 0
	restore := eventstore.Between(s.Log, func(eventstore.Send) eventstore.Send {
		return func(context.Context, int, *nats.Msg) (stream.Ack, error) {
			tries++
			return stream.Ack{}, full
		}
	})
	out, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
	restore()
	if domain.KindOf(err) != domain.Unavailable || !strings.Contains(err.Error(), "10047") || len(out) != 0 || tries != 1 {
		t.Errorf("not stored: %+v, %v after %d tries; want unavailable after one", out, err, tries)
	}
	wantSound(t, s, 1)

	tries = 0
	restore = eventstore.Between(s.Log, func(send eventstore.Send) eventstore.Send {
		return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
			if tries > 0 {
				tries++
				return stream.Ack{}, full
			}
			if ack, err := send(ctx, partition, m); err != nil {
				return ack, err // what it was told last made it forget the order: a conflict
			}
			tries++
			return stream.Ack{}, stream.ErrNoAnswer // the acknowledgement is lost
		}
	})
	out = record(t, s, fact(1, 1, domain.KindApproved))
	restore()
	if out[0].Verdict != domain.VerdictApplied || out[0].Revision != 2 || tries != 2 {
		t.Errorf("stored by the try before: %+v after %d tries; want our own revision 2 after two", out, tries)
	}
	wantSound(t, s, 2)
}
