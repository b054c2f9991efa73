package eventstore

import (
	"context"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
	"comanda.internal/proto/wire"
)

// Stored is Scan for who decodes later, or never: it hands over a thousand events
// at a time at the most, each as the log holds it. What handle is given is its own.
func (l *Log) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	if partition < 0 || partition >= len(l.readers) {
		return domain.Errorf(domain.Invalid, "partition %d: the log has %d", partition, len(l.readers))
	}
	if after >= upTo {
		return nil
	}
	last := after
	_, err := l.read(ctx, partition, after, upTo, false, func(ms []stream.Message) error {
		events := make([]domain.Stored, len(ms))
		for i := range ms {
			if ms[i].Sequence != last+1 {
				return eventsMissing(partition, last, ms[i].Sequence)
			}
			last = ms[i].Sequence
			if err := split(partition, &ms[i], &events[i]); err != nil {
				return err
			}
		}
		return handle(events)
	})
	if err == nil && last < upTo {
		return eventsMissing(partition, last, upTo+1)
	}
	return err
}

// split reads no more of m than it must.
func split(partition int, m *stream.Message, to *domain.Stored) error {
	encoded, order, ok := wire.Split(m.Data)
	if !ok {
		e, own, err := wire.Decode(m.Data)
		if err == nil && own == nil {
			own, err = wire.EncodeEvent(&e)
		}
		if err != nil {
			return domain.Errorf(domain.Corrupt, "%s at %d: %w", OrdersStream(partition), m.Sequence, err)
		}
		encoded, order = own, e.OrderID
	}
	*to = domain.Stored{Order: order, Partition: partition, Sequence: m.Sequence, Hash: hashOf(m.Data), Encoded: encoded}
	return nil
}
