package grpcapi

import (
	"context"
	"fmt"
	"sort"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Match reads the filter of a consumer group, which is an encoded EventFilter. The
// error's kind is Invalid.
func Match(encoded []byte) (func(*ring.Entry) bool, error) {
	f := new(comandav1.EventFilter)
	if err := proto.Unmarshal(encoded, f); err != nil {
		return nil, domain.Errorf(domain.Invalid, "read the filter: %w", err)
	}
	var check checker
	out := check.filter(f)
	if err := check.err(); err != nil {
		return nil, err
	}
	return out.match, nil
}

// aboutGroup is err, of a group, with what it is that is not there, or is there already.
func aboutGroup(name string, err error) error {
	if kind := domain.KindOf(err); kind != domain.NotFound && kind != domain.Exists {
		return err
	}
	return &detailedError{
		error:  err,
		detail: &errdetails.ResourceInfo{ResourceType: groupResource, ResourceName: name, Description: err.Error()},
	}
}

const groupResource = "comanda.v1.ConsumerGroup"

// CreateGroup implements [comandav1.EventServiceServer].
func (s *eventService) CreateGroup(ctx context.Context, req *comandav1.CreateGroupRequest) (*comandav1.CreateGroupResponse, error) {
	in := req.GetGroup()
	var check checker
	group := groups.Group{
		Name: in.GetName(), AckWait: in.GetAckWait().AsDuration(), MaxDeliveries: int(in.GetMaxDeliveries()),
		Tenants: check.filter(in.GetFilter()).tenants,
	}
	err := check.err()
	if err != nil {
		return nil, err
	}
	if group.Filter, err = proto.Marshal(in.GetFilter()); err != nil {
		return nil, fmt.Errorf("encode the filter of group %s: %w", group.Name, err)
	}
	after, err := s.groupStart(ctx, req.GetStart())
	if err != nil {
		return nil, err
	}
	if group, err = s.groups.Create(ctx, group, after); err != nil {
		return nil, aboutGroup(in.GetName(), err)
	}
	out, err := groupMessage(&group)
	return &comandav1.CreateGroupResponse{Group: out}, err
}

// groupStart is where a group starts: for nil, at the beginning.
func (s *eventService) groupStart(ctx context.Context, in *comandav1.GroupStart) (domain.Position, error) {
	req := &placeRequest{start: in.GetStart(), time: in.GetTime(), position: in.GetPosition()}
	if _, now := in.GetStart().(*comandav1.GroupStart_Now); now {
		req.start = &comandav1.SubscribeRequest_Now_{}
	}
	p, err := s.place(ctx, req)
	if err != nil {
		return domain.Position{}, err
	}
	return p.after, nil
}

// ListGroups implements [comandav1.EventServiceServer].
func (s *eventService) ListGroups(ctx context.Context, req *comandav1.ListGroupsRequest) (*comandav1.ListGroupsResponse, error) {
	found, err := s.groups.List(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	out := &comandav1.ListGroupsResponse{Groups: make([]*comandav1.GroupStatus, len(found))}
	now := s.clock()
	for i := range found {
		if out.Groups[i], err = groupStatus(&found[i], now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func groupStatus(s *groups.Status, now time.Time) (*comandav1.GroupStatus, error) {
	group, err := groupMessage(&s.Group)
	out := &comandav1.GroupStatus{
		Group: group, CreatedAt: wire.Time(s.CreatedAt), LagEvents: s.Lag,
		Members:  uint32(s.Members),  //nolint:gosec // not negative
		InFlight: uint64(s.InFlight), //nolint:gosec // not negative
		Retrying: uint64(s.Retrying), //nolint:gosec // not negative
		Parked:   uint64(s.Parked),   //nolint:gosec // not negative
	}
	if !s.Oldest.IsZero() {
		out.OldestUnacknowledged = durationpb.New(max(now.Sub(s.Oldest), 0))
	}
	return out, err
}

func groupMessage(g *groups.Group) (*comandav1.ConsumerGroup, error) {
	out := &comandav1.ConsumerGroup{
		Name: g.Name, AckWait: durationpb.New(g.AckWait), MaxDeliveries: uint32(g.MaxDeliveries), //nolint:gosec // at most 1,000
	}
	if len(g.Filter) == 0 {
		return out, nil
	}
	out.Filter = new(comandav1.EventFilter)
	if err := proto.Unmarshal(g.Filter, out.GetFilter()); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "read the filter of group %s: %w", g.Name, err)
	}
	return out, nil
}

// SeekGroup implements [comandav1.EventServiceServer].
func (s *eventService) SeekGroup(ctx context.Context, req *comandav1.SeekGroupRequest) (*comandav1.SeekGroupResponse, error) {
	after, err := s.groupStart(ctx, req.GetStart())
	if err != nil {
		return nil, err
	}
	if err := s.groups.Seek(ctx, req.GetName(), after); err != nil {
		return nil, aboutGroup(req.GetName(), err)
	}
	return &comandav1.SeekGroupResponse{}, nil
}

// DeleteGroup implements [comandav1.EventServiceServer].
func (s *eventService) DeleteGroup(ctx context.Context, req *comandav1.DeleteGroupRequest) (*comandav1.DeleteGroupResponse, error) {
	if err := s.groups.Delete(ctx, req.GetName()); err != nil {
		return nil, aboutGroup(req.GetName(), err)
	}
	return &comandav1.DeleteGroupResponse{}, nil
}

// ListParkedEvents implements [comandav1.EventServiceServer].
func (s *eventService) ListParkedEvents(ctx context.Context, req *comandav1.ListParkedEventsRequest) (*comandav1.ListParkedEventsResponse, error) {
	size, after := pageSize(req.GetPageSize()), domain.OrderID(req.GetPageToken())
	all, err := s.groups.Parked(ctx, req.GetGroup())
	if err != nil {
		return nil, aboutGroup(req.GetGroup(), err)
	}
	all = all[sort.Search(len(all), func(i int) bool { return all[i].Order > after }):]
	out := new(comandav1.ListParkedEventsResponse)
	if len(all) > size {
		all = all[:size]
		out.NextPageToken = string(all[size-1].Order)
	}
	for i := range all {
		p := &all[i]
		out.Events = append(out.Events, &comandav1.ParkedEvent{
			OrderId: string(p.Order), EventId: string(p.Event), Tenant: string(p.Tenant), Revision: p.Revision,
			Position: p.Position.String(), Deliveries: uint32(p.Deliveries), //nolint:gosec // at most 1,000
			Reason: p.Reason, ParkedAt: wire.Time(p.ParkedAt), Waiting: p.Waiting,
		})
	}
	return out, nil
}

// ReplayParkedEvents implements [comandav1.EventServiceServer].
func (s *eventService) ReplayParkedEvents(ctx context.Context, req *comandav1.ReplayParkedEventsRequest) (*comandav1.ReplayParkedEventsResponse, error) {
	n, err := s.groups.Replay(ctx, req.GetGroup(), domain.OrderID(req.GetOrderId()), req.GetSkip())
	if err != nil {
		return nil, aboutGroup(req.GetGroup(), err)
	}
	return &comandav1.ReplayParkedEventsResponse{Events: uint64(n)}, nil //nolint:gosec // not negative
}
