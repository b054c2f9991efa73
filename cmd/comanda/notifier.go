package main

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/httpsink"
	"comanda.internal/adapters/notify/voxuysink"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/orders"
)

// newNotifier makes the notifier of the configured endpoints.
func (a *app) newNotifier(ctx context.Context) (*notify.Notifier, error) {
	js, err := jetstream.New(a.node.Conn())
	if err != nil {
		return nil, err
	}
	payers, err := voxuysink.OpenPayers(ctx, js, a.cfg.NATS.Replicas, a.node.SyncDirs)
	if err != nil {
		return nil, err
	}
	return notify.New(notify.Config{Endpoints: a.cfg.Endpoints, Replicas: a.cfg.NATS.Replicas}, notify.Deps{
		JetStream: js,
		Log:       a.log,
		Sinks: map[string]notify.Builder{
			notify.KindHTTP: httpsink.Builder(a.now),
			notify.KindVoxuy: voxuysink.Builder(voxuysink.Deps{
				Opener: a.vault, Orders: a.log, Purchases: paidElsewhere{a.views.orders}, Payers: payers,
				Machine: order.Default(), Clock: a.now,
			}),
		},
		AfterCreate: a.node.SyncDirs,
		Clock:       a.now,
		Wait:        wait,
		Random:      rand.Float64,
		Logger:      a.logger,
		Registerer:  a.registry,
	})
}

// wait waits for d or the end of ctx, whose error it returns.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// paidElsewhere answers of the view of orders.
type paidElsewhere struct{ orders *orders.View }

// PaidElsewhere reports whether another order of the purchase is approved.
func (p paidElsewhere) PaidElsewhere(
	_ context.Context, tenant domain.TenantID, reference string, except domain.OrderID,
) (bool, error) {
	filter := orders.Filter{Tenant: tenant, Reference: reference, Statuses: []domain.Status{domain.StatusApproved}}
	page := orders.Page{Size: 2} // one of them may be the order itself
	for {
		rows, next, err := p.orders.List(filter, page)
		if err != nil {
			return false, err
		}
		for _, row := range rows {
			if row.GetOrderId() != string(except) {
				return true, nil
			}
		}
		if next == "" {
			return false, nil
		}
		page.Token = next
	}
}
