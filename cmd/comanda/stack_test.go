package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"comanda.internal/adapters/checkout"
)

// What records a last message has the time for it, and for the server's word, that its configuration
// gives it: a stop that takes so long is a clean one. Nobody else may take as long.
func TestAPartHasItsOwnGrace(t *testing.T) {
	cfg := checkout.Config{RecordTimeout: time.Minute, AckWait: 2 * time.Minute}
	for _, c := range []struct {
		name         string
		grace, takes time.Duration
		clean        bool
	}{
		{"the last try and the answer", cfg.StopTime(), cfg.RecordTimeout + stopGrace, true},
		{"the defaults", checkout.Config{}.StopTime(), stopGrace + 10*time.Second, true},
		{"no grace of its own", stopGrace, stopGrace + time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock is its own
				s := newStack(slog.New(slog.DiscardHandler))
				ended := make(chan struct{})
				s.spawnFor(t.Context(), "part", c.grace, func(ctx context.Context) error {
					defer close(ended)
					<-ctx.Done()
					timer := time.NewTimer(c.takes)
					<-timer.C
					return nil
				})
				if err := s.stop(t.Context()); (err == nil) != c.clean {
					t.Errorf("%v", err)
				}
				<-ended
			})
		})
	}
}
