package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// defaultSilence is that of three heartbeats.
const defaultSilence = 45 * time.Second

var errSilent = errors.New("the server was silent for too long")

// Subscription is what to follow, and who acts on it. All functions are called one at a
// time, by the goroutine of [Subscribe]; while one runs nothing more is read.
type Subscription struct {
	// Request says where to start the first time, and which events are wanted. Required.
	Request *comandav1.SubscribeRequest
	// Token, unless empty, is what Store kept last: go on from there instead. It is good
	// only with the filter that it was made with.
	Token string
	// Handle acts on an event. Its error ends the subscription, whatever it is. Required.
	Handle func(ctx context.Context, event *comandav1.SubscribedEvent) error
	// Store, if any, keeps the token of what was acted on: after each event, and where
	// the server tells of a later place that no event is wanted up to. Its error ends
	// the subscription.
	Store func(ctx context.Context, token string) error
	// Notice, if any, sees the messages that are no events: caught_up, fell_behind,
	// heartbeat, checkpoint, closing, and those of newer servers.
	Notice func(message *comandav1.SubscribeResponse)
	// Retry says how to reconnect.
	Retry Retry
	// Silence is after how long without any message to reconnect. Default 45 s, three of
	// the server's heartbeats.
	Silence time.Duration
}

// Subscribe follows the log until ctx ends, a function of s fails, or the server refuses
// for good; the error says which, and is never nil. A start of now holds from the first
// message on: what is recorded before that one came may be missed.
func Subscribe(ctx context.Context, conn grpc.ClientConnInterface, s Subscription) error {
	if s.Request == nil || s.Handle == nil {
		return errors.New("a subscription needs a request and who handles its events")
	}
	s.Retry.setDefaults()
	if s.Silence <= 0 {
		s.Silence = defaultSilence
	}
	f := follower{Subscription: s, events: comandav1.NewEventServiceClient(conn), retries: retries{Retry: s.Retry}}
	return f.retries.run(ctx, f.stream)
}

// follower is a subscription across its streams.
type follower struct {
	Subscription

	events   comandav1.EventServiceClient
	retries  retries
	sequence sequence
}

// stream is one of them, up to its end, which is an error.
func (f *follower) stream(ctx context.Context) error {
	streamCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(f.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := f.events.Subscribe(streamCtx, f.request())
	for err == nil {
		var m *comandav1.SubscribeResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		silence.Stop()
		if err := f.act(ctx, m); err != nil {
			return &ownError{err}
		}
		silence.Reset(f.Silence)
	}
	if errors.Is(context.Cause(streamCtx), errSilent) {
		return errSilent
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream ended without a reason: %w", err)
	}
	return err
}

func (f *follower) request() *comandav1.SubscribeRequest {
	request := proto.CloneOf(f.Request)
	if f.Token != "" {
		request.Start = &comandav1.SubscribeRequest_ResumeToken{ResumeToken: f.Token}
	}
	return request
}

// act checks a message and acts on it.
func (f *follower) act(ctx context.Context, m *comandav1.SubscribeResponse) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f.retries.succeeded()
	if e := m.GetEvent(); e != nil {
		if err := f.sequence.event(e); err != nil {
			return err
		}
		if err := f.Handle(ctx, e); err != nil {
			return fmt.Errorf("handle event %s: %w", e.GetEvent().GetEventId(), err)
		}
		return f.keep(ctx, e.GetResumeToken())
	}
	if c := m.GetCheckpoint(); c != nil {
		if err := f.sequence.checkpoint(c); err != nil {
			return err
		}
	}
	if f.Notice != nil {
		f.Notice(m)
	}
	return f.keep(ctx, Token(m))
}

// keep goes on from token from now on.
func (f *follower) keep(ctx context.Context, token string) error {
	if token == "" || token == f.Token {
		return nil
	}
	f.Token = token
	if f.Store == nil {
		return nil
	}
	if err := f.Store(ctx, token); err != nil {
		return fmt.Errorf("store the resume token: %w", err)
	}
	return nil
}

// Token is where to go on after m; empty of a message that has none.
func Token(m *comandav1.SubscribeResponse) string {
	switch m := m.GetMessage().(type) {
	case *comandav1.SubscribeResponse_Event:
		return m.Event.GetResumeToken()
	case *comandav1.SubscribeResponse_Checkpoint:
		return m.Checkpoint.GetResumeToken()
	case *comandav1.SubscribeResponse_CaughtUp:
		return m.CaughtUp.GetResumeToken()
	case *comandav1.SubscribeResponse_FellBehind:
		return m.FellBehind.GetResumeToken()
	case *comandav1.SubscribeResponse_Heartbeat:
		return m.Heartbeat.GetResumeToken()
	case *comandav1.SubscribeResponse_Closing:
		return m.Closing.GetResumeToken()
	default:
		return ""
	}
}
