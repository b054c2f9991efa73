package eventstore_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/stream"
)

// follower is one of several who follow the first partition. At each of its stops it waits
// for leave to go on.
type follower struct {
	events chan domain.Recorded
	goOn   chan struct{}
	ended  chan error
}

// followTail follows from the first event, which the server has. What the log is told of
// once that has come is not forgotten.
func followTail(t *testing.T, s *store, stops ...uint64) *follower {
	t.Helper()
	f := &follower{events: make(chan domain.Recorded, 10_000), goOn: make(chan struct{}), ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		f.ended <- s.Follow(ctx, 0, 0, func(events []domain.Recorded) error {
			for i := range events {
				f.events <- events[i]
				if slices.Contains(stops, events[i].Sequence) {
					select {
					case <-f.goOn:
					case <-ctx.Done():
					}
				}
			}
			return nil
		})
		close(f.ended)
	}()
	t.Cleanup(func() { cancel(); <-f.ended })
	if first := <-f.events; first.Sequence != 1 {
		t.Fatalf("%d is the first", first.Sequence)
	}
	return f
}

// told are the messages of a log of so many orders, and a log that has the first of them.
func told(t *testing.T, orders int) (*store, []stream.Message) {
	t.Helper()
	origin, _, _ := fast(t, eventstore.Config{})
	recordAll(t, origin, 0, orders)
	messages := make([]stream.Message, orders)
	for i := range messages {
		m := stored(t, origin, uint64(i)+1)
		messages[i] = stream.Message{Subject: m.Subject, Data: m.Data, Sequence: m.Sequence}
	}
	s, _, _ := fast(t, eventstore.Config{})
	write(t, s, copied(t, origin, 1))
	return s, messages
}

// sameMemory reports whether two events were decoded once.
func sameMemory(a, b *domain.Recorded) bool {
	return unsafe.StringData(string(a.Event.ID)) == unsafe.StringData(string(b.Event.ID))
}

func TestWhatIsStoredIsDecodedOnceForAllWhoFollow(t *testing.T) {
	s, messages := told(t, 20)
	first, second := followTail(t, s), followTail(t, s, 1)
	eventstore.Tell(s.Log, 0, messages[1:]...)
	want := make([]domain.Recorded, 0, len(messages))
	for range messages[1:] {
		want = append(want, <-first.events)
	}
	close(second.goOn)
	for i := range want {
		got := <-second.events
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Fatalf("event (-first +second):\n%s", diff)
		}
		if !sameMemory(&want[i], &got) {
			t.Errorf("%d was decoded again", got.Sequence)
		}
	}
}

// Other bytes in the place of those that were decoded are decoded, too.
func TestOtherBytesAreDecodedAnew(t *testing.T) {
	s, messages := told(t, 3)
	first, second := followTail(t, s), followTail(t, s, 1)
	eventstore.Tell(s.Log, 0, messages[1])
	one := <-first.events
	other := messages[2]
	other.Sequence = one.Sequence
	eventstore.Tell(s.Log, 0, other)
	close(second.goOn)
	two := <-second.events
	if one.Sequence != 2 || two.Sequence != 2 || one.Hash == two.Hash || one.Event.OrderID == two.Event.OrderID {
		t.Errorf("order %s comes as %d, and then %s as %d", one.Event.OrderID, one.Sequence, two.Event.OrderID, two.Sequence)
	}
}

// What cannot be read, or is not where it belongs, is nobody's.
func TestCorruptIsToldToAllWhoFollow(t *testing.T) {
	for name, spoil := range map[string]func(*stream.Message){
		"noise":    func(m *stream.Message) { m.Data = []byte("noise") },
		"misfiled": func(m *stream.Message) { m.Subject = "orders.00.loja.other" },
	} {
		t.Run(name, func(t *testing.T) {
			s, messages := told(t, 2)
			first, second := followTail(t, s), followTail(t, s, 1)
			spoil(&messages[1])
			eventstore.Tell(s.Log, 0, messages[1])
			one := <-first.ended
			close(second.goOn)
			two := <-second.ended
			if domain.KindOf(one) != domain.Corrupt || domain.KindOf(two) != domain.Corrupt || one.Error() != two.Error() {
				t.Errorf("first %v, then %v", one, two)
			}
		})
	}
}

// Several follow at once while events are recorded: each has all that the log has.
func TestManyFollowTogether(t *testing.T) {
	const orders = 100
	s, _, _ := fast(t, eventstore.Config{})
	record(t, s, fact(0, 0, domain.KindPending))
	followers := make([]*follower, 4)
	for i := range followers {
		followers[i] = followTail(t, s)
	}
	recordAll(t, s, 1, orders)
	var all sync.WaitGroup
	for _, f := range followers {
		all.Go(func() {
			for sequence := range uint64(orders - 1) {
				got := <-f.events
				want, err := s.Order(t.Context(), got.Event.OrderID)
				if err != nil || got.Sequence != sequence+2 || !cmp.Equal(want, []domain.Recorded{got}) {
					t.Errorf("%d comes with order %s, which is %+v, %v", got.Sequence, got.Event.OrderID, want, err)
					return
				}
			}
		})
	}
	all.Wait()
}
