package main

import (
	"context"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// eventsCmd reads the log.
type eventsCmd struct {
	Tail   eventsTailCmd   `cmd:"" help:"Print events as they are recorded."`
	Export eventsExportCmd `cmd:"" help:"Write the log's events as files for analysts, with the orders' intervals and movements of money."`
}

type eventsTailCmd struct {
	clientFlags
	outputFlag

	From     string `help:"Where to start: beginning, now, or a resume token." default:"now"`
	Order    string `help:"Only this order's events."`
	NoFollow bool   `help:"End when everything recorded so far was printed."`
	Limit    int    `help:"End after so many events (0: never)."`
	Tokens   bool   `help:"Print the last resume token on standard error at the end."`
}

// Run subscribes and prints.
func (c *eventsTailCmd) Run(ctx context.Context, out *stdio) error {
	p := newPrinter(out.out, c.Output, eventColumns())
	var token string
	err := c.tail(ctx, c.request(), p, func(m *comandav1.SubscribeResponse) (bool, error) {
		if m.GetCaughtUp() != nil {
			token = m.GetCaughtUp().GetResumeToken()
			return c.NoFollow, nil
		}
		e := m.GetEvent().GetEvent()
		if e == nil || c.Order != "" && e.GetOrderId() != c.Order {
			return false, nil
		}
		token = m.GetEvent().GetResumeToken()
		if err := p.print(e); err != nil {
			return true, err
		}
		return c.Limit > 0 && p.count >= c.Limit, p.live()
	})
	if c.Tokens && token != "" {
		_, _ = out.err.Write([]byte(token + "\n"))
	}
	return err
}

func (c *eventsTailCmd) request() *comandav1.SubscribeRequest {
	switch c.From {
	case "beginning":
		return &comandav1.SubscribeRequest{
			Start: &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
		}
	case "now":
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Now_{Now: &comandav1.SubscribeRequest_Now{}}}
	default:
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_ResumeToken{ResumeToken: c.From}}
	}
}
