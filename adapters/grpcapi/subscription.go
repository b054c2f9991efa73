package grpcapi

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// takeAtOnce is how many events a subscription holds of the ring.
const takeAtOnce = 64

// subscription is one client's stream: one goroutine, which reads the ring, or the
// log where the ring does not reach, and sends.
type subscription struct {
	service *eventService
	stream  eventStream
	reader  *ring.Reader
	tokens  tokens
	wants   func(*ring.Entry) bool
	pages   pages
	taken   []*ring.Entry
	sent    sentPlace

	target domain.Position // caught up when it was reached
	live   bool            // and said so
	gone   bool            // the client: a message could not be sent
}

// run sends until the client goes, the server stops or the log fails.
func (s *subscription) run(ctx context.Context) error {
	s.taken = make([]*ring.Entry, 0, takeAtOnce)
	var err error
	for err == nil {
		err = s.step(ctx)
	}
	if s.gone {
		return err
	}
	reason, cause := whyClosed(ctx, err)
	if reason == "" {
		return err
	}
	return s.close(reason, cause)
}

// step does what is next.
func (s *subscription) step(ctx context.Context) error {
	if s.stopping() {
		return errShuttingDown
	}
	entries, gap := s.reader.Take(s.taken[:0])
	if gap != nil {
		return s.readLog(ctx, gap)
	}
	if err := s.sayCaughtUp(); err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.deliver(ctx, e); err != nil {
			return err
		}
	}
	clear(entries) // the ring may drop them
	if len(entries) > 0 {
		return nil
	}
	if err := s.checkpoint(); err != nil {
		return err
	}
	return s.sleep(ctx)
}

// stopping reports whether the server is.
func (s *subscription) stopping() bool {
	select {
	case <-s.service.closing:
		return true
	default:
		return false
	}
}

// deliver moves past e, and sends it when it is wanted.
func (s *subscription) deliver(ctx context.Context, e *ring.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.reader.Advance(e.Partition, e.Sequence)
	if !s.wants(e) {
		return s.checkpoint()
	}
	s.reader.Mark()
	if err := s.stream.SendMsg(subscribedEvent(e, &s.tokens, s.reader.At())); err != nil {
		s.gone = true
		return err
	}
	s.sent[e.Partition].Store(e.Sequence)
	s.service.metrics.sent.Inc()
	return nil
}

// sleep waits for something to do.
func (s *subscription) sleep(ctx context.Context) error {
	if !s.reader.Sleep() {
		return nil
	}
	silence := time.NewTimer(s.service.heartbeat)
	defer silence.Stop()
	silent, err := s.await(ctx, silence.C)
	s.reader.Wake()
	if silent {
		return s.sendHeartbeat()
	}
	return err
}

func (s *subscription) await(ctx context.Context, silence <-chan time.Time) (silent bool, err error) {
	select {
	case <-s.reader.Awake():
		return false, nil
	case <-silence:
		return true, nil
	case <-s.service.closing:
		return false, errShuttingDown
	case <-s.reader.Failed():
		return false, s.reader.Err()
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// readLog reads a page of what the ring does not hold any more.
func (s *subscription) readLog(ctx context.Context, gap *ring.Gap) error {
	if s.live {
		head, lag := s.reader.Head()
		s.live, s.target = false, head
		s.reader.Patience(0)
		err := s.send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_FellBehind{
			FellBehind: &comandav1.FellBehind{ResumeToken: s.token(), LagEvents: lag},
		}})
		if err != nil {
			return err
		}
	}
	err := s.pages.read(ctx, gap, func(e *ring.Entry) error { return s.deliver(ctx, e) })
	if errors.Is(err, errQuiet) {
		return s.sendHeartbeat()
	}
	return err
}

// checkpoint tells of the place, when enough was passed over since the client was
// last told.
func (s *subscription) checkpoint() error {
	if s.reader.Passed() < s.service.checkpointEvery {
		return nil
	}
	return s.sendCheckpoint()
}

func (s *subscription) sendCheckpoint() error {
	s.reader.Mark()
	return s.send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Checkpoint{
		Checkpoint: &comandav1.Checkpoint{ResumeToken: s.token(), Position: s.reader.At().String()},
	}})
}

// sayCaughtUp says, once, that everything up to the target was sent.
func (s *subscription) sayCaughtUp() error {
	if s.live || !s.reader.At().Covers(s.target) {
		return nil
	}
	s.live = true
	s.reader.Patience(s.service.checkpointEvery)
	if err := s.sendCheckpoint(); err != nil {
		return err
	}
	return s.send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_CaughtUp{
		CaughtUp: &comandav1.CaughtUp{ResumeToken: s.token()},
	}})
}

func (s *subscription) sendHeartbeat() error {
	head, lag := s.reader.Head()
	s.reader.Mark()
	return s.send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Heartbeat{
		Heartbeat: &comandav1.Heartbeat{
			Time: timestamppb.New(s.service.clock()), ResumeToken: s.token(), Head: head.String(), LagEvents: lag,
		},
	}})
}

// close says why the stream ends and where to go on, and is the stream's error.
func (s *subscription) close(reason string, cause error) error {
	err := s.send(&comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Closing{
		Closing: &comandav1.Closing{Reason: reason, ResumeToken: s.token()},
	}})
	if err != nil {
		return err
	}
	return &closedError{cause, reason, s.token()}
}

// cut is [subscription.close] of a client that takes nothing.
func (s *subscription) cut(reason string, cause error) error {
	return &closedError{cause, reason, s.tokens.at(s.sent.at())}
}

func (s *subscription) token() string { return s.tokens.at(s.reader.At()) }

func (s *subscription) send(m *comandav1.SubscribeResponse) error {
	err := s.stream.Send(m)
	s.gone = s.gone || err != nil
	return err
}
