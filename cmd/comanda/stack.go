package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// stack is what runs, in the order in which it was started. It stops in the
// reverse order, each part within its own time, so that nothing is stopped while
// something above still needs it.
type stack struct {
	logger *slog.Logger
	parts  []part
	failed chan error // the first failure of a part that should be running
	once   sync.Once
}

// part is one thing to stop.
type part struct {
	name  string
	grace time.Duration
	stop  func(ctx context.Context) error
}

// stopGrace bounds the stop of a part that needs no longer.
const stopGrace = 10 * time.Second

func newStack(logger *slog.Logger) *stack {
	return &stack{logger: logger, failed: make(chan error, 1)}
}

// push adds a part that was started.
func (s *stack) push(name string, stop func(ctx context.Context) error) {
	s.parts = append(s.parts, part{name: name, grace: stopGrace, stop: stop})
}

// pushClose adds a part that stops at once.
func (s *stack) pushClose(name string, stop func() error) {
	s.push(name, func(context.Context) error { return stop() })
}

// spawn runs a part until it is stopped. Its error, or its end before that, is
// a failure of the whole.
func (s *stack) spawn(ctx context.Context, name string, run func(ctx context.Context) error) {
	s.spawnFor(ctx, name, stopGrace, run)
}

// spawnFor is spawn of a part that may need grace to end.
func (s *stack) spawnFor(ctx context.Context, name string, grace time.Duration, run func(ctx context.Context) error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := run(running)
		if running.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
			return
		}
		if err == nil {
			err = errors.New("ended by itself")
		}
		s.fail(fmt.Errorf("%s: %w", name, err))
	}()
	s.parts = append(s.parts, part{name: name, grace: grace, stop: func(ctx context.Context) error {
		cancel()
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return errors.New("does not end")
		}
	}})
}

// fail tells the failed channel of the first failure.
func (s *stack) fail(err error) {
	s.once.Do(func() { s.failed <- err })
}

// stop stops every part, the last first, and joins what went wrong.
func (s *stack) stop(ctx context.Context) error {
	var errs []error
	for _, p := range slices.Backward(s.parts) {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.grace)
		if err := p.stop(bounded); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
		cancel()
		s.logger.DebugContext(ctx, "stopped", "part", p.name)
	}
	s.parts = nil
	return errors.Join(errs...)
}
