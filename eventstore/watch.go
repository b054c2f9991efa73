package eventstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
)

const (
	lookEvery   = time.Second
	canaryEvery = 5 // looks, while nothing else is written; every look while it fails
	// canarySize is more than a block of a file system, so that a full one has
	// no room left in the block that the last canary began.
	canarySize = 8 << 10
	// drain is how long a log that cannot be written again goes on saying so
	// before Watch gives up.
	drain = 3 * time.Second
)

// watch is what is known of whether the log can be written.
type watch struct {
	stored atomic.Uint64 // appends that were: each is as good as a canary
	wake   chan struct{} // an append had no answer

	mu    sync.Mutex
	why   error     // nil: it can be written
	since time.Time // of why
}

func newWatch() *watch { return &watch{wake: make(chan struct{}, 1)} }

// suspect has Watch look at once.
func (w *watch) suspect() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) state() (since time.Time, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.since, w.why
}

// set reports whether the answer to "can it be written" changed.
func (w *watch) set(why error, now time.Time) (changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed = (why == nil) != (w.why == nil)
	if changed {
		w.since = now
	}
	w.why = why
	return changed
}

// Writable is nil, or of kind Unavailable and says why nothing can be stored at
// present. It is what [Log.Watch] saw last; appends are refused as long as it is an error.
func (l *Log) Writable() error {
	_, why := l.watch.state()
	if why == nil {
		return nil
	}
	return domain.Errorf(domain.Unavailable, "the log cannot be written: %w", why)
}

// Watch looks, until ctx ends, whether the log can be written: it asks
// Config.Health, and writes a canary whenever nothing else was written for a
// while or an append had no answer. A full disk is found out this way: the server
// answers no publish after it until it is started again (nats-server,
// server/stream.go, setWriteErrLocked).
//
// It returns nil when ctx ends, and an error of kind Unavailable when the log
// could not be written for Config.GiveUp, or when the server itself says that it
// will not write again: who runs the process should then start it anew.
func (l *Log) Watch(ctx context.Context) error {
	var seen uint64      // stored
	quiet := canaryEvery // looks since anything was written
	for {
		woken, ok := l.await(ctx)
		if !ok {
			return nil
		}
		quiet++
		if stored := l.watch.stored.Load(); stored != seen {
			seen, quiet = stored, 0
		}
		_, before := l.watch.state()
		canary := before != nil || quiet >= canaryEvery || woken && quiet > 0
		final, why := l.look(ctx, canary)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end of ctx is none
		}
		if canary {
			quiet = 0
		}
		now := l.cfg.Clock()
		if l.watch.set(why, now) {
			l.tell(ctx, why)
		}
		if since, _ := l.watch.state(); why != nil && l.givesUp(now.Sub(since), final) {
			return l.Writable()
		}
	}
}

// await waits for the next look, and says whether an append asks for it; not ok:
// ctx ended.
func (l *Log) await(ctx context.Context) (woken, ok bool) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.watch.wake:
		woken = true
	case <-ctx.Done():
	}
	return woken, ctx.Err() == nil
}

func (l *Log) givesUp(failing time.Duration, final bool) bool {
	return l.cfg.GiveUp > 0 && (failing >= l.cfg.GiveUp || final && failing >= drain)
}

func (l *Log) tell(ctx context.Context, why error) {
	if why != nil {
		l.cfg.Logger.ErrorContext(ctx, "the log cannot be written: nothing is acknowledged", "error", why)
		return
	}
	l.cfg.Logger.InfoContext(ctx, "the log can be written again")
}

// look says why the log cannot be written; final: until the server is started again.
func (l *Log) look(ctx context.Context, canary bool) (final bool, why error) {
	if err := l.cfg.Health(); err != nil {
		return true, err
	}
	if !canary {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	m := &nats.Msg{Subject: canarySubject, Data: make([]byte, canarySize)}
	if _, err := l.publisher.Publish(ctx, m); err != nil {
		return false, fmt.Errorf("canary: %w", err)
	}
	return false, nil
}

// unhealthy is an error of kind Unavailable when the server says that it cannot
// write. What it holds may then not be on disk: a batch whose fsync failed can be read
// until the server ends, and is gone after it.
func (l *Log) unhealthy() error {
	if err := l.cfg.Health(); err != nil {
		l.watch.suspect()
		return domain.Errorf(domain.Unavailable, "what the log holds may not be on disk: %w", err)
	}
	return nil
}
