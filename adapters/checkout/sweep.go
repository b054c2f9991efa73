package checkout

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// sweepEvery is the time between two sweeps; each costs a few fsyncs, for however
	// many messages.
	sweepEvery = 250 * time.Millisecond
	// sweepLimit bounds one.
	sweepLimit = 5 * time.Second
)

// sweeps says when to sweep.
type sweeps struct {
	due  atomic.Bool  // something was acknowledged since the last one
	held atomic.Int64 // how many are left out
}

// hold leaves out the sweeps until after a message was given out again that waits so
// long for it: a purge takes what is due again out of the server's queue for that, and it
// comes only after AckWait (nats-server 2.15, server/consumer.go, purge).
func (s *sweeps) hold(delay time.Duration) {
	out := int64((delay + time.Second) / sweepEvery)
	for {
		held := s.held.Load()
		if held >= out || s.held.CompareAndSwap(held, out) {
			return
		}
	}
}

// turn reports whether it is time for one.
func (s *sweeps) turn() bool {
	if s.held.Load() > 0 {
		s.held.Add(-1)
		return false
	}
	return s.due.Swap(false)
}

// keepSwept removes from the stream, until ctx ends, what was acknowledged. A crash
// leaves there what the last sweep did not take: the consumer knows most of it as
// acknowledged, and the rest comes again, as duplicates.
func (c *Checkout) keepSwept(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if c.sweeps.turn() {
				c.trySweep(ctx)
			}
		}
	}
}

// trySweep sweeps; what is left, or fails, is for the next one.
func (c *Checkout) trySweep(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	left, err := c.sweep(limited)
	if err != nil && ctx.Err() == nil {
		c.logger.WarnContext(ctx, "what is done stays in the intake for now", "error", err)
	}
	if left || err != nil {
		c.sweeps.due.Store(true)
	}
}

// sweep purges up to the consumer's floor, below which all messages are acknowledged,
// by whichever instance had them. One that waits for another try holds it back; the
// messages above it stay meanwhile, and are not given out again. left: not all is gone.
func (c *Checkout) sweep(ctx context.Context) (left bool, err error) {
	s, err := c.js.Stream(ctx, Stream)
	if err != nil {
		return false, fmt.Errorf("look for stream %s: %w", Stream, err)
	}
	info := s.CachedInfo()
	if info.Config.Retention == jetstream.WorkQueuePolicy { // removes them by itself
		return false, nil
	}
	consumer, err := s.Consumer(ctx, Durable)
	if err != nil {
		return false, fmt.Errorf("ask for the floor of stream %s: %w", Stream, err)
	}
	floor := consumer.CachedInfo().AckFloor.Stream
	left = floor < info.State.LastSeq
	if floor < info.State.FirstSeq { // also when nothing is there
		return left, nil
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(floor+1)); err != nil {
		return false, fmt.Errorf("purge stream %s up to %d: %w", Stream, floor, err)
	}
	return left, nil
}
