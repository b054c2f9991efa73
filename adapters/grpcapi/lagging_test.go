package grpcapi_test

import (
	"context"
	"testing"
	"time"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// lagging is a log whose followers are told of nothing until they may be.
type lagging struct {
	grpcapi.Log

	may  chan struct{} // closed
	read chan struct{} // a value for each scan that has ended
}

func (l *lagging) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	err := l.Log.Scan(ctx, partition, after, upTo, handle)
	l.read <- struct{}{}
	return err
}

func (l *lagging) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	return l.Log.Follow(ctx, partition, after, func(events []domain.Recorded) error {
		select {
		case <-l.may:
		case <-ctx.Done():
			return ctx.Err()
		}
		return handle(events)
	})
}

// TestWhoJoinsALaggingRingIsCaughtUpWithoutAMatch subscribes while the ring is
// behind the head of the log, with a filter that nothing of the rest passes: the ring moves the
// subscriber past the head, and it is told so before the next heartbeat.
func TestWhoJoinsALaggingRingIsCaughtUpWithoutAMatch(t *testing.T) {
	store := newStore(t)
	store.record(0, domain.KindPending)
	deps := store.deps()
	log := &lagging{Log: deps.Log, may: make(chan struct{}), read: make(chan struct{}, 100)}
	deps.Log = log
	s := serve(t, grpcapi.Config{Heartbeat: time.Hour}, deps)
	first := subscribe(t, s, fromBeginning())
	first.catchUp()
	for len(log.read) > 0 {
		<-log.read // of the first
	}
	for n := range 8 {
		store.record(n+1, domain.KindPending)
	}
	late := subscribe(t, s, with(fromBeginning(), &comandav1.EventFilter{Tenants: []string{"ninguem"}}))
	if _, err := late.stream.Header(); err != nil {
		t.Fatal(err)
	}
	<-log.read // it is where the ring is
	close(log.may)
	done := make(chan struct{})
	go func() {
		defer close(done)
		late.catchUp()
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("not caught up")
	}
}
