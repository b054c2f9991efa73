package bench

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// Stored is what a log holds.
type Stored struct {
	Events, Orders, Partitions int
	Bytes                      uint64
}

// LogOf asks the server what its log holds.
func LogOf(ctx context.Context, js jetstream.JetStream) (Stored, error) {
	var s Stored
	all := js.ListStreams(ctx, jetstream.WithStreamListSubject("orders.>"))
	for info := range all.Info() {
		s.Events += int(info.State.Msgs)        //nolint:gosec // a count
		s.Orders += int(info.State.NumSubjects) //nolint:gosec // a count
		s.Bytes += info.State.Bytes
		s.Partitions++
	}
	if err := all.Err(); err != nil {
		return Stored{}, domain.Errorf(domain.Unavailable, "bench: ask what the log holds: %w", err)
	}
	return s, nil
}

// MessageBytes is the size of one stored event, at the mean; 0 of an empty log.
func (s *Stored) MessageBytes() int {
	if s.Events == 0 {
		return 0
	}
	return int(s.Bytes) / s.Events //nolint:gosec // a size on disk
}
