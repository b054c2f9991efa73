package grpcapi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
)

// The reasons of a Closing message, beside those of package groups.
const (
	closingShutdown = "shutting_down"
	closingLog      = "log_unavailable"
	closingAccess   = "access_ended"
	closingStopped  = "stopped"
)

var errShuttingDown = domain.Errorf(domain.Unavailable, "the server is shutting down")

// closedError is an end that the server causes. Its status says what the Closing message
// before it says, for a client to which that could not be sent.
type closedError struct {
	error

	reason, token string
}

func (e *closedError) Unwrap() error { return e.error }

// endings ends streams whose clients do not read.
//
// What is sent to a client waits in its stream for the client to read, up to 64 kB on
// the server and as much as the client allows, and what is to be sent then waits for
// room. So nothing more can be said to a client that reads nothing; but the status of
// a stream waits for no room, only for what was sent before it: the client that reads on,
// while the connection lasts, reads that, and then why the stream has ended, and where. gRPC
// ends a send that waits only when the handler has returned, so that handlers run in a
// goroutine of their own.
type endings struct {
	closing <-chan struct{}
	within  time.Duration
	running sync.WaitGroup
}

// run runs a handler. When the server ends the stream, and the handler is not done within
// the bound, the stream's end is what cut says.
func (e *endings) run(ctx context.Context, handler func() error, cut func(reason string, cause error) error) error {
	ended := make(chan error, 1)
	e.running.Go(func() {
		_, err := recovered(func() (any, error) { return nil, handler() })
		ended <- err
	})
	select {
	case err := <-ended:
		return err
	case <-e.closing:
	case <-ctx.Done():
		if access.Lost(ctx) == nil {
			return <-ended // for nothing is sent to who has gone
		}
	}
	bound := time.NewTimer(e.within)
	defer bound.Stop()
	select {
	case err := <-ended:
		return err
	case <-bound.C:
	}
	if lost := access.Lost(ctx); lost != nil {
		return cut(closingAccess, lost)
	}
	return cut(closingShutdown, errShuttingDown)
}

// wait waits for handlers whose streams have ended.
func (e *endings) wait() { e.running.Wait() }

// whyClosed is the reason of an end that the server causes; "": it does not.
func whyClosed(ctx context.Context, err error) (reason string, cause error) {
	lost := access.Lost(ctx)
	switch {
	case lost != nil:
		return closingAccess, lost
	case ctx.Err() != nil:
		return "", err
	case errors.Is(err, errShuttingDown):
		return closingShutdown, err
	default:
		return closingLog, err
	}
}

// sentPlace is where a stream is, by what was sent. One goroutine writes it, others may read it.
type sentPlace []atomic.Uint64

func newSentPlace(partitions int, at domain.Position) sentPlace {
	s := make(sentPlace, partitions)
	s.move(at)
	return s
}

func (s sentPlace) move(at domain.Position) {
	for p := range s {
		s[p].Store(at.At(p))
	}
}

func (s sentPlace) at() domain.Position {
	sequences := make([]uint64, len(s))
	for p := range s {
		sequences[p] = s[p].Load()
	}
	return domain.PositionOf(sequences)
}
