package eventstore

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// intakeConfig is the intake's stream. Its messages are removed by purges, many at once
// (adapters/checkout): a work queue would remove each when it is acknowledged, and sync
// that, one by one.
func (l *Log) intakeConfig() jetstream.StreamConfig {
	intake := base(StreamIntake, l.cfg.Replicas, intakeSubjects)
	intake.Description = "messages of the checkout that wait to be recorded"
	intake.MaxAge = intakeAge
	intake.Duplicates = intakeWindow
	intake.AllowAtomicPublish = true
	return intake
}

const (
	intakeSubjects = "intake.*"
	// intakeClosed are the subjects of an intake that is being made anew. Nobody may
	// publish to them, so a sender is told that nobody is there, and tries again.
	intakeClosed = "intake-closed.*"
	intakeLast   = "intake-closed.last"
)

// renewIntake makes room for the intake where it is the work queue that it was in logs
// made before: a server does not change that of a stream (nats-server 2.15,
// server/stream.go, configUpdateCheck), so it is removed when it is empty. One that holds
// messages, or is being read, is left as it is, which is slower and no less safe, until
// a start finds it empty. The answer is what the stream is to be.
func (l *Log) renewIntake(ctx context.Context) (jetstream.StreamConfig, error) {
	want := l.intakeConfig()
	info, err := stream.Await(ctx, l.js, StreamIntake)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return want, nil
	case err != nil:
		return want, domain.Errorf(domain.Unavailable, "open stream %s: %w", StreamIntake, err)
	case info.Config.Retention != jetstream.WorkQueuePolicy:
		return want, nil
	case l.cfg.Inspect:
		return info.Config, nil
	case info.Config.Discard != jetstream.DiscardNew: // a limit would remove what is there; it is refused
		want.Retention = jetstream.WorkQueuePolicy
		return want, nil
	}
	removed, err := l.removeQueue(ctx, info.Config)
	if err != nil {
		return want, domain.Errorf(domain.Unavailable, "renew stream %s: %w", StreamIntake, err)
	}
	if removed {
		want.Compression, want.Placement = info.Config.Compression, info.Config.Placement
		want.Replicas = max(want.Replicas, info.Config.Replicas)
		l.cfg.Logger.InfoContext(ctx, "intake is made anew: it was an empty work queue")
		return want, nil
	}
	l.cfg.Logger.WarnContext(ctx, "intake stays a work queue, which is slower, until a start finds it empty")
	want.Retention = jetstream.WorkQueuePolicy
	return want, nil
}

// removeQueue removes the work queue have if it is empty, and opens it again if not. It
// is closed first, and then takes one message more and no other: ours, and if the server
// takes that, nothing else is in it, nor can be. An earlier try may have been cut off anywhere.
func (l *Log) removeQueue(ctx context.Context, have jetstream.StreamConfig) (removed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, stream.StartTimeout)
	defer cancel()
	have.Subjects, have.MaxMsgs = []string{intakeClosed}, 1
	s, err := l.js.UpdateStream(ctx, have)
	if err != nil {
		return false, err //nolint:wrapcheck // the caller says of what
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(intakeClosed)); err != nil {
		return false, err //nolint:wrapcheck // the caller says of what
	}
	idle, err := unread(ctx, s)
	if err != nil {
		return false, err
	}
	if idle {
		_, err = l.js.Publish(ctx, intakeLast, nil)
		if err == nil {
			// A stream that is made while the server still removes an older one of that name
			// has what this one held (nats-server 2.15, server/filestore.go, Delete).
			if err := s.Purge(ctx, jetstream.WithPurgeSubject(intakeClosed)); err != nil {
				return false, err //nolint:wrapcheck // the caller says of what
			}
			return true, l.js.DeleteStream(ctx, StreamIntake) //nolint:wrapcheck // the caller says of what
		}
		if stream.CodeOfClient(err) != stream.CodeStoreFailed {
			return false, err //nolint:wrapcheck // the caller says of what
		}
	}
	have.Subjects, have.MaxMsgs = []string{intakeSubjects}, -1
	_, err = l.js.UpdateStream(ctx, have)
	return false, err //nolint:wrapcheck // the caller says of what
}

// unread reports whether nobody takes messages from s, as another instance does.
func unread(ctx context.Context, s jetstream.Stream) (bool, error) {
	waiting := 0
	consumers := s.ListConsumers(ctx)
	for c := range consumers.Info() {
		waiting += c.NumWaiting
	}
	return waiting == 0, consumers.Err() //nolint:wrapcheck // the caller says of what
}
