package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// Consumption is which group to be a member of, and who acts on its events.
type Consumption struct {
	// Group is its name. Required.
	Group string
	// Credits are how many events to have unanswered, 1 to 1,000: so many handlers run at
	// a time. Default 1.
	Credits uint32
	// Handle acts on an event and says what became of it. It runs in as many goroutines as
	// there are credits, but never twice at a time for one order. While it runs the event is
	// kept from others. Its context ends when that is lost all the same, and with Consume;
	// what it says after a loss is not heard, and the event is given again, to whomever. Its
	// error ends the consumption, whatever it is, and does not count as a delivery. Required.
	Handle func(ctx context.Context, event *comandav1.ConsumedEvent) (Answer, error)
	// Notice, if any, sees the messages that are no events: welcome, revoked, heartbeat,
	// closing, and those of newer servers. It is called one at a time, beside Handle.
	Notice func(message *comandav1.ConsumeResponse)
	// Retry says how to reconnect.
	Retry Retry
	// Silence is after how long without any message to reconnect. Default 45 s, three of
	// the server's heartbeats.
	Silence time.Duration
}

// Answer says what became of an event. The zero value acknowledges it.
type Answer struct {
	action comandav1.NackAction // 0: it was dealt with
	after  time.Duration
	reason string
}

// Done acknowledges an event: the order's next is given.
func Done() Answer { return Answer{} }

// Again has an event given again, to any member, not before after, which is at most 7
// days; it is parked when that was as often as the group allows. reason, of at most 200
// characters, is kept with it: no personal data.
func Again(after time.Duration, reason string) Answer {
	return Answer{comandav1.NackAction_NACK_ACTION_RETRY, after, reason}
}

// Park has an event, and what its order does later, wait for an operator. reason as of [Again].
func Park(reason string) Answer {
	return Answer{comandav1.NackAction_NACK_ACTION_PARK, 0, reason}
}

// Skip passes an event over: the order's next is given.
func Skip() Answer { return Answer{action: comandav1.NackAction_NACK_ACTION_SKIP} }

// request says a of a delivery.
func (a Answer) request(delivery string) *comandav1.ConsumeRequest {
	if a.action == comandav1.NackAction_NACK_ACTION_UNSPECIFIED {
		return &comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Ack{Ack: &comandav1.ConsumeAck{DeliveryIds: []string{delivery}}}}
	}
	nack := &comandav1.ConsumeNack{DeliveryId: delivery, Action: a.action, Reason: a.reason}
	if a.after > 0 {
		nack.RetryAfter = durationpb.New(a.after)
	}
	return &comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Nack{Nack: nack}}
}

// Consume is a member of a group, through every lost connection, until ctx ends, a handler
// fails, or the server refuses for good; the error says which, and is never nil. It returns
// when all handlers have. What has no answer by then is given to others.
func Consume(ctx context.Context, conn grpc.ClientConnInterface, c Consumption) error {
	if c.Group == "" || c.Handle == nil {
		return errors.New("a consumption needs a group and who handles its events")
	}
	c.Retry.setDefaults()
	c.Credits = max(c.Credits, 1)
	if c.Silence <= 0 {
		c.Silence = defaultSilence
	}
	m := member{Consumption: c, events: comandav1.NewEventServiceClient(conn), retries: retries{Retry: c.Retry}}
	return m.retries.run(ctx, m.stream)
}

// member is a consumption across its streams.
type member struct {
	Consumption

	events  comandav1.EventServiceClient
	retries retries
}

// stream is one of them, up to its end, which is an error. It outlives ctx for as long as
// the member takes to leave in good order.
func (m *member) stream(ctx context.Context) error {
	streamCtx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s := newSession(ctx, m, cancel)
	s.helpers.Go(func() { s.leaveAtEnd(streamCtx) })
	silence := time.AfterFunc(m.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := m.events.Consume(streamCtx)
	if err == nil {
		s.joins(stream)
	}
	for err == nil {
		var r *comandav1.ConsumeResponse
		if r, err = stream.Recv(); err != nil {
			break
		}
		silence.Reset(m.Silence)
		m.retries.succeeded()
		s.heard(streamCtx, r)
	}
	cancel(nil) // has no effect on a cause that is there
	s.close()
	s.helpers.Wait()
	if own := s.failure(); own != nil {
		return &ownError{own}
	}
	if errors.Is(context.Cause(streamCtx), errSilent) {
		return errSilent
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ended without a reason: %w", err)
	}
	return err
}
