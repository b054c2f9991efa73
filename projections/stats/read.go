package stats

import (
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Funnel is how many orders reached each status, by the hour of their first step.
func (v *View) Funnel(q Query) ([]*comandav1.FunnelRow, error) {
	return rows(v, began, &q, func(of *summed) []*comandav1.FunnelRow {
		reached := func(s domain.Status) int64 { return of.at(reachedSlot + uint64(s)) }
		return []*comandav1.FunnelRow{{
			Group: of.message, Orders: of.at(ordersSlot),
			Started: reached(domain.StatusStarted), Pending: reached(domain.StatusPending), Approved: reached(domain.StatusApproved),
			Refused: reached(domain.StatusRefused), Cancelled: reached(domain.StatusCancelled),
			Refunded: reached(domain.StatusRefunded), Chargeback: reached(domain.StatusChargeback),
		}}
	})
}

// Approval is how many of the orders that were charged were approved, by the hour of
// their first step.
func (v *View) Approval(q Query) ([]*comandav1.ApprovalRow, error) {
	return rows(v, began, &q, func(of *summed) []*comandav1.ApprovalRow {
		row := &comandav1.ApprovalRow{
			Group: of.message, Charged: of.at(chargedSlot), Approved: of.at(reachedSlot + uint64(domain.StatusApproved)),
		}
		if row.GetCharged() > 0 {
			rate := float64(row.GetApproved()) / float64(row.GetCharged())
			row.Rate = &rate
		}
		return []*comandav1.ApprovalRow{row}
	})
}

// Transitions are how often orders moved along each edge, by recorded hour.
func (v *View) Transitions(q Query) ([]*comandav1.TransitionRow, error) {
	return rows(v, recorded, &q, func(of *summed) (out []*comandav1.TransitionRow) {
		for from := range domain.StatusCount {
			for to := range domain.StatusCount {
				if n := of.at(edgeSlot(from, to)); n != 0 {
					out = append(out, &comandav1.TransitionRow{Group: of.message, StatusFrom: wire.Status(from), StatusTo: wire.Status(to), Count: n})
				}
			}
		}
		return out
	})
}

// Verdicts are what events did when they were recorded, by recorded hour.
func (v *View) Verdicts(q Query) ([]*comandav1.VerdictRow, error) {
	return rows(v, recorded, &q, func(of *summed) []*comandav1.VerdictRow {
		verdict := func(verdict domain.Verdict) int64 { return of.at(uint64(verdict)) }
		row := &comandav1.VerdictRow{
			Group: of.message, Applied: verdict(domain.VerdictApplied), Noted: verdict(domain.VerdictNoted),
			Late: verdict(domain.VerdictLate), Conflict: verdict(domain.VerdictConflict),
		}
		row.Events = row.GetApplied() + row.GetNoted() + row.GetLate() + row.GetConflict()
		return []*comandav1.VerdictRow{row}
	})
}

// Dwell is how long orders stood in each status that they left, by the hour of leaving.
func (v *View) Dwell(q Query) ([]*comandav1.DwellRow, error) {
	return rows(v, left, &q, func(of *summed) (out []*comandav1.DwellRow) {
		for status := range domain.StatusCount {
			first := uint64(status) * staySlots
			row := &comandav1.DwellRow{Group: of.message, Status: wire.Status(status)}
			for i := range len(bounds) + 1 {
				bucket := &comandav1.DwellBucket{Count: of.at(first + uint64(i))}
				if i < len(bounds) {
					below := int64(bounds[i].Seconds())
					bucket.BelowSeconds = &below
				}
				row.Count += bucket.GetCount()
				row.Buckets = append(row.Buckets, bucket)
			}
			if row.GetCount() == 0 {
				continue
			}
			row.MeanSeconds = float64(of.at(first+sumSlot)) / 1000 / float64(row.GetCount())
			out = append(out, row)
		}
		return out
	})
}

// Money is the money of orders by the status that they are in, by the hour of
// entering it.
func (v *View) Money(q Query) ([]*comandav1.MoneyRow, error) {
	return rows(v, standing, &q, func(of *summed) (out []*comandav1.MoneyRow) {
		for status := range domain.StatusCount {
			first := uint64(status) * standingSlots
			if n := of.at(first + standingOrders); n != 0 {
				out = append(out, &comandav1.MoneyRow{
					Group: of.message, Status: wire.Status(status), Currency: of.currency, Orders: n,
					Total: of.at(first + standingTotal), Paid: of.at(first + standingPaid), Refunded: of.at(first + standingRefunded),
				})
			}
		}
		return out
	})
}

// summed is a group's counters.
type summed struct {
	counters

	message  *comandav1.StatsGroup
	currency string
}

// rows makes the rows of each group of what a query sums.
func rows[M any](v *View, table byte, q *Query, of func(*summed) []M) ([]M, error) {
	s, err := v.read(table, q)
	if err != nil {
		return nil, err
	}
	var out []M
	for i := range s.groups {
		g := &s.groups[i]
		out = append(out, of(&summed{counters: s.of[*g], message: q.By.message(g), currency: g.currency})...)
		if len(out) > MostRows {
			return nil, tooMany()
		}
	}
	return out, nil
}
