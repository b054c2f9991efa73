package grpcapi_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/projections/customers"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestListOrdersOfACustomer(t *testing.T) {
	s := newStore(t)
	for n := range 6 {
		s.record(n, domain.KindPending)
	}
	written := s.record(2, domain.KindApproved)
	<-s.index.Ready()
	api := serve(t, grpcapi.Config{}, s.deps())
	list := func(req *comandav1.ListOrdersRequest) []string {
		t.Helper()
		req.MinPosition = written.Position.String()
		var ids []string
		for {
			page, err := api.orders.ListOrders(t.Context(), req)
			must(t, err)
			for _, row := range page.GetOrders() {
				ids = append(ids, strings.TrimPrefix(row.GetProviderOrderId(), "A-"))
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				return ids
			}
		}
	}
	for name, c := range map[string]struct {
		req  *comandav1.ListOrdersRequest
		want string
	}{
		"e-mail":           {&comandav1.ListOrdersRequest{Customer: " fulana0@EXAMPLE.com "}, "2 4 0"},
		"tenant":           {&comandav1.ListOrdersRequest{Customer: "fulana0@example.com", Tenant: "loja"}, "2 4 0"},
		"another's tenant": {&comandav1.ListOrdersRequest{Customer: "fulana0@example.com", Tenant: "outra"}, ""},
		"document":         {&comandav1.ListOrdersRequest{Customer: "12.abc.345/01DE-35"}, "2 5 4 3 1 0"},
		"phone":            {&comandav1.ListOrdersRequest{Customer: "(11) 99999-9999"}, "2 5 4 3 1 0"},
		"pages":            {&comandav1.ListOrdersRequest{Customer: "+55 11 99999-9999", PageSize: 2}, "2 5 4 3 1 0"},
		"status":           {&comandav1.ListOrdersRequest{Customer: "fulana0@example.com", Statuses: []comandav1.OrderStatus{comandav1.OrderStatus_ORDER_STATUS_PENDING}}, "4 0"},
		"the past": {&comandav1.ListOrdersRequest{
			Customer: "fulana0@example.com", PageSize: 1,
			AsOf: &comandav1.ListOrdersRequest_AsKnownAt{AsKnownAt: timestamppb.New(time.Now().Add(time.Hour))},
		}, "4 2 0"},
		"nobody": {&comandav1.ListOrdersRequest{Customer: "fulana2@example.com"}, ""},
	} {
		if got := strings.Join(list(c.req), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}

	page, err := api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Customer: "fulana0@example.com", PageSize: 1})
	must(t, err)
	_, err = api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Customer: "fulana1@example.com", PageToken: page.GetNextPageToken()})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("another customer's page token: %v", err)
	}
	for _, text := range []string{"fulana", "1234", "111.111.111-1", "@"} {
		_, err := api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Customer: text})
		fields := violated(t, err)
		if status.Code(err) != codes.InvalidArgument || !slices.Contains(fields, "customer") || strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v, %v", text, err, fields)
		}
	}
}

// asked is a customer index that notes whose it is asked for, and holds a customer
// with too many orders at outra.
type asked struct {
	grpcapi.Customers

	tenants []domain.TenantID
}

func (a *asked) Orders(_ context.Context, tenant domain.TenantID, _ []customers.Name) ([]domain.OrderID, error) {
	a.tenants = append(a.tenants, tenant)
	if tenant == "" || tenant == "outra" {
		return nil, domain.Errorf(domain.Refused, "this customer has more than 5000 orders")
	}
	return nil, nil
}

// TestACustomerIsLookedUpAtTheCallersTenantsOnly holds a look-up to the tenants of the
// caller: that another's is refused would tell of the customer there.
func TestACustomerIsLookedUpAtTheCallersTenantsOnly(t *testing.T) {
	s := newStore(t)
	<-s.index.Ready()
	tokens := access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, text, err := tokens.Create(access.Token{Name: "two", Scopes: []access.Scope{access.OrdersRead, access.PersonalRead}, Tenants: []domain.TenantID{"loja", "terceira"}}, time.Now())
	must(t, err)
	deps := s.deps()
	index := &asked{Customers: s.index}
	deps.Customers = index
	deps.Access, err = access.New(access.Config{TokensFile: tokens.Path}, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	api := clients(t, nil, serve(t, grpcapi.Config{}, deps).conn.Target(), grpc.WithPerRPCCredentials(bearer(text.Reveal())))
	for tenant, want := range map[string][]domain.TenantID{"": {"loja", "terceira"}, "loja": {"loja"}, "outra": nil} {
		index.tenants = nil
		page, err := api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Tenant: tenant, Customer: "fulana0@example.com"})
		slices.Sort(index.tenants)
		if err != nil || len(page.GetOrders()) > 0 || !slices.Equal(index.tenants, want) {
			t.Errorf("%q: %v, %v; %v were asked, want %v", tenant, page, err, index.tenants, want)
		}
	}
}

// TestALookUpWithoutItsScopeIsCountedAndLogged holds what is denied for what was asked
// to the promise for what is denied at the door; nothing of the customer is in it.
func TestALookUpWithoutItsScopeIsCountedAndLogged(t *testing.T) {
	s := newStore(t)
	<-s.index.Ready()
	tokens := access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}
	_, text, err := tokens.Create(access.Token{Name: "plain", Scopes: []access.Scope{access.OrdersRead}, Tenants: []domain.TenantID{"loja"}}, time.Now())
	must(t, err)
	deps, registry := s.deps(), prometheus.NewRegistry()
	var lines bytes.Buffer // written before the call is answered
	deps.Access, err = access.New(access.Config{TokensFile: tokens.Path}, access.Deps{
		Clock: time.Now, Logger: slog.New(slog.NewTextHandler(&lines, nil)), Registerer: registry,
	})
	must(t, err)
	api := clients(t, nil, serve(t, grpcapi.Config{}, deps).conn.Target(), grpc.WithPerRPCCredentials(bearer(text.Reveal())))
	_, err = api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Customer: "fulana0@example.com"})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("answered %v", err)
	}
	if line := lines.String(); !strings.Contains(line, "reason=no_scope caller=plain scope=personal:read") || strings.Contains(line, "fulana") {
		t.Errorf("the log says %q", line)
	}
	families, err := registry.Gather()
	must(t, err)
	counted := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "comanda_access_denied_calls_total" && m.GetLabel()[0].GetValue() == "no_scope" {
				counted = m.GetCounter().GetValue()
			}
		}
	}
	if counted != 1 {
		t.Errorf("%v were counted", counted)
	}
}
