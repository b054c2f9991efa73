package checkout

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// job is one message on its way.
type job struct {
	msg      jetstream.Msg // of INTAKE; nil: it was taken directly
	token    string        // of the source, as the subject has it
	header   nats.Header
	body     []byte
	size     int       // in bytes, with headers; 0: it was not taken directly
	reply    string    // where the sender of what was taken directly waits; "": nowhere
	received time.Time // when it came into INTAKE, or was taken
	sequence uint64    // in INTAKE, or the number that was given to it
	tries    uint64    // this one included; 0: it was taken directly
	source   domain.SourceID
	id       string // the sender's; "" when it gave none
	cause    domain.Cause

	tooLarge bool
	decoded  *intake.Decoded // nil: too large, or the source is unknown
}

// lane is what jobs have in common that must not overtake each other.
func (j *job) lane() string {
	if j.decoded != nil {
		if id := j.decoded.OrderID(); id != "" {
			return string(id)
		}
	}
	return string(j.source)
}

// defaultContentType is what a message without one is taken for.
const defaultContentType = "application/json"

// read makes a job of msg. It keeps msg's data, which nobody else changes.
func (c *Checkout) read(ctx context.Context, msg jetstream.Msg) *job {
	j := &job{msg: msg, token: strings.TrimPrefix(msg.Subject(), intakePrefix), header: msg.Headers(), body: msg.Data()}
	if meta, err := msg.Metadata(); err == nil { // an error is no message of a stream
		j.received, j.sequence, j.tries = meta.Timestamp.UTC(), meta.Sequence.Stream, meta.NumDelivered
	}
	if c.fronted.Load() {
		j.received = takenAt(j.header, j.received)
		if ids := j.header[idHeader]; ids != nil {
			j.header[nats.MsgIdHdr] = ids
		}
	}
	c.understand(ctx, j)
	return j
}

// understand reads what j brings.
func (c *Checkout) understand(ctx context.Context, j *job) {
	src := c.sources[j.token]
	j.source, j.tooLarge = intake.SanitizeSource(j.token), len(j.body) > c.cfg.MaxBody
	j.id = messageID(j.header, j.body, src)
	j.cause = causeOf(j.header, j.id)
	if src == nil || j.tooLarge {
		return
	}
	decoded := c.intake.Decode(ctx, src, "", contentType(j.header), j.body, j.received, j.cause)
	j.decoded = &decoded
}

func contentType(header nats.Header) string {
	if t := header.Get("Content-Type"); t != "" && printable(t) {
		return t
	}
	return defaultContentType
}

// messageID is the sender's id of a message: its Nats-Msg-Id, or the CloudEvent's.
func messageID(header nats.Header, body []byte, src *intake.Source) string {
	if id := header.Get(nats.MsgIdHdr); id != "" {
		return id
	}
	if src == nil || src.Provider != provider.Comanda {
		return ""
	}
	return eventID(body)
}

// eventID is the member id of a JSON object when it is a string. What is wrong
// with the object is the codec's to say.
func eventID(body []byte) string {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return ""
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return ""
		}
		if name.String() == "id" {
			value, err := d.ReadToken()
			if err != nil || value.Kind() != '"' {
				return ""
			}
			return value.String()
		}
		if d.SkipValue() != nil {
			return ""
		}
	}
	return ""
}

// The trace headers, in the spellings that NATS clients send: header names are
// case-sensitive there.
const (
	traceHeader     = "traceparent"
	stateHeader     = "tracestate"
	requestIDHeader = "X-Request-Id"
)

// causeOf is the message's trace: its request id, or its own id when that may
// be one.
func causeOf(header nats.Header, id string) domain.Cause {
	var cause domain.Cause
	for _, candidate := range []string{header.Get(requestIDHeader), id} {
		if intake.ValidRequestID(candidate) {
			cause.RequestID = candidate
			break
		}
	}
	states := slices.Concat(header.Values(stateHeader), header.Values("Tracestate"))
	for _, name := range []string{traceHeader, "Traceparent"} {
		if cause.Traceparent == "" {
			cause.Traceparent, cause.Tracestate = intake.Trace([]string{header.Get(name)}, states)
		}
	}
	return cause
}

// mark gives what answers a message its id and its trace.
func mark(header nats.Header, id string, cause *domain.Cause) {
	if id != "" && printable(id) {
		header.Set(nats.MsgIdHdr, id)
	}
	if cause.RequestID != "" {
		header.Set(requestIDHeader, cause.RequestID)
	}
	if cause.Traceparent != "" {
		header.Set(traceHeader, cause.Traceparent)
	}
	if cause.Tracestate != "" {
		header.Set(stateHeader, cause.Tracestate)
	}
}

// maxHeader bounds a header value that we repeat.
const maxHeader = 256

// printable reports whether s may stand in a header: printable ASCII (NATS ADR-4).
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxHeader
}
