package notify

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// Metadata of the Watermill messages that a sink publishes.
const (
	MetaContentType = "content-type"
	MetaEventType   = "comanda-type"
	MetaTraceparent = "traceparent"
	MetaTracestate  = "tracestate"
)

// Builder makes the sink of one endpoint. A sink conveys what an attempt came to
// as the error of Publish: nil is success, a [delivery.OutcomeError] says more,
// any other error is a failure worth a retry. The message's context bounds the attempt.
type Builder func(Endpoint) (message.Publisher, error)

type notificationKey struct{}

type outcomeKey struct{}

// outcomeSlot takes what an attempt came to from the Router's handler back to
// the subscriber.
type outcomeSlot struct {
	set atomic.Pointer[delivery.Outcome]
}

// get is what was set; a Retry when nothing was, which is a handler's panic.
func (s *outcomeSlot) get() delivery.Outcome {
	if o := s.set.Load(); o != nil {
		return *o
	}
	return delivery.Outcome{Kind: delivery.Retry, Reason: "panic"}
}

// Of is the notification that msg carries; false when msg is not of this
// package's subscriber.
func Of(msg *message.Message) (delivery.Notification, bool) {
	n, ok := msg.Context().Value(notificationKey{}).(delivery.Notification)
	return n, ok
}

// With is ctx carrying n, for [Of].
func With(ctx context.Context, n delivery.Notification) context.Context {
	return context.WithValue(ctx, notificationKey{}, n)
}

// WebhookID names one event for one endpoint, in every attempt. It has no dot,
// because the signed text has dots between its parts.
func WebhookID(event domain.EventID, endpoint string) string {
	return string(event) + "_" + endpoint
}

// report hands o to the subscriber that emitted msg.
func report(msg *message.Message, o delivery.Outcome) {
	if slot, ok := msg.Context().Value(outcomeKey{}).(*outcomeSlot); ok {
		slot.set.Store(&o)
	}
}

// newMessage is the Watermill message of one attempt.
func newMessage(ctx context.Context, n delivery.Notification, slot *outcomeSlot) (*message.Message, error) {
	body, err := CloudEvent(n)
	if err != nil {
		return nil, err
	}
	msg := message.NewMessage(WebhookID(n.Event.ID, n.Endpoint), body)
	msg.Metadata.Set(MetaContentType, ContentType)
	msg.Metadata.Set(MetaEventType, n.Type)
	if parent := continueTrace(n); parent != "" {
		msg.Metadata.Set(MetaTraceparent, parent)
		if state := n.Event.Cause.Tracestate; state != "" {
			msg.Metadata.Set(MetaTracestate, state)
		}
	}
	msg.SetContext(context.WithValue(With(ctx, n), outcomeKey{}, slot))
	return msg, nil
}
