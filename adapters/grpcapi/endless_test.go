package grpcapi_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// endless is a view with an order after an order, none of which matches.
type endless struct {
	grpcapi.Orders

	ended chan struct{}
}

func (e endless) List(filter orders.Filter, _ orders.Page) ([]*comandav1.Order, string, error) {
	defer close(e.ended)
	for {
		if _, err := filter.Where(&comandav1.Order{Reference: strings.Repeat("a", 50)}); err != nil {
			return nil, "", err
		}
	}
}

// TestAFilterIsAskedNoLongerThanItsCallLasts bounds what a filter that is cheap enough
// for one order costs for all of them.
func TestAFilterIsAskedNoLongerThanItsCallLasts(t *testing.T) {
	store := newStore(t)
	<-store.runner.Ready()
	deps := store.deps()
	view := endless{deps.Orders, make(chan struct{})}
	deps.Orders = view
	api := serve(t, grpcapi.Config{UnaryTimeout: 100 * time.Millisecond}, deps)
	_, err := api.orders.ListOrders(t.Context(), &comandav1.ListOrdersRequest{Filter: `reference.matches("(a?){30}b")`})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("it ended with %v", err)
	}
	select {
	case <-view.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("it is still asked")
	}
}
