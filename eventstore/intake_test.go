package eventstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore"
)

// queued makes the intake the work queue that it was in older logs.
func queued(t *testing.T, js jetstream.JetStream, change func(*jetstream.StreamConfig)) jetstream.Stream {
	t.Helper()
	if err := js.DeleteStream(t.Context(), eventstore.StreamIntake); err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{
		Name: eventstore.StreamIntake, Subjects: []string{"intake.*"}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxAge: 7 * 24 * time.Hour,
		Duplicates: 100 * time.Millisecond, AllowDirect: true,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publish(t *testing.T, js jetstream.JetStream, subject string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
}

// closedIntake is what a start that was cut off leaves.
func closedIntake(c *jetstream.StreamConfig) {
	c.Subjects, c.MaxMsgs = []string{"intake-closed.*"}, 1
}

// An intake that is a work queue is made anew when nothing is in it and nobody reads it,
// and stays what it is, with all that it holds, when not; wherever an earlier try ended.
func TestIntakeOfAnOlderLog(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, js jetstream.JetStream)
		want   jetstream.RetentionPolicy
		holds  uint64
	}{
		"empty": {
			func(t *testing.T, js jetstream.JetStream) { t.Helper(); queued(t, js, nil) },
			jetstream.LimitsPolicy, 0,
		},
		"with a message": {
			func(t *testing.T, js jetstream.JetStream) {
				t.Helper()
				queued(t, js, nil)
				publish(t, js, "intake.a")
			},
			jetstream.WorkQueuePolicy, 1,
		},
		"cut off before it was removed": {
			func(t *testing.T, js jetstream.JetStream) {
				t.Helper()
				queued(t, js, closedIntake)
				publish(t, js, "intake-closed.last")
			},
			jetstream.LimitsPolicy, 0,
		},
		"cut off before it was opened again": {
			func(t *testing.T, js jetstream.JetStream) {
				t.Helper()
				s := queued(t, js, nil)
				publish(t, js, "intake.a")
				publish(t, js, "intake.b")
				cfg := s.CachedInfo().Config
				closedIntake(&cfg)
				if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
			},
			jetstream.WorkQueuePolicy, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, node, _ := fast(t, eventstore.Config{})
			js, err := jetstream.New(node.Conn())
			if err != nil {
				t.Fatal(err)
			}
			c.before(t, js)
			again(t, s, node.Conn())
			wantIntake(t, js, c.want, c.holds)
			publish(t, js, "intake.new")
			wantIntake(t, js, c.want, c.holds+1)
		})
	}
}

// A limit on an intake that somebody had discard old messages would lose them.
func TestIntakeThatDiscards(t *testing.T) {
	_, node, _ := fast(t, eventstore.Config{})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	queued(t, js, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld })
	publish(t, js, "intake.a")
	publish(t, js, "intake.b")
	if _, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{}); err == nil {
		t.Error("it is taken as it is")
	}
	wantIntake(t, js, jetstream.WorkQueuePolicy, 2)
}

// Another instance that waits for messages keeps its stream.
func TestIntakeThatIsRead(t *testing.T) {
	s, node, _ := fast(t, eventstore.Config{})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := queued(t, js, nil).CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "comanda", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	inbox, err := node.Conn().SubscribeSync(node.Conn().NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	next := "$JS.API.CONSUMER.MSG.NEXT." + eventstore.StreamIntake + ".comanda"
	if err := node.Conn().PublishRequest(next, inbox.Subject, []byte(`{"batch":1,"expires":300000000000}`)); err != nil {
		t.Fatal(err)
	}
	for info := consumer.CachedInfo(); info.NumWaiting == 0; {
		if info, err = consumer.Info(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	again(t, s, node.Conn())
	wantIntake(t, js, jetstream.WorkQueuePolicy, 0)
}

// Whatever is acknowledged to a checkout while the intake is made anew is there after.
func TestIntakeIsRenewedUnderItsSenders(t *testing.T) {
	s, node, _ := fast(t, eventstore.Config{})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		queued(t, js, nil)
		ctx, cancel := context.WithCancel(t.Context())
		var senders sync.WaitGroup
		stored := make([]uint64, 4)
		begun := make(chan struct{}, len(stored))
		for i := range stored {
			senders.Go(func() {
				begun <- struct{}{}
				for ctx.Err() == nil {
					if send(ctx, node.Conn()) {
						stored[i]++
					}
				}
			})
		}
		<-begun
		again(t, s, node.Conn())
		cancel()
		senders.Wait()
		total := uint64(0)
		for _, n := range stored {
			total += n
		}
		info := intakeOf(t, js)
		// One may have been stored whose acknowledgement its sender did not wait for.
		if got := info.State.Msgs; got < total || got > total+uint64(len(stored)) {
			t.Fatalf("%d messages are in the intake, %d were acknowledged", got, total)
		}
	}
}

// send reports whether a message was acknowledged.
func send(ctx context.Context, conn *nats.Conn) bool {
	js, err := jetstream.New(conn)
	if err != nil {
		return false
	}
	_, err = js.Publish(ctx, "intake.a", nil, jetstream.WithRetryAttempts(0))
	return err == nil
}

// again opens the log once more, as the next start does.
func again(t *testing.T, s *store, conn *nats.Conn) {
	t.Helper()
	log, err := eventstore.Open(t.Context(), conn, eventstore.Config{Vault: s.vault})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		t.Error(err)
	}
}

func intakeOf(t *testing.T, js jetstream.JetStream) *jetstream.StreamInfo {
	t.Helper()
	s, err := js.Stream(t.Context(), eventstore.StreamIntake)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

func wantIntake(t *testing.T, js jetstream.JetStream, want jetstream.RetentionPolicy, holds uint64) {
	t.Helper()
	info := intakeOf(t, js)
	if info.Config.Retention != want || info.Config.Subjects[0] != "intake.*" || info.Config.MaxMsgs != -1 || info.State.Msgs != holds {
		t.Errorf("the intake is %s on %v with %d of at most %d messages, want %s with %d",
			info.Config.Retention, info.Config.Subjects, info.State.Msgs, info.Config.MaxMsgs, want, holds)
	}
}
