package eventstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore"
)

// A work queue, as logs made before have it, stays one with all that is in it, and one that
// would discard what is in it is refused as it is.
func TestIntakeOfAnOlderLog(t *testing.T) {
	for _, c := range []struct {
		discard jetstream.DiscardPolicy
		refused bool
	}{{jetstream.DiscardNew, false}, {jetstream.DiscardOld, true}} {
		t.Run(c.discard.String(), func(t *testing.T) {
			s, node, _ := fast(t, eventstore.Config{})
			js, err := jetstream.New(node.Conn())
			if err != nil {
				t.Fatal(err)
			}
			if err := js.DeleteStream(t.Context(), eventstore.StreamIntake); err != nil {
				t.Fatal(err)
			}
			_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
				Name: eventstore.StreamIntake, Subjects: []string{"intake.*"}, Retention: jetstream.WorkQueuePolicy,
				Storage: jetstream.FileStorage, Discard: c.discard, MaxAge: 7 * 24 * time.Hour,
				Duplicates: 100 * time.Millisecond, AllowDirect: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if _, err := js.Publish(t.Context(), "intake.a", []byte("{}")); err != nil {
					t.Fatal(err)
				}
			}
			log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Vault: s.vault})
			if (err != nil) != c.refused {
				t.Fatalf("opened: %v", err)
			}
			if err == nil {
				if err := log.Close(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
					t.Error(err)
				}
			}
			intake, err := js.Stream(t.Context(), eventstore.StreamIntake)
			if err != nil {
				t.Fatal(err)
			}
			if info := intake.CachedInfo(); info.Config.Retention != jetstream.WorkQueuePolicy || info.State.Msgs != 2 {
				t.Errorf("the intake is %+v with %d messages", info.Config, info.State.Msgs)
			}
		})
	}
}
