package checkout

import (
	"context"
	"hash/maphash"
	"sync"
	"time"
)

// crew is the workers. A job's lane picks its worker, so jobs of one lane are
// done one after the other, in the order in which they were handed over.
type crew struct {
	queues []chan *job
	seed   maphash.Seed
	done   sync.WaitGroup

	mu     sync.Mutex
	inHand map[*job]struct{}
	rest   chan struct{} // closed: nothing is in hand any more
	beats  sync.WaitGroup
}

// startCrew starts the workers; stop ends them. After ctx ended they give back
// what they have not begun.
func (c *Checkout) startCrew(ctx context.Context) *crew {
	w := &crew{
		queues: make([]chan *job, c.cfg.Workers), seed: maphash.MakeSeed(),
		inHand: make(map[*job]struct{}), rest: make(chan struct{}),
	}
	w.beats.Go(func() { w.beat(c.cfg.AckWait / 3) })
	for i := range w.queues {
		// A queue holds all that the server gives out at once, so that one slow
		// lane does not hold back the others.
		queue := make(chan *job, c.cfg.MaxAckPending)
		w.queues[i] = queue
		w.done.Go(func() {
			for j := range queue {
				c.work(ctx, j)
				w.drop(j)
			}
		})
	}
	return w
}

// hand gives j to its worker; false when ctx ended first, and then j goes back.
func (w *crew) hand(ctx context.Context, j *job) bool {
	w.take(j)
	queue := w.queues[maphash.String(w.seed, j.lane())%uint64(len(w.queues))]
	select {
	case queue <- j:
		return true
	case <-ctx.Done():
		w.drop(j)
		j.msg.Nak() //nolint:errcheck,gosec // AckWait gives it back as well
		return false
	}
}

// stop waits until every job is done or given back.
func (w *crew) stop() {
	for _, queue := range w.queues {
		close(queue)
	}
	w.done.Wait()
	close(w.rest)
	w.beats.Wait()
}

func (w *crew) take(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inHand[j] = struct{}{}
}

func (w *crew) drop(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.inHand, j)
}

// beat tells the server every so often what is in hand here, waiting or worked
// on: so AckWait may be short, and only a process that died lets it pass.
func (w *crew) beat(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-w.rest:
			return
		case <-ticker.C:
			w.hold()
		}
	}
}

func (w *crew) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for j := range w.inHand {
		j.msg.InProgress() //nolint:errcheck,gosec // at worst the message comes again, a duplicate
	}
}
