package eventstore

import (
	"context"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// Follow hands every event of a partition after the sequence after to handle, in
// order and in batches of what is there, and then live. It survives lost connections and
// moved leaders by itself. What this log appended comes when it is acknowledged, before the
// server hands it out. It returns nil when ctx ends, and otherwise the error of
// handle, or one of kind Corrupt: an event that cannot be read, or one that is missing.
//
// handle may keep the events, not the slice. What an event points to is shared by all who
// follow: what this log appended is decoded by the first of them. Nobody changes it.
func (l *Log) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	if partition < 0 || partition >= len(l.readers) {
		return domain.Errorf(domain.Invalid, "partition %d: the log has %d", partition, len(l.readers))
	}
	var batch []domain.Recorded
	return l.readers[partition].Follow(ctx, after, nil, func(ms []stream.Message) error { //nolint:wrapcheck // handle's own, or Corrupt
		batch = batch[:0]
		for i := range ms {
			if ms[i].Sequence != after+1 {
				return eventsMissing(partition, after, ms[i].Sequence)
			}
			r, err := l.decodeOnce(partition, &ms[i])
			if err != nil {
				return err
			}
			batch, after = append(batch, r), ms[i].Sequence
		}
		return handle(batch)
	})
}
