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
// that, one by one. One that is a work queue, as logs made before have it, stays one: a
// server does not change that of a stream (nats-server 2.15, server/stream.go,
// configUpdateCheck), and to remove it is not safe while another instance, or a sender,
// may be there. An operator may, once all that use it have stopped and it is empty.
func (l *Log) intakeConfig(ctx context.Context) (jetstream.StreamConfig, error) {
	intake := base(StreamIntake, l.cfg.Replicas, "intake.*")
	intake.Description = "messages of the checkout that wait to be recorded"
	intake.MaxAge = intakeAge
	intake.Duplicates = intakeWindow
	intake.AllowAtomicPublish = true
	info, err := stream.Await(ctx, l.js, StreamIntake)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
	case err != nil:
		return intake, domain.Errorf(domain.Unavailable, "open stream %s: %w", StreamIntake, err)
	case info.Config.Retention == jetstream.WorkQueuePolicy:
		intake.Retention = jetstream.WorkQueuePolicy
		l.cfg.Logger.InfoContext(ctx, "intake is a work queue, as of a log made before, which is slower")
	}
	return intake, nil
}
