package eventstore

import (
	"context"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
)

// Draft is an event that was decided and sealed, with the hash of the one before it.
type Draft struct {
	Event *domain.Event
	After uint64 // sequence of the order's last event; 0: it has none
}

// Place is where an event was stored.
type Place struct {
	Sequence uint64
	Hash     [32]byte // of the stored bytes
}

// AppendDrafts stores events of different orders, those of each partition as one
// atomic batch of at most 1,000, and says where each is. It is for who makes a log and is
// its only writer: nothing is sent again. After an error of kind Invalid nothing is stored;
// after one of kind Unavailable the partitions before the one that it names are, and of the
// others nothing is known.
func (l *Log) AppendDrafts(ctx context.Context, drafts []Draft) ([]Place, error) {
	places := make([]Place, len(drafts))
	messages := make([][]*nats.Msg, l.identity.Partitions)
	members := make([][]int, l.identity.Partitions)
	for i, d := range drafts {
		m, err := encode(d.Event, d.After)
		if err != nil {
			return nil, err
		}
		p := partitionOf(d.Event.OrderID.Slot(), l.identity.Partitions)
		messages[p], members[p] = append(messages[p], m), append(members[p], i)
		places[i].Hash = hashOf(m.Data)
		if len(messages[p]) > batchMost {
			return nil, domain.Errorf(domain.Invalid, "append more than %d events of a partition at once", batchMost)
		}
	}
	for p, batch := range messages {
		if len(batch) == 0 {
			continue
		}
		last, err := l.appendBatch(ctx, batch)
		if err != nil {
			return nil, domain.Errorf(domain.Unavailable, "append %d events to %s: %w", len(batch), OrdersStream(p), err)
		}
		for k, i := range members[p] {
			places[i].Sequence = last - uint64(len(batch)-1-k) //nolint:gosec // not negative
		}
	}
	return places, nil
}

func (l *Log) appendBatch(ctx context.Context, batch []*nats.Msg) (last uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
	defer cancel()
	ack, err := l.publisher.PublishBatch(ctx, batch)
	return ack.Sequence, err //nolint:wrapcheck // the caller wraps it
}
