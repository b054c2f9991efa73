package grpcapi

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

type consumeStream = grpc.BidiStreamingServer[comandav1.ConsumeRequest, comandav1.ConsumeResponse]

// errStopped is a member that leaves in good order.
var errStopped = errors.New("the member stopped")

// Consume implements [comandav1.EventServiceServer].
func (s *eventService) Consume(stream consumeStream) error {
	ctx := stream.Context()
	hello, err := s.hello(ctx, stream)
	if err != nil {
		return err
	}
	return s.endings.run(ctx, func() error { return s.consume(ctx, stream, hello) }, func(reason string, cause error) error {
		return &closedError{error: cause, reason: reason}
	})
}

func (s *eventService) consume(ctx context.Context, stream consumeStream, hello *comandav1.ConsumeHello) error {
	member, group, err := s.groups.Join(ctx, hello.GetGroup(), int(max(hello.GetCredits(), 1)), access.From(ctx).AllowsTenant)
	if err != nil {
		return aboutGroup(hello.GetGroup(), err)
	}
	c := &consumption{service: s, stream: stream, group: group.Name, member: member, ended: make(chan error, 1)}
	welcome, err := groupMessage(&group)
	if err == nil {
		err = c.send(&comandav1.ConsumeResponse{Message: &comandav1.ConsumeResponse_Welcome{
			Welcome: &comandav1.ConsumeWelcome{Group: welcome},
		}})
	}
	if err == nil {
		go c.receive() // ends with the stream, when this method returns
		err = c.run(ctx)
	}
	member.Leave(!c.inOrder)
	return err
}

// hello is the first message, of a group that the caller may join.
func (s *eventService) hello(ctx context.Context, stream consumeStream) (*comandav1.ConsumeHello, error) {
	req, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	hello := req.GetHello()
	if hello == nil {
		return nil, invalid("hello", "must be the first message")
	}
	group, err := s.groups.Get(ctx, hello.GetGroup())
	if err != nil {
		return nil, aboutGroup(hello.GetGroup(), err)
	}
	for _, tenant := range group.Tenants {
		if !access.From(ctx).AllowsTenant(tenant) { // as one that is not there
			return nil, aboutGroup(group.Name, domain.Errorf(domain.NotFound, "group %s: there is none", group.Name))
		}
	}
	return hello, nil
}

// consumption is one member's stream: one goroutine that sends, and one that receives.
type consumption struct {
	service *eventService
	stream  consumeStream
	group   string
	member  *groups.Member
	ended   chan error // why nothing more is received
	inOrder bool       // what the member has was not given in vain
}

// run sends until the client goes, the group ends or the server stops.
func (c *consumption) run(ctx context.Context) error {
	silence := time.NewTimer(c.service.heartbeat)
	defer silence.Stop()
	for {
		if msg, ok := c.member.Take(); ok {
			if done, err := c.tell(&msg); done || err != nil {
				return err
			}
			silence.Reset(c.service.heartbeat)
			continue
		}
		select {
		case <-c.member.Ready():
		case <-silence.C:
			if err := c.heartbeat(); err != nil {
				return err
			}
			silence.Reset(c.service.heartbeat)
		case err := <-c.ended:
			return c.finish(err)
		case <-c.service.closing:
			c.inOrder = true
			return c.close(closingShutdown, errShuttingDown)
		case <-ctx.Done():
			if lost := access.Lost(ctx); lost != nil {
				c.inOrder = true
				return c.close(closingAccess, lost)
			}
			return ctx.Err()
		}
	}
}

// finish ends a stream from which nothing more comes.
func (c *consumption) finish(err error) error {
	switch {
	case errors.Is(err, errStopped):
		c.inOrder = true
		return c.close(closingStopped, nil)
	case errors.Is(err, io.EOF):
		c.inOrder = true
		return nil
	default:
		return err
	}
}

func (c *consumption) heartbeat() error {
	return c.send(&comandav1.ConsumeResponse{Message: &comandav1.ConsumeResponse_Heartbeat{
		Heartbeat: &comandav1.ConsumeHeartbeat{Time: timestamppb.New(c.service.clock())},
	}})
}

// tell sends what the group tells. done: it was the last.
func (c *consumption) tell(msg *groups.Message) (done bool, err error) {
	switch {
	case msg.Delivery != nil:
		encoded, err := consumedEvent(msg.Delivery)
		if err != nil {
			return true, err
		}
		c.service.metrics.sent.Inc()
		return false, c.stream.SendMsg(encoded)
	case msg.Revoked != "":
		return false, c.send(&comandav1.ConsumeResponse{Message: &comandav1.ConsumeResponse_Revoked{
			Revoked: &comandav1.ConsumeRevoked{DeliveryId: msg.Revoked},
		}})
	default:
		c.inOrder = true
		var cause error = domain.Errorf(domain.Unavailable, "the group's events cannot be given any more: %s", msg.Closing)
		if msg.Closing == groups.ClosingDeleted {
			cause = aboutGroup(c.group, domain.Errorf(domain.NotFound, "group %s: it was removed", c.group))
		}
		return true, c.close(msg.Closing, cause)
	}
}

// close says why the stream ends, and is the stream's error.
func (c *consumption) close(reason string, cause error) error {
	err := c.send(&comandav1.ConsumeResponse{Message: &comandav1.ConsumeResponse_Closing{
		Closing: &comandav1.ConsumeClosing{Reason: reason},
	}})
	if err != nil || cause == nil {
		return err
	}
	return &closedError{error: cause, reason: reason}
}

func (c *consumption) send(m *comandav1.ConsumeResponse) error { return c.stream.Send(m) }

// receive reads what the member says until it says nothing more, or something wrong.
func (c *consumption) receive() {
	for {
		req, err := c.stream.Recv()
		if err == nil {
			err = c.heard(req)
		}
		if err != nil {
			c.ended <- err
			return
		}
	}
}

// heard does what the member says. Its error ends the stream.
func (c *consumption) heard(req *comandav1.ConsumeRequest) error {
	switch m := req.GetMessage().(type) {
	case *comandav1.ConsumeRequest_Ack:
		c.member.Ack(m.Ack.GetDeliveryIds()...)
	case *comandav1.ConsumeRequest_Extend:
		c.member.Extend(m.Extend.GetDeliveryIds()...)
	case *comandav1.ConsumeRequest_Credits:
		c.member.Credits(int(m.Credits.GetCredits()))
	case *comandav1.ConsumeRequest_Nack:
		return c.nacked(m.Nack)
	case *comandav1.ConsumeRequest_Hello:
		return invalid("hello", "must be the first message, and no other")
	}
	return nil
}

func (c *consumption) nacked(n *comandav1.ConsumeNack) error {
	switch n.GetAction() {
	case comandav1.NackAction_NACK_ACTION_UNSPECIFIED, comandav1.NackAction_NACK_ACTION_RETRY:
		c.member.Retry(n.GetDeliveryId(), n.GetRetryAfter().AsDuration(), n.GetReason())
	case comandav1.NackAction_NACK_ACTION_PARK:
		c.member.Park(n.GetDeliveryId(), n.GetReason())
	case comandav1.NackAction_NACK_ACTION_SKIP:
		c.member.Skip(n.GetDeliveryId())
	case comandav1.NackAction_NACK_ACTION_STOP:
		return errStopped
	}
	return nil
}
