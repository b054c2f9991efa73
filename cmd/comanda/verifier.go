package main

import (
	"context"
	"errors"
	"path/filepath"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/projections/proof"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// verifier proves the log, and every view against a fresh fold of it, while both
// go on moving.
type verifier struct {
	log   *eventstore.Log
	views *views
}

// mostProblems are listed in a report; all are counted.
const mostProblems = 1000

// Verify reads the log up to its head as it is now.
func (v *verifier) Verify(
	ctx context.Context, progress func(*comandav1.VerifyProgress) error,
) (*comandav1.VerifyReport, error) {
	report := &comandav1.VerifyReport{}
	checker := proof.New(v.views.file, v.views.runner, order.Default(), func(p *comandav1.VerifyProblem) { add(report, p) })
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	found, err := v.log.Verify(ctx, eventstore.VerifyOptions{
		MostProblems: mostProblems,
		Event:        func(r *domain.Recorded) error { return checker.Event(ctx, r) },
		Order: func(o eventstore.VerifiedOrder) error {
			return checker.Order(ctx, proof.Order{ID: o.ID, Source: o.Source, State: o.State, Partition: o.Partition, Sequence: o.Sequence})
		},
		Progress: func(events, total uint64) {
			if err := progress(&comandav1.VerifyProgress{Events: events, Total: total}); err != nil {
				cancel(err) // nobody listens any more
			}
		},
	})
	if err == nil {
		err = checker.Finish(found.Head)
	}
	if err != nil {
		return nil, err
	}
	for i := range found.Problems {
		p := &found.Problems[i]
		add(report, &comandav1.VerifyProblem{
			Rule: string(p.Rule), Partition: uint32(p.Partition), //nolint:gosec // at most 256
			Sequence: p.Sequence, OrderId: string(p.OrderID), Detail: p.Detail,
		})
	}
	report.ProblemCount += found.ProblemCount - uint64(len(found.Problems))
	report.Events, report.Orders, report.RowsCompared = found.Events, found.Orders, checker.Compared()
	return report, nil
}

// add counts a problem, and lists it while there is room.
func add(report *comandav1.VerifyReport, p *comandav1.VerifyProblem) {
	report.ProblemCount++
	if len(report.Problems) < mostProblems {
		report.Problems = append(report.Problems, p)
	}
}

// verifyOffline opens the files of a data directory on which no server runs, and
// verifies them; it needs no keys. Views that are behind catch up first.
func verifyOffline(
	ctx context.Context, cmd *serveCmd, out *stdio, show func(*comandav1.VerifyProgress),
) (report *comandav1.VerifyReport, err error) {
	if err := exists(filepath.Join(cmd.DataDir, natsDir)); err != nil {
		return nil, err
	}
	cfg, err := cmd.configured()
	if err != nil {
		return nil, err
	}
	cmd.NATSListen = natsnode.None
	a := newApp(cmd, cfg, out)
	a.offline = true
	defer func() { err = errors.Join(err, a.stack.stop(ctx)) }()
	for _, step := range []func(context.Context) error{a.startNode, a.openViews, a.openLog, a.startViews} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a.verifier().Verify(ctx, func(p *comandav1.VerifyProgress) error {
		show(p)
		return nil
	})
}
