package main

import (
	"context"
	"path/filepath"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections/customers"
	"comanda.internal/projections/proof"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// customers proves the index by customer, and adds to report what it finds. A log or an index
// that cannot be read is a problem among the others.
func (v *verifier) customers(ctx context.Context, report *comandav1.VerifyReport, progress func(events, total uint64)) error {
	found, err := v.views.customers.Verify(ctx, func(p customers.Problem) {
		add(report, &comandav1.VerifyProblem{
			Rule: customerRules[p.Rule], Partition: uint32(p.Partition), //nolint:gosec // at most 256
			Sequence: p.Sequence, OrderId: string(p.OrderID), Detail: p.Detail,
		})
	}, progress)
	if domain.KindOf(err) == domain.Corrupt {
		add(report, &comandav1.VerifyProblem{Rule: proof.RuleDiffers, Detail: err.Error()})
		return nil
	}
	if err != nil {
		return err
	}
	report.Customers = &comandav1.VerifyCustomers{Entries: found.Entries, LeftOver: found.LeftOver, Position: found.Position.String()}
	return nil
}

var customerRules = map[customers.Rule]string{
	customers.Missing: proof.RuleMissing, customers.Differs: proof.RuleDiffers, customers.Extra: proof.RuleExtra,
}

// lookAtCustomers opens the index of a data directory on which no server runs, with its keys.
func (a *app) lookAtCustomers(ctx context.Context) error {
	var err error
	if a.vault, err = privacy.Open(ctx, a.node.Conn(), privacy.Config{Existing: true, KeyFile: a.cmd.KeyFile, Logger: a.logger}); err != nil {
		return err
	}
	a.views.customers, err = customers.Look(filepath.Join(a.cmd.DataDir, whoseFile), customers.Deps{Log: a.log, Vault: a.vault, Logger: a.logger})
	if err != nil {
		return err
	}
	a.stack.pushClose("customer index", a.views.customers.Close)
	return nil
}
