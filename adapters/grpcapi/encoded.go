package grpcapi

import (
	"bytes"
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// encoded is a message whose bytes are ready: it goes to the transport as it is. The
// transport only reads them, so that several streams may send one message at once, as
// they may a [grpc.PreparedMsg].
type encoded struct {
	buffers mem.BufferSlice
	at      domain.Position // of the token
	digest  []byte          // of its filter
}

// codec is gRPC's own for protobuf, which takes [encoded] messages too.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if ready, ok := v.(*encoded); ok {
		return ready.buffers, nil
	}
	return c.CodecV2.Marshal(v) //nolint:wrapcheck // the codec's own
}

// The numbers of fields that are written here by hand. A test reads them back.
const (
	fieldMessageEvent = 1 // of SubscribeResponse, ReadEventsResponse and ConsumeResponse
	fieldEvent        = 1 // of SubscribedEvent and ConsumedEvent
	fieldToken        = 2
	fieldPosition     = 3
)

// subscribedEvent is a SubscribeResponse, or a ReadEventsResponse, with the event of
// e and the token of at. The event's bytes are e's own, which all subscribers
// share; those with the same filter at the same place share all of it.
func subscribedEvent(e *ring.Entry, t *tokens, at domain.Position) *encoded {
	made, _ := e.Made.Load().(*encoded)
	if made != nil && made.at.Equal(at) && bytes.Equal(made.digest, t.digest) {
		return made
	}
	own := newSubscribedEvent(e, t, at)
	if made == nil {
		e.Made.CompareAndSwap(nil, own)
	}
	return own
}

func newSubscribedEvent(e *ring.Entry, t *tokens, at domain.Position) *encoded {
	var room [256]byte // of the token, at a few partitions
	token := t.append(room[:0], at)
	position := domain.Position{}.With(e.Partition, e.Sequence).String()

	own := make([]byte, 0, len(token)+len(position)+headRoom+headRoom)
	own = protowire.AppendTag(own, fieldToken, protowire.BytesType)
	own = protowire.AppendBytes(own, token)
	own = protowire.AppendTag(own, fieldPosition, protowire.BytesType)
	own = protowire.AppendString(own, position)
	return &encoded{buffers: around(e.Event, own), at: at, digest: t.digest}
}

// headRoom is what two tags and lengths take.
const headRoom = 2 * (1 + 5)

// around is the bytes of a message whose field 1 is a message with the event in its field 1, and after
// it what is encoded in own, to which the rest is appended.
func around(encodedEvent, own []byte) mem.BufferSlice {
	tail := len(own)
	event := protowire.SizeTag(fieldEvent) + protowire.SizeBytes(len(encodedEvent))
	own = protowire.AppendTag(own, fieldMessageEvent, protowire.BytesType)
	own = protowire.AppendVarint(own, uint64(event+tail)) //nolint:gosec // a length
	own = protowire.AppendTag(own, fieldEvent, protowire.BytesType)
	own = protowire.AppendVarint(own, uint64(len(encodedEvent)))
	return mem.BufferSlice{mem.SliceBuffer(own[tail:]), mem.SliceBuffer(encodedEvent), mem.SliceBuffer(own[:tail])}
}

// consumedEvent is a ConsumeResponse with what d gives, the event's bytes being those that
// all share.
func consumedEvent(d *groups.Delivery) (*encoded, error) {
	own, err := proto.Marshal(&comandav1.ConsumedEvent{
		DeliveryId: d.ID, Attempt: uint32(d.Attempt), //nolint:gosec // at most 1,000
		Position: domain.Position{}.With(d.Entry.Partition, d.Entry.Sequence).String(),
		Deadline: timestamppb.New(d.Deadline),
	})
	if err != nil {
		return nil, fmt.Errorf("encode delivery %s: %w", d.ID, err)
	}
	return &encoded{buffers: around(d.Entry.Event, own)}, nil
}
