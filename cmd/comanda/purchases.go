package main

import (
	"context"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// purchasesCmd reads purchases.
type purchasesCmd struct {
	List purchasesListCmd `cmd:"" help:"List purchases, the one with the newest order first."`
	Get  purchasesGetCmd  `cmd:"" help:"Show one purchase and its orders."`
}

type purchasesListCmd struct {
	clientFlags
	outputFlag
	asOfFlag
	pastFlags

	Tenant      string   `help:"Only this merchant's."`
	Status      []string `help:"Only purchases in one of these statuses (started, pending, approved, …)."`
	Limit       int      `help:"At most so many (0: all)." default:"100"`
	MinPosition string   `help:"Wait until the view has read this position of an earlier answer."`
}

// Run pages through ListPurchases.
func (c *purchasesListCmd) Run(ctx context.Context, io *stdio) error {
	req := &comandav1.ListPurchasesRequest{Tenant: c.Tenant, MinPosition: c.MinPosition}
	var err error
	if req.Statuses, err = parseStatuses(c.Status); err != nil {
		return err
	}
	as, err := c.moment(c.AsOf)
	if err != nil {
		return err
	}
	if as.known != nil {
		req.AsOf = &comandav1.ListPurchasesRequest_AsKnownAt{AsKnownAt: as.known}
	}
	if as.occurred != nil {
		req.AsOf = &comandav1.ListPurchasesRequest_AsOccurredAt{AsOccurredAt: as.occurred}
	}
	p := newPrinter(io.out, c.Output, purchaseColumns())
	return c.with(func(conn *grpc.ClientConn) error {
		client := comandav1.NewPurchaseServiceClient(conn)
		return pages(c.Limit, p, func(size int32, token string) ([]*comandav1.Purchase, string, error) {
			ctx, cancel := c.unary(ctx)
			defer cancel()
			req.PageSize, req.PageToken = size, token
			page, err := client.ListPurchases(ctx, req)
			return page.GetPurchases(), page.GetNextPageToken(), err
		})
	})
}

type purchasesGetCmd struct {
	clientFlags
	outputFlag
	asOfFlag
	pastFlags

	Tenant      string `arg:"" help:"The merchant, as loja."`
	Reference   string `arg:"" help:"The merchant's own code for the purchase."`
	MinPosition string `help:"Wait until the view has read this position of an earlier answer."`
}

// Run shows one purchase; as a table, a field a line.
func (c *purchasesGetCmd) Run(ctx context.Context, io *stdio) error {
	req := &comandav1.GetPurchaseRequest{Tenant: c.Tenant, Reference: c.Reference, MinPosition: c.MinPosition}
	as, err := c.moment(c.AsOf)
	if err != nil {
		return err
	}
	if as.known != nil {
		req.AsOf = &comandav1.GetPurchaseRequest_AsKnownAt{AsKnownAt: as.known}
	}
	if as.occurred != nil {
		req.AsOf = &comandav1.GetPurchaseRequest_AsOccurredAt{AsOccurredAt: as.occurred}
	}
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewPurchaseServiceClient(conn).GetPurchase(ctx, req)
		if err != nil {
			return err
		}
		orders := column[*comandav1.Purchase]{name: "orders", text: func(m *comandav1.Purchase) string {
			var texts []string
			for _, o := range m.GetOrders() {
				texts = append(texts, o.GetOrderId()+" "+wire.Word(o.GetStatus()))
			}
			return strings.Join(texts, ", ")
		}}
		return printOne(io.out, c.Output, append(purchaseColumns(), orders), answer.GetPurchase())
	})
}

func purchaseColumns() []column[*comandav1.Purchase] {
	type p = *comandav1.Purchase
	return []column[p]{
		{name: "tenant", text: p.GetTenant},
		{name: "reference", text: p.GetReference},
		{name: "status", text: func(m p) string { return wire.Word(m.GetStatus()) }},
		{name: "order_count", text: func(m p) string { return strconv.FormatUint(m.GetOrderCount(), 10) }},
		{name: "paid", text: func(m p) string {
			return sumsText(m, func(s *comandav1.PurchaseSum) *int64 { return s.Paid })
		}},
		{name: "refunded", text: func(m p) string {
			return sumsText(m, func(s *comandav1.PurchaseSum) *int64 { return s.Refunded })
		}},
		{name: "newest_order_at", text: func(m p) string { return timeText(m.GetNewestOrderAt()) }},
		{name: "flags", text: purchaseFlags},
	}
}

// sumsText is one sum of each currency, with the currency's code.
func sumsText(m *comandav1.Purchase, amount func(*comandav1.PurchaseSum) *int64) string {
	var texts []string
	for _, s := range m.GetSums() {
		if a := amount(s); a != nil {
			texts = append(texts, strings.TrimSpace(amountText(a)+" "+s.GetCurrency()))
		}
	}
	return strings.Join(texts, ", ")
}

func purchaseFlags(m *comandav1.Purchase) string {
	var words []string
	for _, f := range []struct {
		word string
		set  bool
	}{
		{"any_chargeback", m.GetAnyChargeback()}, {"any_refund", m.GetAnyRefund()}, {"two_approved", m.GetTwoApproved()},
	} {
		if f.set {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, ", ")
}
