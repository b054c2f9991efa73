package grpcapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// consumer is a member of a group.
type consumer struct {
	t      *testing.T
	stream comandav1.EventService_ConsumeClient
	cancel context.CancelFunc
}

func consume(t *testing.T, s *server, group string, credits uint32) *consumer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.events.Consume(ctx)
	must(t, err)
	c := &consumer{t: t, stream: stream, cancel: cancel}
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Hello{Hello: &comandav1.ConsumeHello{Group: group, Credits: credits}}})
	return c
}

// joined is consume, and the server's welcome.
func joined(t *testing.T, s *server, group string, credits uint32) *consumer {
	t.Helper()
	c := consume(t, s, group, credits)
	if m := c.next(); m.GetWelcome().GetGroup().GetName() != group {
		t.Fatalf("first is %v", m)
	}
	return c
}

func (c *consumer) say(m *comandav1.ConsumeRequest) {
	c.t.Helper()
	must(c.t, c.stream.Send(m))
}

func (c *consumer) next() *comandav1.ConsumeResponse {
	c.t.Helper()
	for {
		m, err := c.stream.Recv()
		must(c.t, err)
		if m.GetHeartbeat() == nil {
			return m
		}
	}
}

// want is the next event, of the order n.
func (c *consumer) want(n int, revision uint64, attempt uint32) *comandav1.ConsumedEvent {
	c.t.Helper()
	m := c.next()
	e := m.GetEvent()
	if e.GetEvent().GetOrderId() != string(identity(n).OrderID()) || e.GetEvent().GetRevision() != revision || e.GetAttempt() != attempt {
		c.t.Fatalf("given is %v, want order %d, revision %d, attempt %d", m, n, revision, attempt)
	}
	if _, err := domain.ParsePosition(e.GetPosition()); err != nil || e.GetPosition() == "" || e.GetDeadline().AsTime().Before(time.Now()) || e.GetDeliveryId() == "" {
		c.t.Errorf("given is %v", e)
	}
	return e
}

func (c *consumer) ack(events ...*comandav1.ConsumedEvent) {
	c.t.Helper()
	ack := new(comandav1.ConsumeAck)
	for _, e := range events {
		ack.DeliveryIds = append(ack.DeliveryIds, e.GetDeliveryId())
	}
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Ack{Ack: ack}})
}

func (c *consumer) nack(e *comandav1.ConsumedEvent, action comandav1.NackAction) {
	c.t.Helper()
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Nack{Nack: &comandav1.ConsumeNack{
		DeliveryId: e.GetDeliveryId(), Action: action, Reason: "because",
	}}})
}

// ends wants a closing for a reason, "" for none, and then an end.
func (c *consumer) ends(reason string, code codes.Code) {
	c.t.Helper()
	closing := ""
	for {
		m, err := c.stream.Recv()
		if err == nil {
			closing = m.GetClosing().GetReason()
			continue
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if closing != reason || status.Code(err) != code {
			c.t.Errorf("ended with %q and %v, want %q and %s", closing, err, reason, code)
		}
		return
	}
}

func group(name string) *comandav1.ConsumerGroup { return &comandav1.ConsumerGroup{Name: name} }

func (s *server) create(t *testing.T, g *comandav1.ConsumerGroup, start *comandav1.GroupStart) {
	t.Helper()
	_, err := s.events.CreateGroup(t.Context(), &comandav1.CreateGroupRequest{Group: g, Start: start})
	must(t, err)
}

// parkedOf waits until so many events are parked.
func (s *server) parkedOf(t *testing.T, name string, n int) []*comandav1.ParkedEvent {
	t.Helper()
	for {
		out, err := s.events.ListParkedEvents(t.Context(), &comandav1.ListParkedEventsRequest{Group: name})
		must(t, err)
		if len(out.GetEvents()) == n {
			return out.GetEvents()
		}
	}
}

func TestConsume(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{Heartbeat: 20 * time.Millisecond}, store.deps())
	s.create(t, group("erp"), nil)
	c := joined(t, s, "erp", 1)
	if m, err := c.stream.Recv(); err != nil || m.GetHeartbeat().GetTime() == nil {
		t.Errorf("in silence comes %v (%v)", m, err)
	}
	for _, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindShipping, domain.KindRefunded} {
		store.record(1, kind)
	}
	e := c.want(1, 1, 1)
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Extend{Extend: &comandav1.ConsumeExtend{DeliveryIds: []string{e.GetDeliveryId()}}}})
	c.ack(e)
	c.nack(c.want(1, 2, 1), comandav1.NackAction_NACK_ACTION_RETRY)
	c.nack(c.want(1, 2, 2), comandav1.NackAction_NACK_ACTION_UNSPECIFIED)
	c.nack(c.want(1, 2, 3), comandav1.NackAction_NACK_ACTION_SKIP)
	c.nack(c.want(1, 3, 1), comandav1.NackAction_NACK_ACTION_PARK)
	parked := s.parkedOf(t, "erp", 1)[0]
	if parked.GetReason() != "because" || parked.GetRevision() != 3 || parked.GetOrderId() != string(identity(1).OrderID()) || parked.GetDeliveries() != 1 || parked.GetParkedAt() == nil {
		t.Errorf("parked is %v", parked)
	}
	out, err := s.events.ReplayParkedEvents(t.Context(), &comandav1.ReplayParkedEventsRequest{Group: "erp", OrderId: parked.GetOrderId()})
	if err != nil || out.GetEvents() != 1 {
		t.Errorf("replayed %v (%v)", out, err)
	}
	c.ack(c.want(1, 3, 1))
	c.nack(c.want(1, 4, 1), comandav1.NackAction_NACK_ACTION_STOP)
	c.ends("stopped", codes.OK)

	c = joined(t, s, "erp", 0)
	c.want(1, 4, 1)
	must(t, c.stream.CloseSend())
	c.ends("", codes.OK)

	c = joined(t, s, "erp", 1)
	c.want(1, 4, 1)
	c.cancel() // without a word
	c = joined(t, s, "erp", 1)
	e = c.want(1, 4, 2)
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Credits{Credits: &comandav1.ConsumeCredits{Credits: 5}}})
	store.record(2, domain.KindPending)
	other := c.want(2, 1, 1)
	c.ack(e, other)
	s.stop()
	c.ends("shutting_down", codes.Unavailable)
}

func TestGroupAdministration(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	store.record(1, domain.KindPending)
	store.recordAs(2, domain.KindPending, "outra", "loja-checkout")
	position := store.record(1, domain.KindApproved).Position
	s.create(t, &comandav1.ConsumerGroup{
		Name: "a", AckWait: durationpb.New(time.Minute), MaxDeliveries: 1, Filter: &comandav1.EventFilter{Tenants: []string{"loja"}},
	}, nil)
	s.create(t, group("b"), &comandav1.GroupStart{Start: &comandav1.GroupStart_Now{Now: &comandav1.SubscribeRequest_Now{}}})
	s.create(t, group("c"), &comandav1.GroupStart{Start: &comandav1.GroupStart_Position{Position: position.String()}})
	s.create(t, group("d"), &comandav1.GroupStart{Start: &comandav1.GroupStart_Time{Time: timestamppb.New(time.Now().Add(-time.Hour))}})
	list, err := s.events.ListGroups(t.Context(), &comandav1.ListGroupsRequest{})
	must(t, err)
	var got []string
	for _, g := range list.GetGroups() {
		got = append(got, fmt.Sprint(g.GetGroup().GetName(), g.GetLagEvents(), g.GetGroup().GetAckWait().AsDuration(), g.GetGroup().GetMaxDeliveries(),
			len(g.GetGroup().GetFilter().GetTenants()), g.GetOldestUnacknowledged() != nil, g.GetCreatedAt() != nil))
	}
	const want = "a2 1m0s 1 1 true true b0 30s 5 0 false true c1 30s 5 0 true true d3 30s 5 0 true true" // order 2 is in another partition
	if text := strings.Join(got, " "); strings.ReplaceAll(text, " ", "") != strings.ReplaceAll(want, " ", "") {
		t.Errorf("groups are\n%s, want\n%s", text, want)
	}

	c := joined(t, s, "a", 1)
	c.nack(c.want(1, 1, 1), comandav1.NackAction_NACK_ACTION_RETRY) // once is enough here
	s.parkedOf(t, "a", 1)
	_, err = s.events.SeekGroup(t.Context(), &comandav1.SeekGroupRequest{Name: "a", Start: &comandav1.GroupStart{
		Start: &comandav1.GroupStart_Beginning{Beginning: &comandav1.SubscribeRequest_Beginning{}},
	}})
	must(t, err)
	c.ends("group_moved", codes.Unavailable)
	c = joined(t, s, "a", 1)
	c.ack(c.want(1, 1, 1))
	c.want(1, 2, 1)
	_, err = s.events.DeleteGroup(t.Context(), &comandav1.DeleteGroupRequest{Name: "a"})
	must(t, err)
	c.ends("group_deleted", codes.NotFound)

	page, err := s.events.ListParkedEvents(t.Context(), &comandav1.ListParkedEventsRequest{Group: "b"})
	if err != nil || len(page.GetEvents()) > 0 || page.GetNextPageToken() != "" {
		t.Errorf("parked are %v (%v)", page, err)
	}
}

// TestParkedEventsArePaged parks the events of three orders.
func TestParkedEventsArePaged(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	s.create(t, group("erp"), nil)
	c := joined(t, s, "erp", 3)
	for n := range 3 {
		store.record(n, domain.KindPending)
		c.nack(c.want(n, 1, 1), comandav1.NackAction_NACK_ACTION_PARK)
	}
	all := s.parkedOf(t, "erp", 3)
	var got []string
	req := &comandav1.ListParkedEventsRequest{Group: "erp", PageSize: 2}
	for range 2 {
		page, err := s.events.ListParkedEvents(t.Context(), req)
		must(t, err)
		for _, e := range page.GetEvents() {
			got = append(got, e.GetOrderId())
		}
		req.PageToken = page.GetNextPageToken()
	}
	if len(got) != 3 || req.GetPageToken() != "" || got[0] != all[0].GetOrderId() || got[1] != all[1].GetOrderId() || got[2] != all[2].GetOrderId() {
		t.Errorf("pages have %v, then %q", got, req.GetPageToken())
	}
}

// TestAGroupsBoundsAreAllowed has everything as great as the rules of its messages let it be,
// which is what package groups allows.
func TestAGroupsBoundsAreAllowed(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	name := strings.Repeat("x", 40)
	s.create(t, &comandav1.ConsumerGroup{
		Name: name, AckWait: durationpb.New(groups.MaxAckWait), MaxDeliveries: groups.MaxDeliveries,
	}, nil)
	s.create(t, &comandav1.ConsumerGroup{Name: "least", AckWait: durationpb.New(groups.MinAckWait), MaxDeliveries: 1}, nil)
	c := joined(t, s, name, groups.MaxCredits)
	store.record(1, domain.KindPending)
	e := c.want(1, 1, 1)
	c.say(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Nack{Nack: &comandav1.ConsumeNack{
		DeliveryId: e.GetDeliveryId(), Action: comandav1.NackAction_NACK_ACTION_PARK,
		RetryAfter: durationpb.New(groups.MaxRetryAfter), Reason: strings.Repeat("é", groups.MaxReason),
	}}})
	if p := s.parkedOf(t, name, 1)[0]; p.GetReason() != strings.Repeat("é", groups.MaxReason) {
		t.Errorf("parked is %v", p)
	}
}

// TestAMemberIsGivenWhatItMaySee has a token of one merchant in a group that is told of
// all, in one that is told of two, and then no more.
func TestAMemberIsGivenWhatItMaySee(t *testing.T) {
	store := newStore(t)
	g := guard(t, store)
	g.create("admin", []access.Scope{access.Admin}, access.AnyTenant)
	g.create("narrow", []access.Scope{access.EventsRead}, "outra")
	admin, narrow := g.dial("admin"), g.dial("narrow")
	admin.create(t, group("erp"), nil)
	admin.create(t, &comandav1.ConsumerGroup{Name: "both", Filter: &comandav1.EventFilter{Tenants: []string{"loja", "outra"}}}, nil)
	consume(t, narrow, "both", 1).ends("", codes.NotFound)
	if _, err := narrow.events.ListGroups(t.Context(), &comandav1.ListGroupsRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("groups are listed to whoever reads events: %v", err)
	}
	c := joined(t, narrow, "erp", 2)
	store.record(1, domain.KindPending)
	want := store.recordAs(2, domain.KindPending, "outra", "x")
	e := c.next().GetEvent()
	if e.GetEvent().GetEventId() != string(want.EventID) {
		t.Errorf("given is %v", e)
	}
	c.ack(e)
	want = store.recordAs(2, domain.KindApproved, "outra", "x")
	if e := c.next().GetEvent(); e.GetEvent().GetEventId() != string(want.EventID) {
		t.Errorf("given is %v", e)
	}
	_, err := g.tokens.Revoke("narrow", time.Now())
	must(t, err)
	must(t, g.authority.Refresh())
	c.ends("access_ended", codes.Unauthenticated)
	all := joined(t, admin, "erp", 2)
	seen := map[string]uint32{}
	for range 2 {
		e := all.next().GetEvent()
		seen[e.GetEvent().GetTenant()] = e.GetAttempt()
	}
	if seen["loja"] != 1 || seen["outra"] != 1 {
		t.Errorf("given after the other had lost its access are %v", seen)
	}
}
