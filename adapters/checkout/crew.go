package checkout

import (
	"context"
	"hash/maphash"
	"sync"
)

// crew is the workers. A job's lane picks its worker, so jobs of one lane are
// done one after the other, in the order in which they were handed over.
type crew struct {
	queues []chan *job
	seed   maphash.Seed
	done   sync.WaitGroup
}

// startCrew starts the workers; stop ends them. After ctx ended they give back
// what they have not begun.
func (c *Checkout) startCrew(ctx context.Context) *crew {
	w := &crew{queues: make([]chan *job, c.cfg.Workers), seed: maphash.MakeSeed()}
	for i := range w.queues {
		// A queue holds all that the server gives out at once, so that one slow
		// lane does not hold back the others.
		queue := make(chan *job, c.cfg.MaxAckPending)
		w.queues[i] = queue
		w.done.Go(func() {
			for j := range queue {
				c.work(ctx, j)
			}
		})
	}
	return w
}

// hand gives j to its worker; false when ctx ended first, and then j goes back.
func (w *crew) hand(ctx context.Context, j *job) bool {
	queue := w.queues[maphash.String(w.seed, j.lane())%uint64(len(w.queues))]
	select {
	case queue <- j:
		return true
	case <-ctx.Done():
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
}
