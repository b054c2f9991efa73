package main

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// eventsCmd reads the log.
type eventsCmd struct {
	Tail    eventsTailCmd    `cmd:"" help:"Print events as they are recorded."`
	Consume eventsConsumeCmd `cmd:"" help:"Print and acknowledge a consumer group's events, as one of its members."`
	Export  eventsExportCmd  `cmd:"" help:"Write the log's events as files for analysts, with the orders' intervals and movements of money."`
}

type eventsTailCmd struct {
	clientFlags
	outputFlag
	eventFilterFlags

	From     string `help:"Where to start: beginning, now, a time (RFC 3339), or a resume token of the same filter." default:"now"`
	NoFollow bool   `help:"End when everything recorded so far was printed."`
	Limit    int    `help:"End after so many events (0: never)."`
	Tokens   bool   `help:"Print the last resume token on standard error at the end."`
}

// eventFilterFlags say which events the server is to send.
type eventFilterFlags struct {
	Tenant    []string `help:"Only these merchants' events."`
	Source    []string `help:"Only events through these sources."`
	Order     []string `help:"Only these orders' events."`
	Reference []string `help:"Only events with these merchant references."`
	Kind      []string `help:"Only facts of these kinds (approved, details, …)."`
	Edge      []string `help:"Only moves from one status to another, as pending:approved; :approved is from any." placeholder:"FROM:TO"`
	Verdict   []string `help:"Only facts with these verdicts (applied, noted, late or conflict)."`
}

// filter is what the flags say; nil of none.
func (f *eventFilterFlags) filter() (*comandav1.EventFilter, error) {
	out := &comandav1.EventFilter{Tenants: f.Tenant, Sources: f.Source, OrderIds: f.Order, References: f.Reference}
	for _, word := range f.Kind {
		kind, ok := domain.ParseKind(word)
		if !ok || kind == domain.KindUnknown {
			return nil, usagef("--kind %s: not a kind of fact", word)
		}
		out.Kinds = append(out.Kinds, wire.Kind(kind))
	}
	for _, word := range f.Verdict {
		verdict, ok := domain.ParseVerdict(word)
		if !ok || verdict == domain.VerdictUnknown {
			return nil, usagef("--verdict %s: not a verdict", word)
		}
		out.Verdicts = append(out.Verdicts, wire.Verdict(verdict))
	}
	for _, text := range f.Edge {
		from, to, ok := strings.Cut(text, ":")
		if !ok {
			return nil, usagef("--edge %s: want FROM:TO, either of which may be empty", text)
		}
		edge := new(comandav1.StatusEdge)
		for _, end := range []struct {
			word   string
			status *comandav1.OrderStatus
		}{{from, &edge.From}, {to, &edge.To}} {
			if end.word == "" {
				continue
			}
			status, ok := domain.ParseStatus(end.word)
			if !ok {
				return nil, usagef("--edge %s: %s is not a status", text, end.word)
			}
			*end.status = wire.Status(status)
		}
		out.Edges = append(out.Edges, edge)
	}
	if proto.Size(out) == 0 {
		return nil, nil //nolint:nilnil // no filter is no error
	}
	return out, nil
}

// Run subscribes and prints.
func (c *eventsTailCmd) Run(ctx context.Context, out *stdio) error {
	req := c.request()
	var err error
	if req.Filter, err = c.filter(); err != nil {
		return err
	}
	p := newPrinter(out.out, c.Output, eventColumns())
	var token string
	err = c.tail(ctx, req, p, func(m *comandav1.SubscribeResponse) (bool, error) {
		token = client.Token(m)
		e := m.GetEvent().GetEvent()
		if e == nil {
			return c.NoFollow && m.GetCaughtUp() != nil, nil
		}
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
	}
	if at, err := time.Parse(time.RFC3339Nano, c.From); err == nil {
		return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Time{Time: timestamppb.New(at)}}
	}
	return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_ResumeToken{ResumeToken: c.From}}
}
