package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/projections/proof"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// verifier proves the log, and the views against a fresh fold of it, while both
// go on moving.
type verifier struct {
	log   *eventstore.Log
	views *views
	wait  proof.Waiter // for the views
}

const (
	mostProblems = 1000 // are listed in a report; all are counted
	mostAffected = 100  // orders are listed with a problem; all are counted
)

// Verify reads the log up to its head as it is now, and then again for the customers.
func (v *verifier) Verify(
	ctx context.Context, what grpcapi.Check, progress func(*comandav1.VerifyProgress) error,
) (*comandav1.VerifyReport, error) {
	if what.Customers { // an index that is not made is no matter for later
		if err := v.views.customers.Wait(ctx, domain.Position{}); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tell := func(events, total uint64) {
		if err := progress(&comandav1.VerifyProgress{Events: events, Total: total}); err != nil {
			cancel(err) // nobody listens any more
		}
	}
	report, _, err := v.check(ctx, eventstore.VerifyOptions{Since: what.Since, Progress: tell})
	if err == nil && what.Customers {
		err = v.customers(ctx, report, tell)
	}
	return report, err
}

// check reads what opts says. Everything, from the beginning and without a limit,
// also proves that the views hold nothing else.
func (v *verifier) check(ctx context.Context, opts eventstore.VerifyOptions) (*comandav1.VerifyReport, domain.Position, error) {
	ctx, cancel := context.WithCancel(ctx)
	report := &comandav1.VerifyReport{}
	var adding sync.Mutex            // both checkers find problems
	var views comandav1.VerifyReport // what is listed after the log's own, from which it follows
	differs := func(p *comandav1.VerifyProblem) {
		adding.Lock()
		defer adding.Unlock()
		add(&views, p)
	}
	checker := proof.New(v.views.file, v.wait, order.Default(), differs)
	opts.MostProblems = mostProblems
	beside := v.startHeld(differs)
	both := func(do func(*proof.Checker) error) error { return errors.Join(do(checker), beside.prove(do)) }
	defer func() {
		cancel()
		checker.Close()
		beside.close()
	}()
	whole := opts.Since.IsZero() && opts.Limit == 0
	if whole {
		_ = both(func(c *proof.Checker) error {
			c.Whole(func(id domain.OrderID) ([]domain.Recorded, error) { return v.log.Order(ctx, id) })
			return nil
		})
	}
	opts.Event = func(r *domain.Recorded) error {
		return both(func(c *proof.Checker) error { return c.Event(ctx, r) })
	}
	opts.Order = func(o eventstore.VerifiedOrder) error {
		return both(func(c *proof.Checker) error {
			return c.Order(ctx, proof.Order{
				ID: o.ID, Source: o.Source, State: o.State, History: o.History,
				Partition: o.Partition, Sequence: o.Sequence, Sequences: o.Sequences, Told: o.Told,
			})
		})
	}
	found, err := v.log.Verify(ctx, opts)
	if err == nil {
		err = both(func(c *proof.Checker) error { return c.Flush(ctx) })
	}
	if err == nil && whole {
		err = both(func(c *proof.Checker) error { return c.Finish(found.Head) })
	}
	if err != nil {
		return nil, domain.Position{}, err
	}
	for i := range found.Problems {
		p, err := v.problem(&found.Problems[i])
		if err != nil {
			return nil, domain.Position{}, err
		}
		add(report, p)
	}
	for _, p := range views.GetProblems() {
		add(report, p)
	}
	report.ProblemCount = found.ProblemCount + views.GetProblemCount()
	report.Events, report.Orders, report.RowsCompared = found.Events, found.Orders, checker.Compared()
	report.Position = found.Head.String()
	return report, found.Head, nil
}

// held proves a build of views that waits beside those that serve, as long as it
// is there. A nil one proves nothing.
type held struct {
	checker *proof.Checker
	ended   <-chan struct{}
}

// startHeld is nil when no build waits.
func (v *verifier) startHeld(differs func(*comandav1.VerifyProblem)) *held {
	build := v.views.runner.Held()
	if build == nil {
		return nil
	}
	checker := proof.New(build.File, build.Runner, order.Default(), func(p *comandav1.VerifyProblem) {
		p.Detail = "of the build that waits: " + p.GetDetail()
		differs(p)
	})
	return &held{checker: checker, ended: build.Ended}
}

func (h *held) close() {
	if h != nil {
		h.checker.Close()
	}
}

// prove has do go on with the build unless it has ended meanwhile.
func (h *held) prove(do func(*proof.Checker) error) error {
	if h == nil {
		return nil
	}
	err := do(h.checker)
	select {
	case <-h.ended:
		return nil
	default:
		return err
	}
}

// problem is p with the orders that it is about, as far as the views know them.
func (v *verifier) problem(p *eventstore.Problem) (*comandav1.VerifyProblem, error) {
	out := &comandav1.VerifyProblem{
		Rule: string(p.Rule), Partition: uint32(p.Partition), //nolint:gosec // at most 256
		Sequence: p.Sequence, ThroughSequence: p.Through, OrderId: string(p.OrderID), Detail: p.Detail,
	}
	if p.Through == 0 {
		return out, nil
	}
	ids, n, err := v.views.timeline.Between(p.Partition, p.Sequence, p.Through, mostAffected)
	if err != nil {
		return nil, err
	}
	out.AffectedOrders = uint64(n) //nolint:gosec // a count
	for _, id := range ids {
		out.AffectedOrderIds = append(out.AffectedOrderIds, string(id))
	}
	return out, nil
}

// add counts a problem, and lists it while there is room.
func add(report *comandav1.VerifyReport, p *comandav1.VerifyProblem) {
	report.ProblemCount++
	if len(report.Problems) < mostProblems {
		report.Problems = append(report.Problems, p)
	}
}

// verifyOffline opens the files of a data directory on which no server runs, and
// verifies them; only for the customers it needs keys. Views that are behind catch up first. A log
// that serve would refuse as damaged is opened all the same.
func verifyOffline(
	ctx context.Context, cmd *serveCmd, out *stdio, what grpcapi.Check, show func(*comandav1.VerifyProgress),
) (report *comandav1.VerifyReport, err error) {
	a, err := openOffline(ctx, cmd, out)
	if a != nil {
		defer func() { err = errors.Join(err, a.stack.stop(ctx)) }()
	}
	if err != nil {
		return nil, err
	}
	if what.Customers {
		if err := a.lookAtCustomers(ctx); err != nil {
			return nil, err
		}
	}
	views := &lenient{Waiter: a.views.runner}
	v := &verifier{log: a.log, views: &a.views, wait: views}
	report, err = v.Verify(ctx, what, func(p *comandav1.VerifyProgress) error {
		show(p)
		return nil
	})
	if err == nil && views.stopped {
		add(report, &comandav1.VerifyProblem{Rule: ruleStopped, Detail: fmt.Sprintf("the views end where they are: %v", <-a.stack.failed)})
	}
	return report, err
}

// openOffline opens the log and the views of a data directory on which no server
// runs, only to look. The caller stops what it answers, also after an error.
func openOffline(ctx context.Context, cmd *serveCmd, out *stdio) (*app, error) {
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
	for _, step := range []func(context.Context) error{a.startNode, a.openViews, a.openLog, a.startViews} {
		if err := step(ctx); err != nil {
			return a, err
		}
	}
	return a, nil
}

// ruleStopped says that the views cannot follow the log to its end.
const ruleStopped = "view_stopped"

// lenient waits for the views unless they have stopped: what they hold is then
// compared as it is.
type lenient struct {
	proof.Waiter

	stopped bool
}

// Wait implements [proof.Waiter].
func (l *lenient) Wait(ctx context.Context, position domain.Position) error {
	if l.stopped {
		return nil
	}
	err := l.Waiter.Wait(ctx, position)
	if domain.KindOf(err) == domain.Unavailable && ctx.Err() == nil {
		l.stopped = true
		return nil
	}
	return err
}
