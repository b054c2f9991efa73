package eventstore

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/eventstore/stream"
)

// outcome is what became of an append.
type outcome int

const (
	// outcomeStored is durable.
	outcomeStored outcome = iota
	// outcomeDuplicate says that the event's id was stored before.
	outcomeDuplicate
	// outcomeConflict says that the order is not where it was thought to be.
	outcomeConflict
	// outcomeUnknown says that it may be stored or not: read back.
	outcomeUnknown

	outcomeCount
)

// String is the outcome's word, as in the metrics.
func (o outcome) String() string {
	return [outcomeCount]string{"stored", "duplicate", "conflict", "unknown"}[o]
}

const (
	pauseInProcess = 5 * time.Millisecond // at first
	pauseNoAnswer  = 100 * time.Millisecond
)

// classify says what one answer of the server means, and whether sending the same
// message again may tell more.
func classify(ack stream.Ack, err error) (o outcome, again bool) {
	if err == nil {
		if ack.Duplicate {
			return outcomeDuplicate, false
		}
		return outcomeStored, false
	}
	switch stream.CodeOf(err) {
	case stream.CodeWrongLast, stream.CodeWrongLastInFlight:
		return outcomeConflict, false
	case stream.CodeResources, stream.CodeAccountLimit, stream.CodeStorage, stream.CodeStoreFailed, stream.CodeMessageTooLarge:
		// This try stored nothing, but an earlier one of the same message may have.
		return outcomeUnknown, false
	default:
		return outcomeUnknown, true
	}
}

// append sends m until its outcome is known, the tries are used up or ctx ends.
// err says why an outcome is unknown.
func (l *Log) append(ctx context.Context, partition int, m *nats.Msg) (sequence uint64, o outcome, err error) {
	timer := prometheus.NewTimer(l.metrics.seconds)
	defer func() {
		timer.ObserveDuration()
		l.metrics.appends.WithLabelValues(o.String()).Inc()
	}()
	var inProcess time.Duration // waited for a twin of m
	for try := 1; ; {
		ack, err := l.try(ctx, partition, m)
		o, again := classify(ack, err)
		if o != outcomeUnknown {
			if o == outcomeStored {
				l.watch.stored.Add(1)
			}
			return ack.Sequence, o, nil
		}
		if errors.Is(err, stream.ErrNoAnswer) && ctx.Err() == nil {
			l.watch.suspect()
			again = again && l.Writable() == nil
		}
		wait := pauseNoAnswer
		if stream.CodeOf(err) == stream.CodeInProcess {
			// The same fact through another instance is on its way through the
			// replicas: an answer will come, only not to this try.
			wait = min(pauseInProcess+inProcess/4, pauseNoAnswer)
			inProcess += wait
		} else {
			try++
		}
		if !again || try > l.cfg.AppendTries || inProcess > l.cfg.AppendTimeout || !pause(ctx, wait) {
			return 0, o, err
		}
	}
}

func (l *Log) try(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	return l.send(ctx, partition, m)
}

// sender sends a message to a partition once and answers what the server does.
type sender func(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error)

func (l *Log) submit(ctx context.Context, partition int, m *nats.Msg) (stream.Ack, error) {
	return l.committers[partition].submit(ctx, m)
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
