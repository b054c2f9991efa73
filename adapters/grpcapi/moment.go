package grpcapi

import (
	"context"
	"errors"
	"time"

	"comanda.internal/domain"
)

// clockSkew is how much the clocks of what records may differ, and an event may wait
// to be stored, so that a subscription from a time misses none: events of one partition
// are in the order in which they were stored, which is about that of their times.
const clockSkew = time.Minute

var errFound = errors.New("found")

// before is the place before the first event of each partition that was recorded
// at t or later; head where there is none.
func (s *eventService) before(ctx context.Context, head domain.Position, t time.Time) (domain.Position, error) {
	at := make([]uint64, s.log.Partitions())
	for p := range at {
		var err error
		if at[p], err = s.beforeIn(ctx, p, head.At(p), t); err != nil {
			return domain.Position{}, err
		}
	}
	return domain.PositionOf(at), nil
}

func (s *eventService) beforeIn(ctx context.Context, partition int, head uint64, t time.Time) (uint64, error) {
	// All up to low are long before t; what is after high may be of about that time.
	low, high := uint64(0), head
	for low < high {
		middle := low + (high-low)/2
		var recorded time.Time
		err := s.log.Scan(ctx, partition, middle, middle+1, func(r *domain.Recorded) error {
			recorded = r.Event.RecordedAt
			return nil
		})
		if err != nil {
			return 0, err
		}
		if recorded.Before(t.Add(-clockSkew)) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	err := s.log.Scan(ctx, partition, low, head, func(r *domain.Recorded) error {
		if !r.Event.RecordedAt.Before(t) {
			return errFound
		}
		low = r.Sequence
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return low, err
}
