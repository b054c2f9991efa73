package grpcapi_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// merchants are the tenants of a guarded server, by one of the orders of each.
var merchants = map[string]int{"loja": 0, "outra": 1, "terceira": 2}

// callers are tokens, and the tenants that each may see.
var callers = map[string][]domain.TenantID{
	"of-one": {"loja"}, "of-two": {"outra", "loja"}, "of-all": {"loja", "outra", "terceira"},
}

// asking is what a caller asks, of one tenant or, "", of all.
type asking struct {
	*guarded

	ctx    context.Context //nolint:containedctx // of the one caller
	as     string
	tenant string
	fences map[string][]string // as of [guarded.fence]
}

// sees reports whether the caller is to be told of the tenant.
func (a *asking) sees(tenant string) bool {
	return (a.tenant == "" || a.tenant == tenant) && slices.Contains(callers[a.as], domain.TenantID(tenant))
}

// tenants are those that are asked of, where a method can be asked of one at a time only.
func (a *asking) tenants() []string {
	if a.tenant != "" {
		return []string{a.tenant}
	}
	return []string{"loja", "outra", "terceira"}
}

// tenantRow is what a method tells, in one of the ways to ask it.
type tenantRow struct {
	method, how string
	told        func(a *asking) []proto.Message
}

// point is a method that answers of one thing, or that it is not there.
func point[M proto.Message](ask func(a *asking, tenant string) (M, error)) func(*asking) []proto.Message {
	return func(a *asking) (told []proto.Message) {
		for _, tenant := range a.tenants() {
			m, err := ask(a, tenant)
			if status.Code(err) == codes.NotFound {
				continue
			}
			must(a.t, err)
			told = append(told, m)
		}
		return told
	}
}

// paged is a method that answers page after page.
func paged[M interface {
	proto.Message
	GetNextPageToken() string
}](ask func(a *asking, token string) (M, error),
) func(*asking) []proto.Message {
	return func(a *asking) (told []proto.Message) {
		for token := ""; ; {
			page, err := ask(a, token)
			must(a.t, err)
			told = append(told, page)
			if token = page.GetNextPageToken(); token == "" {
				return told
			}
		}
	}
}

// streamed is what a stream tells, up to a message that is its last.
func streamed[M proto.Message](a *asking, recv func() (M, error), last func(M) bool) (told []proto.Message) {
	for {
		m, err := recv()
		if errors.Is(err, io.EOF) {
			return told
		}
		must(a.t, err)
		told = append(told, m)
		if last(m) {
			return told
		}
	}
}

func (a *asking) filter() *comandav1.EventFilter {
	if a.tenant == "" {
		return nil
	}
	return &comandav1.EventFilter{Tenants: []string{a.tenant}}
}

// consumed is what a member of a group of its own is given, until all that it may see has come.
func (a *asking) consumed() []proto.Message {
	name := "to-" + a.as + "-" + a.tenant
	must(a.t, createGroup(&comandav1.CreateGroupRequest{Group: &comandav1.ConsumerGroup{Name: name, Filter: a.filter()}})(
		a.guarded.as(a.t.Context(), "operator"), a.guarded))
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	stream, err := a.events.Consume(ctx)
	must(a.t, err)
	must(a.t, stream.Send(helloOf(name, 100)))
	if _, err := stream.Recv(); status.Code(err) == codes.NotFound {
		return nil
	}
	left := map[string]bool{}
	for tenant, ids := range a.fences {
		for _, id := range ids {
			if a.sees(tenant) {
				left[id] = true
			}
		}
	}
	return streamed(a, func() (*comandav1.ConsumeResponse, error) {
		m, err := stream.Recv()
		if e := m.GetEvent(); e != nil {
			delete(left, e.GetEvent().GetEventId())
			must(a.t, stream.Send(&comandav1.ConsumeRequest{Message: &comandav1.ConsumeRequest_Ack{
				Ack: &comandav1.ConsumeAck{DeliveryIds: []string{e.GetDeliveryId()}},
			}}))
		}
		return m, err
	}, func(*comandav1.ConsumeResponse) bool { return len(left) == 0 })
}

// fence records, for one tenant after the other, loja last, an event in each partition: who was
// given a tenant's was given, or not, all that was recorded of others before.
func (g *guarded) fence() map[string][]string {
	ids := map[string][]string{}
	for _, tenant := range []domain.TenantID{"terceira", "outra", "loja"} {
		last := map[int]string{}
		for n := 100; len(last) < partitions; n++ {
			out := g.recordOf(tenant, n, domain.KindPending)
			g.position = g.position.Merge(out.Position)
			last[out.Position.Partitions()-1] = string(out.EventID)
		}
		ids[string(tenant)] = slices.Collect(maps.Values(last))
	}
	return ids
}

// ofNoTenant are the methods whose answers cannot be parted by tenant, so that only who may
// see every tenant may call them.
var ofNoTenant = []string{
	comandav1.EventService_CreateGroup_FullMethodName,
	comandav1.EventService_ListGroups_FullMethodName,
	comandav1.EventService_SeekGroup_FullMethodName,
	comandav1.EventService_DeleteGroup_FullMethodName,
	comandav1.EventService_ListParkedEvents_FullMethodName,
	comandav1.EventService_ReplayParkedEvents_FullMethodName,
	comandav1.ViewService_Verify_FullMethodName,
	comandav1.ViewService_GetViewStatus_FullMethodName,
	comandav1.ViewService_RebuildViews_FullMethodName,
	comandav1.ViewService_PromoteViews_FullMethodName,
	comandav1.ViewService_CancelViewBuild_FullMethodName,
	comandav1.ViewService_RollbackViews_FullMethodName,
	comandav1.ViewService_ListParkedOrders_FullMethodName,
	comandav1.ViewService_RetryParkedOrder_FullMethodName,
	comandav1.ViewService_SkipParkedOrder_FullMethodName,
	comandav1.MachineService_Replay_FullMethodName,
}

// newTenants is a guarded server with the orders of three merchants, and callers.
func newTenants(t *testing.T) (*guarded, map[string][]string) {
	t.Helper()
	g := guardWith(t, newStore(t), access.Config{CallsPerSecond: 1_000_000, Streams: 1000}).filled()
	for tenant := range merchants { // stays in a status that came to an end
		g.recordOf(domain.TenantID(tenant), 50, domain.KindPending)
		g.recordOf(domain.TenantID(tenant), 50, domain.KindApproved)
	}
	fences := g.fence()
	scopes := []access.Scope{access.OrdersRead, access.EventsRead, access.FactsWrite, access.PersonalRead}
	for name, tenants := range callers {
		if len(tenants) == len(merchants) {
			tenants = []domain.TenantID{access.AnyTenant}
		}
		g.create(name, scopes, tenants...)
	}
	must(t, g.runner.Wait(t.Context(), g.position))
	must(t, g.index.Wait(t.Context(), g.position))
	return g, fences
}

// TestATenantIsToldOfItsOwnAndNothingElse asks all methods, in all ways, as who may see one
// tenant, two and all, and looks for each tenant in all that is answered. Who may see a tenant
// and asks of it is told; so the test sees what it looks for.
func TestATenantIsToldOfItsOwnAndNothingElse(t *testing.T) {
	g, fences := newTenants(t)
	for _, row := range tenantRows() {
		t.Run(strings.TrimPrefix(row.method, "/comanda.v1.")+" "+row.how, func(t *testing.T) {
			for as := range callers {
				for _, tenant := range []string{"", "loja", "outra", "terceira"} {
					within := *g // of this test
					within.store = &store{}
					*within.store = *g.store
					within.t = t
					ctx, cancel := context.WithTimeout(g.as(t.Context(), as), 5*time.Minute)
					a := &asking{guarded: &within, ctx: ctx, as: as, tenant: tenant, fences: fences}
					var want []string
					for _, tenant := range slices.Sorted(maps.Keys(merchants)) {
						if a.sees(tenant) {
							want = append(want, tenant)
						}
					}
					if diff := cmp.Diff(want, tenantsIn(t, row.told(a))); diff != "" {
						t.Errorf("%s, asking of %q (-want +got):\n%s", as, tenant, diff)
					}
					cancel()
				}
			}
		})
	}
}

// tenantsIn are the tenants that messages speak of, by whatever of theirs is in any field.
func tenantsIn(t *testing.T, messages []proto.Message) (found []string) {
	t.Helper()
	var text strings.Builder
	for _, m := range messages {
		encoded, err := protojson.Marshal(m)
		must(t, err)
		text.Write(encoded)
	}
	for _, tenant := range slices.Sorted(maps.Keys(merchants)) {
		words := []string{`"` + tenant + `"`, tenant + "-checkout"}
		for n := range 200 {
			words = append(words, orderOf(domain.TenantID(tenant), n))
		}
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(text.String(), word) }) {
			found = append(found, tenant)
		}
	}
	return found
}

// TestEveryMethodIsOfATenantOrOfAll fails for a method that nobody has thought of, and calls
// those that are of all as who may do anything, but for one tenant.
func TestEveryMethodIsOfATenantOrOfAll(t *testing.T) {
	g := newGuarded(t)
	listed := map[string]bool{}
	for _, row := range tenantRows() {
		listed[row.method] = true
	}
	for _, method := range ofNoTenant {
		if listed[method] {
			t.Errorf("%s is listed twice", method)
		}
		listed[method] = true
		if code := g.callEmpty(g.as(t.Context(), "manager"), method).Code(); code != codes.PermissionDenied {
			t.Errorf("%s of a manager of one tenant: %v, want PERMISSION_DENIED", method, code)
		}
	}
	for _, m := range methods(t) {
		name := methodName(m)
		if !listed[name] {
			t.Errorf("%s is in no row of the tenants' table", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("%s is in the tenants' table, and no method", name)
	}
}

// TestCountsAreOfTheCallersTenants asks for counts that are not by tenant: they are those of the
// caller's, as if who may see all had asked of these.
func TestCountsAreOfTheCallersTenants(t *testing.T) {
	g, _ := newTenants(t)
	for method, ask := range counts {
		mine, err := ask(g.as(t.Context(), "of-one"), g, &comandav1.StatsQuery{})
		must(t, err)
		ofMine, err := ask(g.as(t.Context(), "of-all"), g, &comandav1.StatsQuery{Tenant: "loja"})
		must(t, err)
		all, err := ask(g.as(t.Context(), "of-all"), g, &comandav1.StatsQuery{})
		must(t, err)
		if diff := cmp.Diff(ofMine, mine, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", method, diff)
		}
		if proto.Equal(all, mine) {
			t.Errorf("%s is the same of one tenant as of all: %v", method, all)
		}
	}
}
