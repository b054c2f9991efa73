package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// groupsCmd operates the consumer groups of a running server.
type groupsCmd struct {
	Create groupsCreateCmd `cmd:"" help:"Make a group, whose members share its events."`
	List   groupsListCmd   `cmd:"" help:"List groups, and how they stand."`
	Seek   groupsSeekCmd   `cmd:"" help:"Move a group to another place in the log; what it holds is forgotten."`
	Parked groupsParkedCmd `cmd:"" help:"List a group's events that nobody could settle, by order."`
	Replay groupsReplayCmd `cmd:"" help:"Give parked events again, or skip them; what waits behind them follows."`
	Delete groupsDeleteCmd `cmd:"" help:"Remove a group and all that is kept of it."`
}

// groups has use speak to the server's EventService.
func (f *clientFlags) groups(ctx context.Context, use func(context.Context, comandav1.EventServiceClient) error) error {
	return f.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := f.unary(ctx)
		defer cancel()
		return use(ctx, comandav1.NewEventServiceClient(conn))
	})
}

// groupStart is where a group starts: beginning, now, a time or a position.
func groupStart(from string) *comandav1.GroupStart {
	switch from {
	case "beginning":
		return &comandav1.GroupStart{Start: &comandav1.GroupStart_Beginning{Beginning: &comandav1.SubscribeRequest_Beginning{}}}
	case "now":
		return &comandav1.GroupStart{Start: &comandav1.GroupStart_Now{Now: &comandav1.SubscribeRequest_Now{}}}
	}
	if at, err := time.Parse(time.RFC3339Nano, from); err == nil {
		return &comandav1.GroupStart{Start: &comandav1.GroupStart_Time{Time: timestamppb.New(at)}}
	}
	return &comandav1.GroupStart{Start: &comandav1.GroupStart_Position{Position: from}}
}

type groupsCreateCmd struct {
	clientFlags
	eventFilterFlags

	Name          string        `arg:"" help:"1 to 40 of a-z, 0-9 and -."`
	From          string        `help:"Where to start: beginning, now, a time (RFC 3339), or a position." default:"beginning"`
	AckWait       time.Duration `help:"How long a member has to answer (1s to 12h)." default:"30s"`
	MaxDeliveries uint32        `help:"Park an event that was given so often in vain (1 to 1000)." default:"5"`
}

// Run makes the group.
func (c *groupsCreateCmd) Run(ctx context.Context) error {
	filter, err := c.filter()
	if err != nil {
		return err
	}
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		_, err := client.CreateGroup(ctx, &comandav1.CreateGroupRequest{
			Group: &comandav1.ConsumerGroup{Name: c.Name, Filter: filter, AckWait: durationpb.New(c.AckWait), MaxDeliveries: c.MaxDeliveries},
			Start: groupStart(c.From),
		})
		return err
	})
}

type groupsListCmd struct {
	clientFlags
	outputFlag
}

// Run prints the groups.
func (c *groupsListCmd) Run(ctx context.Context, io *stdio) error {
	type g = *comandav1.GroupStatus
	number := func(of func(g) uint64) func(g) string {
		return func(m g) string { return strconv.FormatUint(of(m), 10) }
	}
	p := newPrinter(io.out, c.Output, []column[g]{
		{name: "group", text: func(m g) string { return m.GetGroup().GetName() }},
		{name: "members", text: func(m g) string { return strconv.FormatUint(uint64(m.GetMembers()), 10) }},
		{name: "lag_events", text: number(g.GetLagEvents)},
		{name: "in_flight", text: number(g.GetInFlight)},
		{name: "retrying", text: number(g.GetRetrying)},
		{name: "parked", text: number(g.GetParked)},
		{name: "oldest_unacknowledged", text: func(m g) string {
			if m.GetOldestUnacknowledged() == nil {
				return ""
			}
			return m.GetOldestUnacknowledged().AsDuration().Round(time.Millisecond).String()
		}},
	})
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		all, err := client.ListGroups(ctx, &comandav1.ListGroupsRequest{})
		if err != nil {
			return err
		}
		for _, m := range all.GetGroups() {
			if err := p.print(m); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

type groupsSeekCmd struct {
	clientFlags

	Name string `arg:"" help:"The group."`
	From string `arg:"" help:"Where to go on: beginning, now, a time (RFC 3339), or a position."`
}

// Run moves the group.
func (c *groupsSeekCmd) Run(ctx context.Context) error {
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		_, err := client.SeekGroup(ctx, &comandav1.SeekGroupRequest{Name: c.Name, Start: groupStart(c.From)})
		return err
	})
}

type groupsParkedCmd struct {
	clientFlags
	outputFlag

	Name  string `arg:"" help:"The group."`
	Limit int    `help:"At most so many (0: all)." default:"100"`
}

// Run pages through what is parked.
func (c *groupsParkedCmd) Run(ctx context.Context, io *stdio) error {
	type e = *comandav1.ParkedEvent
	p := newPrinter(io.out, c.Output, []column[e]{
		{name: "order_id", text: e.GetOrderId},
		{name: "revision", text: func(m e) string { return strconv.FormatUint(m.GetRevision(), 10) }},
		{name: "event_id", text: e.GetEventId},
		{name: "tenant", text: e.GetTenant},
		{name: "deliveries", text: func(m e) string { return strconv.FormatUint(uint64(m.GetDeliveries()), 10) }},
		{name: "waiting", text: func(m e) string { return strconv.FormatUint(m.GetWaiting(), 10) }},
		{name: "parked_at", text: func(m e) string { return timeText(m.GetParkedAt()) }},
		{name: "reason", text: e.GetReason},
	})
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		return pages(c.Limit, p, func(size int32, token string) ([]e, string, error) {
			page, err := client.ListParkedEvents(ctx, &comandav1.ListParkedEventsRequest{Group: c.Name, PageSize: size, PageToken: token})
			return page.GetEvents(), page.GetNextPageToken(), err
		})
	})
}

type groupsReplayCmd struct {
	clientFlags

	Name  string `arg:"" help:"The group."`
	Order string `arg:"" optional:"" help:"Only this order's event."`
	All   bool   `help:"All that are parked."`
	Skip  bool   `help:"Skip the parked events instead."`
}

// Run replays one order's event, or all.
func (c *groupsReplayCmd) Run(ctx context.Context, io *stdio) error {
	if c.All == (c.Order != "") {
		return usagef("name an order, or say --all")
	}
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		out, err := client.ReplayParkedEvents(ctx, &comandav1.ReplayParkedEventsRequest{Group: c.Name, OrderId: c.Order, Skip: c.Skip})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(io.out, "%d events\n", out.GetEvents())
		return err
	})
}

type groupsDeleteCmd struct {
	clientFlags

	Name string `arg:"" help:"The group."`
}

// Run removes the group.
func (c *groupsDeleteCmd) Run(ctx context.Context) error {
	return c.groups(ctx, func(ctx context.Context, client comandav1.EventServiceClient) error {
		_, err := client.DeleteGroup(ctx, &comandav1.DeleteGroupRequest{Name: c.Name})
		return err
	})
}
