package client_test

import (
	"context"
	"errors"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func ExampleSubscribe() {
	ctx := context.Background()
	for _, kind := range []domain.Kind{domain.KindPending, domain.KindApproved} {
		if _, err := record(ctx, "example", "A-1001", kind); err != nil {
			panic(err)
		}
	}
	conn, err := client.Dial(shop.address, "", nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()

	caughtUp := errors.New("caught up")
	token := "" // as it was kept by an earlier run
	err = client.Subscribe(ctx, conn, client.Subscription{
		Request: &comandav1.SubscribeRequest{
			Start:  &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
			Filter: &comandav1.EventFilter{Tenants: []string{"example"}},
		},
		Token: token,
		Handle: func(_ context.Context, e *comandav1.SubscribedEvent) error {
			fmt.Println(e.GetEvent().GetRevision(), e.GetEvent().GetStatusTo())
			if e.GetEvent().GetStatusTo() == comandav1.OrderStatus_ORDER_STATUS_APPROVED {
				return caughtUp // a real follower goes on
			}
			return nil
		},
		Store: func(_ context.Context, last string) error { token = last; return nil },
	})
	fmt.Println(errors.Is(err, caughtUp), token != "")
	// Output:
	// 1 ORDER_STATUS_PENDING
	// 2 ORDER_STATUS_APPROVED
	// true true
}

func ExampleWaitOrder() {
	ctx := context.Background()
	if _, err := record(ctx, "example", "A-1002", domain.KindApproved); err != nil {
		panic(err)
	}
	conn, err := client.Dial(shop.address, "", nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()

	answer, err := client.WaitOrder(ctx, conn, &comandav1.WaitOrderRequest{
		Order: &comandav1.WaitOrderRequest_TenantReference{
			TenantReference: &comandav1.TenantReference{Tenant: "example", Reference: "A-1002"},
		},
		Settled: true,
	}, client.Retry{})
	fmt.Println(answer.GetMet(), answer.GetOrder().GetStatus(), err)
	// Output: true ORDER_STATUS_APPROVED <nil>
}
