package client_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func ExampleSubscribe() {
	ctx, address, token := context.Background(), shop.address, ""
	for _, kind := range []domain.Kind{domain.KindPending, domain.KindApproved} {
		if _, err := record(ctx, "loja", "A-1001", kind); err != nil {
			panic(err)
		}
	}
	enough := errors.New("enough")
	act := func(_ context.Context, e *comandav1.SubscribedEvent) error {
		fmt.Println(e.GetEvent().GetRevision(), e.GetEvent().GetStatusTo())
		if e.GetEvent().GetStatusTo() == comandav1.OrderStatus_ORDER_STATUS_APPROVED {
			return enough // a real follower goes on
		}
		return nil
	}
	stored := ""
	keep := func(_ context.Context, token string) error { stored = token; return nil }

	conn, err := client.Dial(address, token, nil) // nil: without TLS, on loopback only
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	err = client.Subscribe(ctx, conn, client.Subscription{
		Request: &comandav1.SubscribeRequest{
			Start:  &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
			Filter: &comandav1.EventFilter{Tenants: []string{"loja"}},
		},
		Token:  stored, // "" the first time
		Handle: act,    // of an event
		Store:  keep,   // the token to go on with
	})
	fmt.Println(errors.Is(err, enough), stored != "")
	// Output:
	// 1 ORDER_STATUS_PENDING
	// 2 ORDER_STATUS_APPROVED
	// true true
}

// TestTheREADMEShowsTheExample holds the README's lines to those that run above.
func TestTheREADMEShowsTheExample(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	must(t, err)
	example, err := os.ReadFile("example_test.go")
	must(t, err)
	_, block, found := strings.Cut(string(readme), "```go client\n")
	block, _, _ = strings.Cut(block, "```")
	if !found {
		t.Fatal("the README shows no client")
	}
	for part := range strings.SplitSeq(block, "…\n") {
		lines := "\t" + strings.ReplaceAll(strings.TrimSuffix(part, "\n"), "\n", "\n\t") + "\n"
		if !strings.Contains(string(example), lines) {
			t.Errorf("the example does not have the README's\n%s", lines)
		}
	}
}

func ExampleConsume() {
	ctx, token := context.Background(), ""
	for _, kind := range []domain.Kind{domain.KindPending, domain.KindApproved} {
		if _, err := record(ctx, "market", "A-1003", kind); err != nil {
			panic(err)
		}
	}
	conn, err := client.Dial(shop.address, token, nil)
	if err != nil {
		panic(err)
	}
	defer func() { _ = conn.Close() }()
	_, err = comandav1.NewEventServiceClient(conn).CreateGroup(ctx, &comandav1.CreateGroupRequest{Group: &comandav1.ConsumerGroup{
		Name: "invoices", Filter: &comandav1.EventFilter{Tenants: []string{"market"}},
	}})
	if err != nil {
		panic(err)
	}
	ctx, enough := context.WithCancel(ctx)
	invoiced := func(_ context.Context, e *comandav1.Event) bool {
		fmt.Println(e.GetRevision(), e.GetStatusTo())
		if e.GetStatusTo() == comandav1.OrderStatus_ORDER_STATUS_APPROVED {
			enough() // a real member goes on
		}
		return e.GetStatusTo() != comandav1.OrderStatus_ORDER_STATUS_UNSPECIFIED
	}

	err = client.Consume(ctx, conn, client.Consumption{
		Group: "invoices", Credits: 10, // up to ten orders at a time
		Handle: func(ctx context.Context, e *comandav1.ConsumedEvent) (client.Answer, error) {
			if !invoiced(ctx, e.GetEvent()) {
				return client.Again(time.Minute, "no invoice yet"), nil // or Park, or Skip
			}
			return client.Done(), nil
		},
	})
	fmt.Println(err)
	// Output:
	// 1 ORDER_STATUS_PENDING
	// 2 ORDER_STATUS_APPROVED
	// context canceled
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
