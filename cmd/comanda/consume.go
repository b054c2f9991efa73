package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
)

type eventsConsumeCmd struct {
	clientFlags
	outputFlag

	Group   string `required:"" help:"The group to be a member of."`
	Credits uint32 `help:"How many events to have unanswered at the most (1 to 1000)." default:"1"`
	Limit   int    `help:"End after so many events (0: never)."`
}

// Run prints the events that it is given, and acknowledges each when it is printed.
func (c *eventsConsumeCmd) Run(ctx context.Context, out *stdio) error {
	p := newPrinter(out.out, c.Output, eventColumns())
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := comandav1.NewEventServiceClient(conn).Consume(ctx)
		if err != nil {
			return err
		}
		err = stream.Send(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Hello{
			Hello: &comandav1.ConsumeHello{Group: c.Group, Credits: c.Credits},
		}})
		if err == nil || errors.Is(err, io.EOF) { // Recv says why
			err = c.consume(stream, p)
		}
		if ctx.Err() != nil { // it was interrupted
			err = nil
		}
		return errors.Join(err, p.flush())
	})
}

func (c *eventsConsumeCmd) consume(stream comandav1.EventService_ConsumeClient, p *printer[*comandav1.Event]) error {
	leaving := false
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		e := m.GetEvent()
		if e == nil || leaving {
			continue
		}
		if err := p.print(e.GetEvent()); err != nil {
			return err
		}
		if err := p.live(); err != nil {
			return err
		}
		err = stream.Send(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Ack{
			Ack: &comandav1.ConsumeAck{DeliveryIds: []string{e.GetDeliveryId()}},
		}})
		if leaving = c.Limit > 0 && p.count >= c.Limit; leaving && err == nil {
			err = stream.CloseSend() // and read to the end, so that the acknowledgement is there
		}
		if err != nil && !errors.Is(err, io.EOF) { // Recv says why
			return err
		}
	}
}
