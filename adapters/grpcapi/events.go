package grpcapi

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// The reasons of a Closing message.
const (
	closingShutdown = "shutting_down"
	closingLog      = "log_unavailable"
	closingAccess   = "access_ended"
)

var errShuttingDown = domain.Errorf(domain.Unavailable, "the server is shutting down")

// eventService serves the log.
type eventService struct {
	comandav1.UnimplementedEventServiceServer

	log       Log
	heartbeat time.Duration
	clock     func() time.Time
	closing   <-chan struct{}
	metrics   *metrics
}

type eventStream = grpc.ServerStreamingServer[comandav1.SubscribeResponse]

// Subscribe implements [comandav1.EventServiceServer].
func (s *eventService) Subscribe(req *comandav1.SubscribeRequest, stream eventStream) error {
	sub := &subscription{service: s, stream: stream, tokens: newTokens(s.log)}
	if err := sub.begin(stream.Context(), req); err != nil {
		return err
	}
	// The client learns at once that it is subscribed, before there is an event.
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	s.metrics.subscriptions.Inc()
	defer s.metrics.subscriptions.Dec()
	return sub.run(stream.Context())
}

// subscription is one client's stream. One goroutine sends; a follower for each
// partition hands it batches and waits until they are sent.
type subscription struct {
	service  *eventService
	stream   eventStream
	tokens   tokens
	position domain.Position // sent, or skipped by the request's start
	head     domain.Position // of the log when the subscription began
	caughtUp bool            // and said so
}

// batch is what a follower hands over. Its events are valid until sent is closed.
type batch struct {
	events []domain.Recorded
	sent   chan struct{}
}

// begin finds where to start.
func (s *subscription) begin(ctx context.Context, req *comandav1.SubscribeRequest) error {
	switch start := req.GetStart().(type) {
	case *comandav1.SubscribeRequest_Beginning_, *comandav1.SubscribeRequest_Now_:
	case *comandav1.SubscribeRequest_ResumeToken:
		position, err := s.tokens.parse(start.ResumeToken)
		if err != nil {
			return err
		}
		s.position = position
	default:
		return invalid("start", "is required: beginning, now or resume_token")
	}
	head, err := s.service.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("read the head of the log: %w", err)
	}
	if !head.Covers(s.position) {
		return refusedToken("LOG", "is ahead of the log, which has lost events since; begin a new subscription")
	}
	s.head = head
	if _, now := req.GetStart().(*comandav1.SubscribeRequest_Now_); now {
		s.position = head
	}
	return nil
}

// run sends until the client goes, the server stops or the log fails.
func (s *subscription) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	group, following := errgroup.WithContext(ctx)
	batches := make(chan batch)
	for partition := range s.service.log.Partitions() {
		after := s.position.At(partition)
		group.Go(func() error { return s.follow(following, partition, after, batches) })
	}
	ended := make(chan struct{})
	var logErr error
	go func() {
		defer close(ended)
		logErr = group.Wait()
	}()
	err := s.send(ctx, batches, ended)
	cancel()
	<-ended
	if err == nil { // the log ended first
		err = s.close(closingLog, logErr)
	}
	return err
}

// follow hands the partition's events over, one batch at a time.
func (s *subscription) follow(ctx context.Context, partition int, after uint64, batches chan<- batch) error {
	err := s.service.log.Follow(ctx, partition, after, func(events []domain.Recorded) error {
		b := batch{events: events, sent: make(chan struct{})}
		select {
		case batches <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-b.sent:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err == nil && ctx.Err() == nil {
		err = domain.Errorf(domain.Unavailable, "the log stopped")
	}
	if err != nil {
		return fmt.Errorf("follow partition %d: %w", partition, err)
	}
	return nil
}

// send sends what comes until something ends. It returns nil when that was the log.
func (s *subscription) send(ctx context.Context, batches <-chan batch, ended <-chan struct{}) error {
	silence := time.NewTimer(s.service.heartbeat)
	defer silence.Stop()
	for {
		if err := s.sayCaughtUp(); err != nil {
			return err
		}
		select {
		case <-s.service.closing: // before more events
			return s.close(closingShutdown, errShuttingDown)
		case <-ctx.Done():
			return s.ended(ctx)
		default:
		}
		select {
		case b := <-batches:
			sent, err := s.sendEvents(ctx, b.events)
			if err != nil {
				return err
			}
			close(b.sent)
			if sent == 0 {
				continue // other tenants' events are silence
			}
		case <-silence.C:
			if err := s.sendHeartbeat(); err != nil {
				return err
			}
		case <-s.service.closing:
			continue
		case <-ended:
			return nil
		case <-ctx.Done():
			return s.ended(ctx)
		}
		silence.Reset(s.service.heartbeat)
	}
}

// ended is the stream's error when its context ended: who lost access is told so.
func (s *subscription) ended(ctx context.Context) error {
	if denied := access.Lost(ctx); denied != nil {
		return s.close(closingAccess, denied)
	}
	return ctx.Err()
}

// sendEvents sends those of a batch that the caller may know of.
func (s *subscription) sendEvents(ctx context.Context, events []domain.Recorded) (sent int, err error) {
	caller := access.From(ctx)
	for i := range events {
		if ctx.Err() != nil {
			return sent, s.ended(ctx)
		}
		r := &events[i]
		s.position = s.position.With(r.Partition, r.Sequence)
		if !caller.AllowsTenant(r.Event.Tenant) {
			if err := s.sayCaughtUp(); err != nil {
				return sent, err
			}
			continue
		}
		err := s.stream.Send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Event{
			Event: &comandav1.SubscribedEvent{
				Event:       wire.Event(&r.Event),
				ResumeToken: s.tokens.at(s.position),
				Position:    r.Position().String(),
			},
		}})
		if err != nil {
			return sent, err
		}
		sent++
		s.service.metrics.sent.Inc()
		if err := s.sayCaughtUp(); err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// sayCaughtUp says once that everything of when the subscription began was sent.
func (s *subscription) sayCaughtUp() error {
	if s.caughtUp || !s.position.Covers(s.head) {
		return nil
	}
	s.caughtUp = true
	return s.stream.Send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_CaughtUp{
		CaughtUp: &comandav1.CaughtUp{ResumeToken: s.tokens.at(s.position)},
	}})
}

func (s *subscription) sendHeartbeat() error {
	return s.stream.Send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Heartbeat{
		Heartbeat: &comandav1.Heartbeat{
			Time:        timestamppb.New(s.service.clock()),
			ResumeToken: s.tokens.at(s.position),
		},
	}})
}

// close says why the stream ends and where to go on, and is the stream's error.
func (s *subscription) close(reason string, cause error) error {
	err := s.stream.Send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Closing{
		Closing: &comandav1.Closing{Reason: reason, ResumeToken: s.tokens.at(s.position)},
	}})
	if err != nil {
		return err
	}
	return cause
}
