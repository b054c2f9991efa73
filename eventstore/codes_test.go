package eventstore_test

import (
	"bytes"
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/stream"
)

// again is m as it is sent once more, without what it expects.
func again(m *nats.Msg) *nats.Msg {
	header := maps.Clone(m.Header)
	header.Del(expectation)
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
}

// TestInProcess has the server answer that an event of this id is on its way (10158): it
// is asked again, and only what it stored is acknowledged, as ours, once.
func TestInProcess(t *testing.T) {
	inProcess := &stream.APIError{Status: 400, Code: stream.CodeInProcess, Description: "planted"}
	for _, c := range []struct {
		name        string
		stored      bool // nevertheless, the first time
		times       int64
		wantVerdict domain.Verdict // of the answer; 0: there is none
		wantRepeat  domain.Verdict // of the sender's repeat
	}{
		{"stored by that try", true, 1, domain.VerdictApplied, domain.VerdictDuplicate},
		{"stored by the next", false, 3, domain.VerdictApplied, domain.VerdictDuplicate},
		{"never stored", false, 1 << 40, 0, domain.VerdictApplied},
		{"stored, and never said so", true, 1 << 40, domain.VerdictApplied, domain.VerdictDuplicate},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, natstest.Node(t, dir).Conn(), dir, eventstore.Config{AppendTimeout: 2 * time.Second}, eventstore.RecorderConfig{})
			record(t, s, fact(1, 0, domain.KindPending))
			var sent atomic.Int64
			restore := eventstore.Between(s.Log, func(send eventstore.Send) eventstore.Send {
				return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
					n := sent.Add(1)
					if n == 1 && c.stored {
						if _, err := send(ctx, partition, m); err != nil {
							t.Error(err)
						}
					}
					if n <= c.times {
						return stream.Ack{}, inProcess
					}
					return send(ctx, partition, m)
				}
			})
			out, err := s.Record(t.Context(), message(), []domain.Fact{fact(1, 1, domain.KindApproved)})
			restore()
			switch {
			case c.wantVerdict == 0:
				if domain.KindOf(err) != domain.Unavailable || len(out) != 0 {
					t.Errorf("answered %+v, %v; want unavailable", out, err)
				}
			case err != nil:
				t.Error(err)
			case out[0].Verdict != c.wantVerdict || out[0].Revision != 2 || out[0].Position.At(0) != 2:
				t.Errorf("answered %+v; want revision 2 at sequence 2", out[0])
			}
			if got := record(t, s, fact(1, 1, domain.KindApproved))[0]; got.Verdict != c.wantRepeat || got.Revision != 2 {
				t.Errorf("the sender's repeat: %+v", got)
			}
			wantSound(t, s, 2)
		})
	}
}

// TestDuplicatesInBatches sends events that were stored once more, among others, in
// batches, which the server refuses for them (10201): the others are stored, and those
// were, once.
func TestDuplicatesInBatches(t *testing.T) {
	dir := t.TempDir()
	s := open(t, natstest.Node(t, dir).Conn(), dir, eventstore.Config{BatchFrom: 2}, eventstore.RecorderConfig{})
	answers, err := s.conn.SubscribeSync("_INBOX.>")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answers.Unsubscribe() }()
	if err := answers.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	const orders = 200
	twice := map[domain.OrderID]bool{}
	for n := 0; n < orders; n += 10 {
		twice[orderID(n)] = true
	}
	restore := eventstore.Between(s.Log, func(send eventstore.Send) eventstore.Send {
		return func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
			ack, err := send(ctx, partition, m)
			if err != nil || !twice[domain.OrderID(m.Subject[len(m.Subject)-len(orderID(0)):])] {
				return ack, err
			}
			return send(ctx, partition, again(m))
		}
	})
	var all sync.WaitGroup
	for n := range orders {
		all.Go(func() {
			out := record(t, s, fact(n, 0, domain.KindPending))[0]
			if out.Verdict != domain.VerdictApplied || out.Revision != 1 {
				t.Errorf("order %d: %+v", n, out)
			}
		})
	}
	all.Wait()
	restore()
	isRefusal := func(m *nats.Msg) bool { return bytes.Contains(m.Data, []byte(`"err_code":10201`)) }
	if n := heard(t, answers, isRefusal); n == 0 {
		t.Error("no batch was refused for a duplicate")
	}
	wantSound(t, s, orders)
}
