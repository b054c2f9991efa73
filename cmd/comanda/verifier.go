package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// verifier proves the log, and every view against a fresh fold of it.
type verifier struct {
	log    *eventstore.Log
	file   *projections.File
	runner waiter
}

// waiter waits until the views hold a position.
type waiter interface {
	Wait(ctx context.Context, position domain.Position) error
}

// The rules of the views, as in comanda.v1.VerifyProblem.
const (
	ruleViewDiffers = "view_differs"
	ruleViewMissing = "view_missing"
	ruleViewExtra   = "view_extra"
	ruleParked      = "parked"
)

// mostProblems are listed in a report; all are counted.
const mostProblems = 1000

// Verify lets the views catch up with the log as it is now, and compares both as
// they are at one position, while they go on moving.
func (v *verifier) Verify(
	ctx context.Context, progress func(*comandav1.VerifyProgress) error,
) (*comandav1.VerifyReport, error) {
	head, err := v.log.Head(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.runner.Wait(ctx, head); err != nil {
		return nil, err
	}
	report := &comandav1.VerifyReport{}
	err = v.file.Snapshot(func(s *projections.Snapshot) error {
		c := &comparison{report: report, orders: orders.New(s), timeline: timeline.New(s), seen: map[domain.OrderID]struct{}{}}
		return c.run(ctx, v.log, s, progress)
	})
	return report, err
}

// comparison is one run of Verify over one state of the views.
type comparison struct {
	report   *comandav1.VerifyReport
	orders   *orders.View
	timeline *timeline.View
	seen     map[domain.OrderID]struct{} // orders of the log
	stopped  error                       // of the progress function, which cannot end the reading itself
}

func (c *comparison) run(
	ctx context.Context, log *eventstore.Log, s *projections.Snapshot, progress func(*comandav1.VerifyProgress) error,
) error {
	if s.Position().IsZero() { // an empty log: the zero position would mean its head
		return c.extra()
	}
	found, err := log.Verify(ctx, eventstore.VerifyOptions{
		UpTo: s.Position(), MostProblems: mostProblems, Event: c.event, Order: c.order,
		Progress: func(events, total uint64) {
			if c.stopped == nil {
				c.stopped = progress(&comandav1.VerifyProgress{Events: events, Total: total})
			}
		},
	})
	if err != nil {
		return err
	}
	c.report.Events, c.report.Orders = found.Events, found.Orders
	for i := range found.Problems {
		p := &found.Problems[i]
		c.add(&comandav1.VerifyProblem{
			Rule: string(p.Rule), Partition: uint32(p.Partition), //nolint:gosec // at most 256
			Sequence: p.Sequence, OrderId: string(p.OrderID), Detail: p.Detail,
		})
	}
	c.report.ProblemCount += found.ProblemCount - uint64(len(found.Problems))
	if err := c.orders.CheckIndexes(func(id domain.OrderID, problem string) { c.problem(ruleViewDiffers, id, problem) }); err != nil {
		return err
	}
	if err := s.Parked(func(id domain.OrderID, why string) { c.problem(ruleParked, id, why) }); err != nil {
		return err
	}
	return c.extra()
}

// event compares what the timeline holds of one event.
func (c *comparison) event(r *domain.Recorded) error {
	if c.stopped != nil {
		return c.stopped
	}
	problem, err := c.timeline.CheckEvent(r)
	if err == nil && problem != "" {
		c.problem(ruleViewDiffers, r.Event.OrderID, "timeline: "+problem)
	}
	return err
}

// order compares the rows of one order with its fold.
func (c *comparison) order(o eventstore.VerifiedOrder) error {
	c.seen[o.ID] = struct{}{}
	problems, found, err := c.orders.Check(o.ID, o.Source, o.State)
	if err != nil {
		return err
	}
	if !found {
		c.problem(ruleViewMissing, o.ID, "orders has no row")
	} else {
		c.report.RowsCompared++
	}
	for _, p := range problems {
		c.problem(ruleViewDiffers, o.ID, "orders: "+p)
	}
	n, err := c.timeline.Count(o.ID)
	if err == nil && n != o.State.Revision {
		c.problem(ruleViewDiffers, o.ID, fmt.Sprintf("timeline: holds %d events, the log %d", n, o.State.Revision))
	}
	return err
}

// extra reports rows of orders that the log does not have.
func (c *comparison) extra() error {
	for name, each := range map[string]func(func(domain.OrderID) error) error{
		"orders": c.orders.Orders, "timeline": c.timeline.Orders,
	} {
		err := each(func(id domain.OrderID) error {
			if _, ok := c.seen[id]; !ok {
				c.problem(ruleViewExtra, id, name+" has an order that cannot be folded from the log")
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) problem(rule string, id domain.OrderID, detail string) {
	c.add(&comandav1.VerifyProblem{Rule: rule, OrderId: string(id), Detail: detail})
}

func (c *comparison) add(p *comandav1.VerifyProblem) {
	c.report.ProblemCount++
	if len(c.report.Problems) < mostProblems {
		c.report.Problems = append(c.report.Problems, p)
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
