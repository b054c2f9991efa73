package grpcapi_test

import (
	"context"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/access"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func helloOf(group string, credits uint32) *comandav1.ConsumeRequest {
	return &comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Hello{Hello: &comandav1.ConsumeHello{Group: group, Credits: credits}}}
}

func nackOf(n *comandav1.ConsumeNack) *comandav1.ConsumeRequest {
	return &comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Nack{Nack: n}}
}

// consumed is what ends a member's stream, that says messages.
func consumed(messages ...*comandav1.ConsumeRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		stream, err := g.events.Consume(ctx)
		must(g.t, err)
		for _, m := range messages {
			if stream.Send(m) != nil {
				break // it has ended: Recv says why
			}
		}
		return drain(stream, nil)
	}
}

// whileConsumed is what ends a member's stream when end was done as operator.
func whileConsumed(group string, end func(ctx context.Context, g *guarded) error) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		stream, err := g.events.Consume(ctx)
		must(g.t, err)
		must(g.t, stream.Send(helloOf(group, 1)))
		if _, err := stream.Recv(); err != nil { // it has joined
			return err
		}
		must(g.t, end(g.as(metadata.NewOutgoingContext(ctx, nil), "operator"), g))
		return drain(stream, nil)
	}
}

func createGroup(req *comandav1.CreateGroupRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error { _, err := g.events.CreateGroup(ctx, req); return err }
}

func seekGroup(req *comandav1.SeekGroupRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error { _, err := g.events.SeekGroup(ctx, req); return err }
}

func deleteGroup(name string) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.events.DeleteGroup(ctx, &comandav1.DeleteGroupRequest{Name: name})
		return err
	}
}

func listGroups(name string) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.events.ListGroups(ctx, &comandav1.ListGroupsRequest{Name: name})
		return err
	}
}

func listParked(req *comandav1.ListParkedEventsRequest) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error { _, err := g.events.ListParkedEvents(ctx, req); return err }
}

func replayParked(group, order string) func(context.Context, *guarded) error {
	return func(ctx context.Context, g *guarded) error {
		_, err := g.events.ReplayParkedEvents(ctx, &comandav1.ReplayParkedEventsRequest{Group: group, OrderId: order})
		return err
	}
}

var groupNow = &comandav1.GroupStart{Start: &comandav1.GroupStart_Now{Now: &comandav1.SubscribeRequest_Now{}}}

// groupRefusals are the rows of consumer groups: erp is told of all, theirs of outra only,
// and gone and moved are so while they have a member.
func groupRefusals(g *guarded) []refusal {
	g.create("consumer", []access.Scope{access.EventsRead}, "loja")
	admin := g.as(g.t.Context(), "operator")
	for _, group := range []*comandav1.ConsumerGroup{
		group("erp"), group("gone"), group("moved"),
		{Name: "theirs", Filter: &comandav1.EventFilter{Tenants: []string{"outra"}}},
	} {
		must(g.t, createGroup(&comandav1.CreateGroupRequest{Group: group})(admin, g))
	}
	const nameRule, orderRule = "must be 1 to 40 of a-z, 0-9 and -", `must be "ord_" and 26 characters of a-z and 2-7`
	about := func(reason, group, description string) []proto.Message {
		return []proto.Message{info(reason), none("comanda.v1.ConsumerGroup", group, description)}
	}
	noGroup := func(name string) []proto.Message { return about("NOT_FOUND", name, "group "+name+": there is none") }
	invalid := func(fieldsAndRules ...string) []proto.Message {
		return []proto.Message{info("INVALID"), bad(fieldsAndRules...)}
	}
	closed := func(reason, closing string) *errdetails.ErrorInfo {
		return &errdetails.ErrorInfo{Reason: reason, Domain: "comanda", Metadata: map[string]string{"closing": closing}}
	}
	unknown := orderOf("loja", 99)
	return []refusal{
		{"a member without its scope", "writer", consumed(helloOf("erp", 1)), codes.PermissionDenied, []proto.Message{lacks("events:read")}},
		{"a group made without its scope", "consumer", createGroup(&comandav1.CreateGroupRequest{Group: group("x")}), codes.PermissionDenied, []proto.Message{lacks("admin")}},
		{"a group moved by one of some tenants", "manager", seekGroup(&comandav1.SeekGroupRequest{Name: "erp", Start: groupNow}), codes.PermissionDenied, []proto.Message{lacks("admin")}},
		{"a member of no group", "consumer", consumed(helloOf("nobodys", 1)), codes.NotFound, noGroup("nobodys")},
		{"a member of another tenant's group", "consumer", consumed(helloOf("theirs", 1)), codes.NotFound, noGroup("theirs")},
		{"no group to move", "operator", seekGroup(&comandav1.SeekGroupRequest{Name: "nobodys", Start: groupNow}), codes.NotFound, noGroup("nobodys")},
		{"no group to remove", "operator", deleteGroup("nobodys"), codes.NotFound, noGroup("nobodys")},
		{"no group with parked events", "operator", listParked(&comandav1.ListParkedEventsRequest{Group: "nobodys"}), codes.NotFound, noGroup("nobodys")},
		{"no group to replay", "operator", replayParked("nobodys", ""), codes.NotFound, noGroup("nobodys")},
		{
			"no parked event to replay", "operator", replayParked("erp", unknown), codes.NotFound,
			about("NOT_FOUND", "erp", "order "+unknown+": it has no parked event in group erp"),
		},
		{
			"a group's name that is taken", "operator", createGroup(&comandav1.CreateGroupRequest{Group: group("erp")}),
			codes.AlreadyExists, about("EXISTS", "erp", "group erp: there is one"),
		},
		{"a group that is removed under its member", "consumer", whileConsumed("gone", deleteGroup("gone")), codes.NotFound, []proto.Message{
			closed("NOT_FOUND", "group_deleted"), none("comanda.v1.ConsumerGroup", "gone", "group gone: it was removed"),
		}},
		{
			"a group that is moved under its member", "consumer",
			whileConsumed("moved", seekGroup(&comandav1.SeekGroupRequest{Name: "moved", Start: groupNow})), codes.Unavailable,
			[]proto.Message{closed("UNAVAILABLE", "group_moved"), &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}},
		},

		{"no group", "operator", createGroup(&comandav1.CreateGroupRequest{}), codes.InvalidArgument, invalid("group", "is required")},
		{"no group that it could be", "operator", createGroup(&comandav1.CreateGroupRequest{
			Group: &comandav1.ConsumerGroup{
				Name: "ERP", AckWait: durationpb.New(groups.MinAckWait - 1), MaxDeliveries: groups.MaxDeliveries + 1,
				Filter: &comandav1.EventFilter{OrderIds: []string{"1"}, References: []string{"a", ""}},
			},
			Start: &comandav1.GroupStart{Start: &comandav1.GroupStart_Position{Position: "!"}},
		}), codes.InvalidArgument, invalid(
			"group.ack_wait", "must be greater than or equal to 1s and less than or equal to 43200s",
			"group.filter.order_ids[0]", orderRule,
			"group.filter.references[1]", "is required",
			"group.max_deliveries", "must be less than or equal to 1000",
			"group.name", nameRule,
			"start.position", "must be a position from an answer of Comanda",
		)},
		{"a group's wait that is too long", "operator", createGroup(&comandav1.CreateGroupRequest{
			Group: &comandav1.ConsumerGroup{Name: "x", AckWait: durationpb.New(groups.MaxAckWait + 1)}, Start: &comandav1.GroupStart{},
		}), codes.InvalidArgument, invalid(
			"group.ack_wait", "must be greater than or equal to 1s and less than or equal to 43200s", "start.start", "is required",
		)},
		{"nowhere to move a group to", "operator", seekGroup(&comandav1.SeekGroupRequest{}), codes.InvalidArgument, invalid("name", "is required", "start", "is required")},
		{"no time to move a group to", "operator", seekGroup(&comandav1.SeekGroupRequest{
			Name: "erp", Start: &comandav1.GroupStart{Start: &comandav1.GroupStart_Time{Time: &timestamppb.Timestamp{Nanos: -1}}},
		}), codes.InvalidArgument, invalid("start.time", "must be a time of the years 1 to 9999")},
		{"a place for a group that the log does not have", "operator", seekGroup(&comandav1.SeekGroupRequest{
			Name: "erp", Start: &comandav1.GroupStart{Start: &comandav1.GroupStart_Position{Position: g.position.With(0, 1<<40).String()}},
		}), codes.FailedPrecondition, []proto.Message{
			info("REFUSED"), precondition("LOG", "position", "is ahead of the log, which has lost events since; begin a new subscription"),
		}},
		{"no name of a group to remove", "operator", deleteGroup(""), codes.InvalidArgument, invalid("name", "is required")},
		{"no name of a group to list", "operator", listGroups("A B"), codes.InvalidArgument, invalid("name", nameRule)},
		{"no words of what is parked", "operator", listParked(&comandav1.ListParkedEventsRequest{PageSize: 1001, PageToken: "x"}), codes.InvalidArgument, invalid(
			"group", "is required",
			"page_size", "must be greater than or equal to 0 and less than or equal to 1000",
			"page_token", "not a page token that Comanda gave out",
		)},
		{"no order to replay", "operator", replayParked("ERP", "ord_1"), codes.InvalidArgument, invalid("group", nameRule, "order_id", orderRule)},

		{"a member without a name or measure", "consumer", consumed(helloOf("", groups.MaxCredits+1)), codes.InvalidArgument, invalid(
			"hello.credits", "must be less than or equal to 1000", "hello.group", "is required",
		)},
		{"a member that says something else first", "consumer", consumed(nackOf(&comandav1.ConsumeNack{})), codes.InvalidArgument, invalid("hello", "must be the first message")},
		{"a member that says hello twice", "consumer", consumed(helloOf("erp", 1), helloOf("erp", 1)), codes.InvalidArgument, invalid("hello", "must be the first message, and no other")},
		{"a member that says nothing", "consumer", consumed(helloOf("erp", 1), &comandav1.ConsumeRequest{}), codes.InvalidArgument, invalid("message", "is required")},
		{"credits beyond measure", "consumer", consumed(helloOf("erp", 1), &comandav1.ConsumeRequest{
			Message: &comandav1.ConsumeRequest_Credits{Credits: &comandav1.ConsumeCredits{Credits: groups.MaxCredits + 1}},
		}), codes.InvalidArgument, invalid("credits.credits", "must be less than or equal to 1000")},
		{"an answer that is none", "consumer", consumed(helloOf("erp", 1), nackOf(&comandav1.ConsumeNack{
			Action: 99, RetryAfter: durationpb.New(-1), Reason: strings.Repeat("é", groups.MaxReason+1),
		})), codes.InvalidArgument, invalid(
			"nack.action", "must be one of the defined enum values",
			"nack.reason", "must be at most 200 characters",
			"nack.retry_after", "must be greater than or equal to 0s and less than or equal to 604800s",
		)},
		{
			"a retry after too long", "consumer", consumed(helloOf("erp", 1), nackOf(&comandav1.ConsumeNack{RetryAfter: durationpb.New(groups.MaxRetryAfter + 1)})),
			codes.InvalidArgument, invalid("nack.retry_after", "must be greater than or equal to 0s and less than or equal to 604800s"),
		},
	}
}
