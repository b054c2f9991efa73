// Package whatif folds history by another transition table, and says which orders would
// differ and why.
//
// [Replayer] reads every order's events from the timeline, folds them by the machine
// of the newest, as readers do, and by another ([order.Machine.Differ]), and keeps
// only what it counts: its memory does not grow with the log. It writes nothing.
package whatif

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// ordersAtOnce are read in one transaction, so that none is long.
const ordersAtOnce = 1000

// Replayer replays the history in a file of views. It is safe for concurrent use.
type Replayer struct {
	file     *projections.File
	timeline *timeline.View
}

// New replays what file holds.
func New(file *projections.File) *Replayer {
	return &Replayer{file: file, timeline: timeline.New(file)}
}

// Replay folds every order of a tenant, "": of all, by another machine. It calls send
// with each order that would differ, by order id, and now and then with progress; an error of
// send ends it. What is recorded meanwhile may be replayed or not.
func (r *Replayer) Replay(
	ctx context.Context, other *order.Machine, tenant domain.TenantID, send func(*comandav1.ReplayResponse) error,
) (*comandav1.ReplayReport, error) {
	p := replay{
		other: other, tenant: tenant, send: send, edges: map[edge]uint64{}, report: &comandav1.ReplayReport{},
	}
	err := r.file.Snapshot(func(s *projections.Snapshot) error {
		p.report.Position = s.Position().String()
		return nil
	})
	for after := domain.OrderID(""); err == nil; {
		var found []story
		if found, after, err = r.read(ctx, after); err != nil || len(found) == 0 {
			break
		}
		err = p.all(found)
	}
	if err != nil {
		return nil, fmt.Errorf("replay by another table: %w", err)
	}
	p.report.Edges = p.sorted()
	return p.report, nil
}

// story is an order and all its events.
type story struct {
	id     domain.OrderID
	events []domain.Event
}

// read are the orders after one, and the last of them.
func (r *Replayer) read(ctx context.Context, after domain.OrderID) (found []story, last domain.OrderID, err error) {
	err = r.file.View(func(tx *kv.Tx) error {
		for _, id := range r.timeline.After(tx, after, ordersAtOnce) {
			if err := ctx.Err(); err != nil {
				return err
			}
			events, err := r.timeline.Events(tx, id)
			if err != nil {
				return err
			}
			found, last = append(found, story{id, events}), id
		}
		return nil
	})
	return found, last, err
}

// replay is one at work.
type replay struct {
	other  *order.Machine
	tenant domain.TenantID
	send   func(*comandav1.ReplayResponse) error
	edges  map[edge]uint64
	report *comandav1.ReplayReport
}

// edge is a kind of step that differs.
type edge struct {
	before     domain.Status
	kind       domain.Kind
	did, other order.Did
}

// all replays some orders.
func (p *replay) all(found []story) error {
	for i := range found {
		if err := p.one(&found[i]); err != nil {
			return err
		}
	}
	return p.send(&comandav1.ReplayResponse{Message: &comandav1.ReplayResponse_Progress{
		Progress: &comandav1.ReplayProgress{Orders: p.report.GetOrders(), Events: p.report.GetEvents()},
	}})
}

func (p *replay) one(o *story) error {
	if p.tenant != "" && o.events[0].Tenant != p.tenant {
		return nil
	}
	p.report.Orders++
	p.report.Events += uint64(len(o.events))
	var h *order.History
	for i := range o.events {
		var err error
		if h, err = h.With(&o.events[i]); err != nil {
			return err
		}
	}
	own, err := order.ForVersion(h.MachineVersion())
	if err != nil {
		return err
	}
	d := own.Differ(p.other, h)
	if d == nil {
		return nil
	}
	p.report.Differences++
	if d.Mine.Status != d.Theirs.Status {
		p.report.OtherEndings++
	}
	p.edges[edge{d.First.Before, d.First.Acted, d.First.Did, d.Other}]++
	return p.send(&comandav1.ReplayResponse{Message: &comandav1.ReplayResponse_Difference{Difference: difference(o.id, d)}})
}

func difference(id domain.OrderID, d *order.Difference) *comandav1.ReplayDifference {
	return &comandav1.ReplayDifference{
		OrderId: string(id), Tenant: string(d.Mine.Identity.Tenant), ProviderOrderId: d.Mine.Identity.ProviderOrderID,
		Status: wire.Status(d.Mine.Status), OtherStatus: wire.Status(d.Theirs.Status),
		EventId: string(d.First.Event), Kind: wire.Kind(d.First.Acted), EffectiveAt: wire.Time(d.First.At),
		StatusBefore: wire.Status(d.First.Before), Did: step(&d.First.Did), OtherDid: step(&d.Other),
	}
}

func step(d *order.Did) *comandav1.ReplayStep {
	return &comandav1.ReplayStep{Status: wire.Status(d.To), Why: d.Why, Gap: d.Gap, Dispute: d.Dispute}
}

// sorted are the edges, those of most orders first.
func (p *replay) sorted() []*comandav1.ReplayEdge {
	edges := make([]edge, 0, len(p.edges))
	for e := range p.edges {
		edges = append(edges, e)
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(p.edges[b], p.edges[a]), cmp.Compare(a.before, b.before), cmp.Compare(a.kind, b.kind),
			compareSteps(&a.did, &b.did), compareSteps(&a.other, &b.other))
	})
	out := make([]*comandav1.ReplayEdge, len(edges))
	for i, e := range edges {
		out[i] = &comandav1.ReplayEdge{
			StatusBefore: wire.Status(e.before), Kind: wire.Kind(e.kind), Did: step(&e.did), OtherDid: step(&e.other), Orders: p.edges[e],
		}
	}
	return out
}

func compareSteps(a, b *order.Did) int {
	gap := 0
	if a.Gap != b.Gap {
		gap = 1
		if b.Gap {
			gap = -1
		}
	}
	return cmp.Or(cmp.Compare(a.To, b.To), cmp.Compare(a.Why, b.Why), cmp.Compare(a.Dispute, b.Dispute), gap)
}
