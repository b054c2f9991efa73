package eventstore

import (
	"crypto/sha256"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
	"comanda.internal/proto/wire"
)

// HeaderType carries the event's type, as "order.approved".
const HeaderType = "Comanda-Type"

const (
	headerExpected = "Nats-Expected-Last-Subject-Sequence"
	headerID       = "Nats-Msg-Id"
)

func hashOf(data []byte) [32]byte { return sha256.Sum256(data) }

// encode is e as the log stores it, to be appended after expected, the sequence
// of the order's last event.
func encode(e *domain.Event, expected uint64) (*nats.Msg, error) {
	data, err := wire.Encode(e) // in one form, which readers recognise
	if err != nil {
		return nil, domain.Errorf(domain.Invalid, "encode %s: %w", e.ID, err)
	}
	return &nats.Msg{
		Subject: orderSubject(e.Tenant, e.OrderID),
		Header: nats.Header{
			headerID:       []string{string(e.ID)},
			headerExpected: []string{strconv.FormatUint(expected, 10)},
			HeaderType:     []string{e.Type()},
		},
		Data: data,
	}, nil
}

// decode reads a stored message. An error is of kind Corrupt and names the place.
func (l *Log) decode(partition int, m *stream.Message) (domain.Recorded, error) {
	var r domain.Recorded
	_, err := decode(partition, m, &r)
	if err == nil {
		err = misfiled(&r.Event, m.Subject, partition, l.identity.Partitions)
	}
	if err != nil {
		return domain.Recorded{}, domain.Errorf(domain.Corrupt, "%s at %d: %w", OrdersStream(partition), m.Sequence, err)
	}
	return r, nil
}

// decodeOnce is decode for those who follow: m is decoded by the first of them, or a few
// at the same time, and by each when it cannot be, or came from the server.
func (l *Log) decodeOnce(partition int, m *stream.Message) (domain.Recorded, error) {
	if m.Made == nil {
		return l.decode(partition, m)
	}
	if made, ok := m.Made.Load().(*domain.Recorded); ok {
		return *made, nil
	}
	r, err := l.decode(partition, m)
	if err == nil {
		made := r // on the heap, which r is not
		m.Made.Store(&made)
	}
	return r, err
}

// decode reads m into r, which holds nothing when there is an error. text is as in [wire.DecodeInto].
func decode(partition int, m *stream.Message, r *domain.Recorded) (text string, err error) {
	r.Partition, r.Sequence, r.Hash = partition, m.Sequence, hashOf(m.Data)
	r.Encoded, text, err = wire.DecodeInto(&r.Event, m.Data)
	return text, err //nolint:wrapcheck // says what is wrong; the caller adds where
}

// misfiled says why e does not belong on subject, or in partition.
func misfiled(e *domain.Event, subject string, partition, partitions int) error {
	if own := e.Fact.Identity(e.Tenant).OrderID(); own != e.OrderID {
		return domain.Errorf(domain.Corrupt, "event %s of order %s has the identity of order %s", e.ID, e.OrderID, own)
	}
	slot := e.OrderID.Slot()
	if want := slotSubject(slot, string(e.Tenant), e.OrderID); subject != want {
		return domain.Errorf(domain.Corrupt, "event %s is on subject %s, should be on %s", e.ID, subject, want)
	}
	if want := partitionOf(slot, partitions); partition != want {
		return domain.Errorf(domain.Corrupt, "event %s is in partition %d, should be in %d", e.ID, partition, want)
	}
	return nil
}

// DecodeMsg reads a message that a consumer of one's own received from one of
// the log's streams.
func (l *Log) DecodeMsg(m jetstream.Msg) (domain.Recorded, error) {
	meta, err := m.Metadata()
	if err != nil {
		return domain.Recorded{}, domain.Errorf(domain.Invalid, "read a message of the log: %w", err)
	}
	partition, ok := PartitionOf(meta.Stream)
	if !ok {
		return domain.Recorded{}, domain.Errorf(domain.Invalid, "read a message of the log: stream %s is not part of it", meta.Stream)
	}
	return l.decode(partition, &stream.Message{Subject: m.Subject(), Data: m.Data(), Sequence: meta.Sequence.Stream})
}
