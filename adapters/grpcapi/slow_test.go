package grpcapi_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
)

// reading is a log that counts what is read of it for whoever calls as slow.
type reading struct {
	grpcapi.Log

	mu    sync.Mutex
	asked domain.Position // up to where
	taken domain.Position // by the client
	most  uint64          // that were asked for and not taken
}

func (r *reading) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	if in, _ := metadata.FromIncomingContext(ctx); len(in.Get("slow")) > 0 {
		r.mu.Lock()
		r.asked = r.asked.Merge(domain.Position{}.With(partition, upTo))
		held := uint64(0)
		for p := range partitions {
			held += max(r.asked.At(p), r.taken.At(p)) - r.taken.At(p)
		}
		r.most = max(r.most, held)
		r.mu.Unlock()
	}
	return r.Log.Scan(ctx, partition, after, upTo, handle)
}

func (r *reading) took(place domain.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken = place
}

// heldFor is what the log was read for at the most, and the client had not taken.
func (r *reading) heldFor() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// TestAClientThatReadsAMessageASecond takes one message each second of the server's clock, in
// which a thousand events are recorded. Another client, of the same connection, gets all of
// them in the same second. However far behind the first is, what the server holds for it is
// bounded: the ring, which is everybody's, by its size; what is read of the log for it
// alone, by a page of the smallest size, and what is on its way, by the buffers of its stream.
// In the end it has missed nothing.
func TestAClientThatReadsAMessageASecond(t *testing.T) {
	const (
		seconds, aSecond = 3, 1000
		ringSize         = 512 << 10
		// The smallest page, for every partition one that is begun, and events of some
		// hundred bytes in 64 kB on each side of the connection.
		mostHeld = 600
	)
	store := newStore(t)
	log, deps, registry := &reading{Log: store.log}, store.deps(), prometheus.NewRegistry()
	began := time.Now()
	var now atomic.Int64 // seconds
	deps.Log, deps.Registerer = log, registry
	deps.Clock = func() time.Time { return began.Add(time.Duration(now.Load()) * time.Second) }
	s := serve(t, grpcapi.Config{RingBytes: ringSize}, deps)

	fast := subscribe(t, s, fromNow())
	fast.catchUp()
	slow := subscribeIn(metadata.AppendToOutgoingContext(t.Context(), "slow", "1"), t, s, fromNow())
	slow.catchUp()
	want, got := map[string]bool{}, []string(nil)
	take := func() {
		if e := slow.next().GetEvent(); e != nil {
			got = append(got, e.GetEvent().GetEventId())
		}
		log.took(slow.place)
	}
	for range seconds {
		ids := make(chan string, aSecond)
		go func() {
			defer close(ids)
			for range aSecond {
				ids <- fast.event().GetEvent().GetEventId()
			}
		}()
		recorded := store.many(int(now.Load())*aSecond, aSecond/len(someKinds))
		var told []string
		for id := range ids {
			told = append(told, id)
		}
		same(t, recorded, told)
		for id := range recorded {
			want[id] = true
		}
		now.Add(1)
		take()
		if held := log.heldFor(); held > mostHeld {
			t.Errorf("after %d s, %d events were read for a client that has not taken them", now.Load(), held)
		}
		if held := metric(t, registry, "comanda_grpcapi_ring_bytes"); held > ringSize || held == 0 {
			t.Errorf("after %d s, the ring holds %.0f bytes", now.Load(), held)
		}
	}
	if len(got) > seconds {
		t.Fatalf("%d messages in %d s", len(got), seconds)
	}
	behind := uint64(len(want) - len(got))
	for len(got) < len(want) {
		now.Add(1) // it takes what it can now, and each still takes its time
		take()
	}
	same(t, want, got)
	if held := log.heldFor(); held > mostHeld || held == 0 {
		t.Errorf("%d of %d events were read for a client that had not taken them", held, behind)
	}
	if slow.behind == 0 {
		t.Error("it was not told that it fell behind")
	}
}
