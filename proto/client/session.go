package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	// defaultAckWait is that of a group which says none.
	defaultAckWait = 30 * time.Second
	// extensions are how often an event's time is renewed before it would be over.
	extensions = 3
	// leaveWithin is how long the server has to hear a member that leaves.
	leaveWithin = 10 * time.Second
)

// session is a member's stream: this side of it may be used by many goroutines.
type session struct {
	*member

	cancel   context.CancelCauseFunc // of the stream
	handling context.Context         //nolint:containedctx // of all handlers: ends when the member leaves
	end      context.CancelFunc      // of handling
	running  sync.WaitGroup          // the handlers
	helpers  sync.WaitGroup
	slots    chan struct{} // in it: a handler that runs

	sending sync.Mutex
	said    bool                                                                          // all that is to be said
	stream  grpc.BidiStreamingClient[comandav1.ConsumeRequest, comandav1.ConsumeResponse] // nil: not yet

	mu         sync.Mutex
	leaving    bool
	own        error
	deliveries map[string]context.CancelFunc // that are ours, by id
	orders     map[string]chan struct{}      // closed: the newest handler of the order has returned
}

func newSession(ctx context.Context, m *member, cancel context.CancelCauseFunc) *session {
	s := &session{
		member: m, cancel: cancel, slots: make(chan struct{}, m.Credits),
		deliveries: map[string]context.CancelFunc{}, orders: map[string]chan struct{}{},
	}
	s.handling, s.end = context.WithCancel(ctx)
	return s
}

// joins says hello. What goes wrong is told by the stream's Recv.
func (s *session) joins(stream grpc.BidiStreamingClient[comandav1.ConsumeRequest, comandav1.ConsumeResponse]) {
	s.sending.Lock()
	s.stream = stream
	s.sending.Unlock()
	s.send(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Hello{
		Hello: &comandav1.ConsumeHello{Group: s.Group, Credits: s.Credits},
	}})
}

func (s *session) send(r *comandav1.ConsumeRequest) {
	s.sending.Lock()
	defer s.sending.Unlock()
	if !s.said {
		_ = s.stream.Send(r) // Recv says why
	}
}

// leaveAtEnd waits until the consumption ends, or the stream, and leaves.
func (s *session) leaveAtEnd(stream context.Context) {
	select {
	case <-s.handling.Done():
	case <-stream.Done():
		return
	}
	s.close()
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.stream == nil {
		s.cancel(nil)
		return
	}
	s.said = true
	_ = s.stream.CloseSend() // and Recv goes on to the end, so that the answers are there
	bound := time.AfterFunc(leaveWithin, func() { s.cancel(nil) })
	s.helpers.Go(func() {
		<-stream.Done()
		bound.Stop()
	})
}

// heard does what the server says.
func (s *session) heard(stream context.Context, r *comandav1.ConsumeResponse) {
	if e := r.GetEvent(); e != nil {
		s.given(e) //nolint:contextcheck // handlers end with the member
		return
	}
	if revoked := r.GetRevoked(); revoked != nil {
		s.mu.Lock()
		if lose := s.deliveries[revoked.GetDeliveryId()]; lose != nil {
			lose()
			delete(s.deliveries, revoked.GetDeliveryId())
		}
		s.mu.Unlock()
	}
	if welcome := r.GetWelcome(); welcome != nil {
		wait := welcome.GetGroup().GetAckWait().AsDuration()
		if wait <= 0 {
			wait = defaultAckWait
		}
		s.helpers.Go(func() { s.extend(stream, wait/extensions) })
	}
	if s.Notice != nil {
		s.Notice(r)
	}
}

// given has e handled, after what was given of its order before.
func (s *session) given(e *comandav1.ConsumedEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return
	}
	order := e.GetEvent().GetOrderId()
	before, done := s.orders[order], make(chan struct{})
	s.orders[order] = done
	ctx, lose := context.WithCancel(s.handling)
	s.deliveries[e.GetDeliveryId()] = lose
	s.running.Go(func() {
		defer lose()
		if before != nil {
			<-before
		}
		answer, err := s.handle(ctx, e)
		s.mu.Lock()
		if s.orders[order] == done {
			delete(s.orders, order)
		}
		s.mu.Unlock()
		close(done)
		s.answer(ctx, e, answer, err)
	})
}

// handle calls the handler when one more may run.
func (s *session) handle(ctx context.Context, e *comandav1.ConsumedEvent) (Answer, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return Answer{}, ctx.Err()
	}
	return s.Handle(ctx, e)
}

// answer tells the server, unless the event was lost; an error ends the consumption.
func (s *session) answer(ctx context.Context, e *comandav1.ConsumedEvent, answer Answer, err error) {
	s.mu.Lock()
	_, ours := s.deliveries[e.GetDeliveryId()]
	delete(s.deliveries, e.GetDeliveryId())
	if err != nil && ours && ctx.Err() == nil && s.own == nil {
		s.own = fmt.Errorf("handle event %s: %w", e.GetEvent().GetEventId(), err)
		s.end()
	}
	s.mu.Unlock()
	if err == nil && ours {
		s.send(answer.request(e.GetDeliveryId()))
	}
}

// extend keeps what is being handled, until the stream ends.
func (s *session) extend(stream context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stream.Done():
			return
		}
		s.mu.Lock()
		ids := slices.Collect(maps.Keys(s.deliveries))
		s.mu.Unlock()
		if len(ids) > 0 {
			s.send(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Extend{Extend: &comandav1.ConsumeExtend{DeliveryIds: ids}}})
		}
	}
}

// close ends the handlers and waits for them.
func (s *session) close() {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.end()
	s.running.Wait()
}

// failure is what a handler ended the consumption with.
func (s *session) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}
