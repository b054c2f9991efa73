package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// looksPerPage bounds the work for one page of a list.
const looksPerPage = 50_000

var errEnough = errors.New("enough")

// ReadEvents implements [comandav1.EventServiceServer].
func (s *eventService) ReadEvents(req *comandav1.ReadEventsRequest, stream grpc.ServerStreamingServer[comandav1.ReadEventsResponse]) error {
	ctx := stream.Context()
	p, err := s.place(ctx, &placeRequest{
		filter: req.GetFilter(), token: req.GetResumeToken(), time: req.GetTime(), position: req.GetPosition(), start: req.GetStart(),
	})
	if err != nil {
		return err
	}
	sent := newSentPlace(s.log.Partitions(), p.after)
	return s.endings.run(ctx, func() error {
		return s.readEvents(ctx, p, stream, req.GetLimit(), sent)
	}, func(reason string, cause error) error {
		return &closedError{cause, reason, p.tokens.at(sent.at())}
	})
}

func (s *eventService) readEvents(
	ctx context.Context, p *place, stream grpc.ServerStreamingServer[comandav1.ReadEventsResponse], limit uint64, at sentPlace,
) error {
	r := newReading(s, p)
	var sent uint64
	gone := false // the client
	err := r.run(ctx, func(e *ring.Entry) error {
		if err := stream.SendMsg(subscribedEvent(e, &p.tokens, r.position())); err != nil {
			gone = true
			return err
		}
		at[e.Partition].Store(e.Sequence)
		s.metrics.sent.Inc()
		if sent++; sent == limit {
			return errEnough
		}
		return nil
	})
	token := p.tokens.at(r.position())
	if err == nil || errors.Is(err, errEnough) {
		return stream.Send(&comandav1.ReadEventsResponse{Message: &comandav1.ReadEventsResponse_End{
			End: &comandav1.ReadEnd{ResumeToken: token, More: err != nil},
		}})
	}
	reason, cause := whyClosed(ctx, err)
	if gone || reason == "" {
		return err
	}
	err = stream.Send(&comandav1.ReadEventsResponse{Message: &comandav1.ReadEventsResponse_Closing{
		Closing: &comandav1.Closing{Reason: reason, ResumeToken: token},
	}})
	if err != nil {
		return err
	}
	return &closedError{cause, reason, token}
}

// ListEvents implements [comandav1.EventServiceServer].
func (s *eventService) ListEvents(ctx context.Context, req *comandav1.ListEventsRequest) (*comandav1.ListEventsResponse, error) {
	p, err := s.place(ctx, &placeRequest{filter: req.GetFilter(), time: req.GetTime(), position: req.GetPosition(), start: req.GetStart()})
	if err != nil {
		return nil, err
	}
	// A page goes on after a place of this log, for this filter and start.
	bound := slices.Concat([]byte(p.tokens.at(domain.Position{})), fmt.Append(nil, req.GetTime().AsTime().UnixNano(), req.GetPosition()))
	before, err := paging.Before(bound, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if before != nil {
		if p.after, err = domain.ParsePosition(string(before)); err != nil {
			return nil, invalid("page_token", pageTokenRule)
		}
	}
	return s.list(ctx, p, pageSize(req.GetPageSize()), bound)
}

func (s *eventService) list(ctx context.Context, p *place, size int, bound []byte) (*comandav1.ListEventsResponse, error) {
	r := newReading(s, p)
	r.looks = looksPerPage
	answer := new(comandav1.ListEventsResponse)
	err := r.run(ctx, func(e *ring.Entry) error {
		event := new(comandav1.Event)
		if err := proto.Unmarshal(e.Event, event); err != nil {
			return err
		}
		if answer.Events = append(answer.Events, event); len(answer.Events) == size {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	if !r.position().Covers(p.head) {
		answer.NextPageToken = paging.Token(bound, []byte(r.position().String()))
	}
	return answer, nil
}

// reading is what reads from a place to the head, partition by partition.
type reading struct {
	*place

	pages pages
	at    []uint64
	looks int // at so many events at the most; 0: at all
}

func newReading(s *eventService, p *place) *reading {
	r := &reading{place: p, pages: s.pages(), at: make([]uint64, s.log.Partitions())}
	for i := range r.at {
		r.at[i] = p.after.At(i)
	}
	return r
}

func (r *reading) position() domain.Position { return domain.PositionOf(r.at) }

// run hands every event that is wanted to handle, whose error ends it. The
// position is then after the event of the last call. An error is errEnough when looks ended it.
func (r *reading) run(ctx context.Context, handle func(*ring.Entry) error) error {
	looked := 0
	for p := range r.at {
		for r.at[p] < r.head.At(p) {
			gap := &ring.Gap{Partition: p, After: r.at[p], UpTo: r.head.At(p)}
			err := r.pages.read(ctx, gap, func(e *ring.Entry) error {
				r.at[p] = e.Sequence
				if r.wants(e) {
					return handle(e)
				}
				if looked++; looked == r.looks {
					return errEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, errQuiet) {
				return err
			}
		}
	}
	return nil
}
