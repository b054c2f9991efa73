package grpcapi

import (
	"bytes"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
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

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if ready, ok := v.(*encoded); ok {
		return ready.buffers, nil
	}
	return c.CodecV2.Marshal(v) //nolint:wrapcheck // the codec's own
}

// The numbers of fields that are written here by hand. A test reads them back.
const (
	fieldMessageEvent = 1 // of SubscribeResponse and of ReadEventsResponse
	fieldEvent        = 1 // of SubscribedEvent
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

	const headRoom = 2 * (1 + 5) // two tags and lengths
	own := make([]byte, 0, len(token)+len(position)+headRoom+headRoom)
	own = protowire.AppendTag(own, fieldToken, protowire.BytesType)
	own = protowire.AppendBytes(own, token)
	own = protowire.AppendTag(own, fieldPosition, protowire.BytesType)
	own = protowire.AppendString(own, position)
	tail := len(own)

	event := protowire.SizeTag(fieldEvent) + protowire.SizeBytes(len(e.Event))
	own = protowire.AppendTag(own, fieldMessageEvent, protowire.BytesType)
	own = protowire.AppendVarint(own, uint64(event+tail)) //nolint:gosec // a length
	own = protowire.AppendTag(own, fieldEvent, protowire.BytesType)
	own = protowire.AppendVarint(own, uint64(len(e.Event)))
	return &encoded{
		buffers: mem.BufferSlice{mem.SliceBuffer(own[tail:]), mem.SliceBuffer(e.Event), mem.SliceBuffer(own[:tail])},
		at:      at, digest: t.digest,
	}
}
