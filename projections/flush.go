package projections

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	bbolterrors "go.etcd.io/bbolt/errors"

	"comanda.internal/projections/kv"
)

// mostUnflushed is how many times FlushBytes memory may hold while the file
// cannot be written, before the views wait for it.
const mostUnflushed = 4

// flusher writes what only memory holds to the file, now and then.
type flusher struct {
	runner *Runner
	kicked chan struct{} // of one

	mu      sync.Mutex
	flushed chan struct{} // closed at every flush, then replaced
}

func newFlusher(r *Runner) *flusher {
	return &flusher{runner: r, kicked: make(chan struct{}, 1), flushed: make(chan struct{})}
}

// run flushes until ctx ends. The rest is for [File.Close].
func (f *flusher) run(ctx context.Context) error {
	pace := time.NewTicker(f.runner.cfg.FlushInterval)
	defer pace.Stop()
	for {
		select {
		case <-pace.C:
		case <-f.kicked:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
}

// flush tries until it is done: a full disk leaves the file as it was and is
// survived. Only the end of ctx and a closed file are errors.
func (f *flusher) flush(ctx context.Context) error {
	r := f.runner
	started := r.deps.Clock()
	for backoff := firstBackoff; ; backoff = min(2*backoff, lastBackoff) {
		r.deps.at(PointFlush)
		err := r.file.db().Flush()
		if err == nil {
			r.deps.at(PointFlushed)
			break
		}
		if errors.Is(err, bbolterrors.ErrDatabaseNotOpen) || errors.Is(err, kv.ErrDamaged) {
			return fmt.Errorf("write the views: %w", r.file.advised(err))
		}
		r.metrics.failures.Inc()
		r.deps.Logger.ErrorContext(ctx, "views cannot be written to their file; trying again",
			"error", err, "bytes_in_memory", r.file.db().Unflushed())
		if err := pause(ctx, backoff); err != nil {
			return err
		}
	}
	r.metrics.flushes.Observe(r.deps.Clock().Sub(started).Seconds())
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.flushed)
	f.flushed = make(chan struct{})
	return nil
}

// room has a flush begin when memory holds enough for one, and waits while it
// holds more than it should.
func (f *flusher) room(ctx context.Context) error {
	for {
		f.mu.Lock()
		flushed := f.flushed
		f.mu.Unlock()
		held := f.runner.file.db().Unflushed()
		if held < f.runner.cfg.FlushBytes {
			return nil
		}
		select {
		case f.kicked <- struct{}{}:
		default:
		}
		if held < mostUnflushed*f.runner.cfg.FlushBytes {
			return nil
		}
		select {
		case <-flushed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
