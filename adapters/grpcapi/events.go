package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// eventService serves the log.
type eventService struct {
	comandav1.UnimplementedEventServiceServer

	log       Log
	groups    *groups.Groups
	ring      *ring.Ring
	heartbeat time.Duration
	clock     func() time.Time
	closing   <-chan struct{}
	metrics   *metrics

	checkpointEvery uint64
	endings         *endings
}

type eventStream = grpc.ServerStreamingServer[comandav1.SubscribeResponse]

// Subscribe implements [comandav1.EventServiceServer].
func (s *eventService) Subscribe(req *comandav1.SubscribeRequest, stream eventStream) error {
	ctx := stream.Context()
	p, err := s.place(ctx, &placeRequest{
		filter: req.GetFilter(), token: req.GetResumeToken(), time: req.GetTime(), position: req.GetPosition(), start: req.GetStart(),
	})
	if err != nil {
		return err
	}
	// The client learns at once that it is subscribed, before there is an event.
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	s.metrics.subscriptions.Inc()
	defer s.metrics.subscriptions.Dec()
	sub := &subscription{
		service: s, stream: stream, tokens: p.tokens, wants: p.wants, target: p.head, pages: s.pages(),
		sent: newSentPlace(s.log.Partitions(), p.after),
	}
	return s.endings.run(ctx, func() error {
		sub.reader = s.ring.Join(ctx, p.head, p.after, p.wants, 0) // until it is live
		defer sub.reader.Leave()
		return sub.run(ctx)
	}, sub.cut)
}

func (s *eventService) pages() pages {
	return pages{log: s.log, clock: s.clock, closing: s.closing, quiet: s.heartbeat}
}

// place is where a request starts, and what it wants.
type place struct {
	after, head domain.Position
	tokens      tokens
	wants       func(*ring.Entry) bool
}

// placeRequest is what the requests of this service have in common.
type placeRequest struct {
	filter   *comandav1.EventFilter
	start    any // the oneof; nil is the beginning
	token    string
	time     *timestamppb.Timestamp
	position string
}

// place finds where to start. Its error's kind is Invalid, or Refused for a place
// that the log does not have.
func (s *eventService) place(ctx context.Context, req *placeRequest) (*place, error) {
	var check checker
	f, at := check.filter(req.filter), check.position("position", req.position)
	if err := check.err(); err != nil {
		return nil, err
	}
	p := &place{tokens: newTokens(s.log, f.digest()), wants: wanted(f, access.From(ctx)), after: at}
	field := "position"
	_, resumes := req.start.(*comandav1.SubscribeRequest_ResumeToken)
	if _, reads := req.start.(*comandav1.ReadEventsRequest_ResumeToken); resumes || reads {
		field = tokenField
		var err error
		if p.after, err = p.tokens.parse(req.token); err != nil {
			return nil, err
		}
	}
	var err error
	if p.head, err = s.log.Head(ctx); err != nil {
		return nil, fmt.Errorf("read the head of the log: %w", err)
	}
	if !p.head.Covers(p.after) {
		return nil, refusedPlace(field, "LOG", "is ahead of the log, which has lost events since; begin a new subscription")
	}
	if _, now := req.start.(*comandav1.SubscribeRequest_Now_); now {
		p.after = p.head
	}
	if req.time != nil {
		if p.after, err = s.before(ctx, p.head, req.time.AsTime()); err != nil {
			return nil, fmt.Errorf("find %s in the log: %w", req.time.AsTime().Format(time.RFC3339), err)
		}
	}
	return p, nil
}
