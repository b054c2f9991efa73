package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"comanda.internal/cmd/comanda/chart"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// counted is a number of a row, with its name.
type counted[M any] struct {
	name string
	of   func(M) int64
}

// statsColumns are the columns of counts.
func statsColumns[M statsRow](numbers []counted[M]) (columns []column[M]) {
	for _, n := range numbers {
		columns = append(columns, statsNumber(n.name, n.of))
	}
	return columns
}

// shares are bars of counts, the first of which is all.
func shares[M statsRow](numbers []counted[M]) func(M) []chart.Bar {
	return func(m M) (bars []chart.Bar) {
		all := numbers[0].of(m)
		for _, number := range numbers {
			n := number.of(m)
			bars = append(bars, chart.Bar{Label: number.name, Value: float64(n), Text: fmt.Sprintf("%d (%s)", n, shareText(n, all))})
		}
		return bars
	}
}

// shareText is n of all; "–" of nothing.
func shareText(n, all int64) string {
	if all == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(n)/float64(all))
}

type statsFunnelCmd struct{ statsFlags }

// Run calls GetFunnel.
func (c *statsFunnelCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.FunnelRow
	numbers := []counted[row]{
		{"orders", row.GetOrders},
		{"started", row.GetStarted},
		{"pending", row.GetPending},
		{"approved", row.GetApproved},
		{"refused", row.GetRefused},
		{"cancelled", row.GetCancelled},
		{"refunded", row.GetRefunded},
		{"chargeback", row.GetChargeback},
	}
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: statsColumns(numbers), bars: shares(numbers),
		chart: chart.Chart{Title: "Orders that reached each status", Note: "by effective time of the order's first step, of the orders as they are now"},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetFunnel(ctx, &comandav1.GetFunnelRequest{Query: q})
		return answer.GetRows(), err
	})
}

type statsApprovalCmd struct{ statsFlags }

// Run calls GetApproval.
func (c *statsApprovalCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.ApprovalRow
	columns := []column[row]{statsNumber("charged", row.GetCharged), statsNumber("approved", row.GetApproved), {name: "rate", text: func(m row) string {
		if m.Rate == nil {
			return ""
		}
		return strconv.FormatFloat(m.GetRate(), 'f', 4, 64)
	}}}
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: columns,
		chart: chart.Chart{
			Title: "Approval rate", Note: "approved of the orders that were pending or further, by effective time of the order's first step", Most: 1,
		},
		bars: func(m row) []chart.Bar {
			text := fmt.Sprintf("%s: %d of %d", shareText(m.GetApproved(), m.GetCharged()), m.GetApproved(), m.GetCharged())
			return []chart.Bar{{Label: "approved", Value: m.GetRate(), Text: text}}
		},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetApproval(ctx, &comandav1.GetApprovalRequest{Query: q})
		return answer.GetRows(), err
	})
}

type statsTransitionsCmd struct{ statsFlags }

// Run calls GetTransitions.
func (c *statsTransitionsCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.TransitionRow
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: []column[row]{
			{name: "from", text: func(m row) string { return wire.Word(m.GetStatusFrom()) }},
			{name: "to", text: func(m row) string { return wire.Word(m.GetStatusTo()) }},
			statsNumber("count", row.GetCount),
		},
		chart: chart.Chart{Title: "Transitions", Note: "by time of recording"},
		bars: func(m row) []chart.Bar {
			edge := wire.Word(m.GetStatusFrom()) + " → " + wire.Word(m.GetStatusTo())
			return []chart.Bar{{Label: edge, Value: float64(m.GetCount()), Text: strconv.FormatInt(m.GetCount(), 10)}}
		},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetTransitions(ctx, &comandav1.GetTransitionsRequest{Query: q})
		return answer.GetRows(), err
	})
}

type statsVerdictsCmd struct{ statsFlags }

// Run calls GetVerdicts.
func (c *statsVerdictsCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.VerdictRow
	numbers := []counted[row]{
		{"events", row.GetEvents},
		{"applied", row.GetApplied},
		{"noted", row.GetNoted},
		{"late", row.GetLate},
		{"conflict", row.GetConflict},
	}
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: statsColumns(numbers), bars: shares(numbers), chart: chart.Chart{Title: "What facts did", Note: "by time of recording"},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetVerdicts(ctx, &comandav1.GetVerdictsRequest{Query: q})
		return answer.GetRows(), err
	})
}

type statsDwellCmd struct{ statsFlags }

// Run calls GetDwell.
func (c *statsDwellCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.DwellRow
	columns := []column[row]{
		{name: "status", text: func(m row) string { return wire.Word(m.GetStatus()) }},
		statsNumber("count", row.GetCount),
		{name: "mean_seconds", text: func(m row) string { return strconv.FormatFloat(m.GetMeanSeconds(), 'f', 1, 64) }},
		{name: "stays", text: stays},
	}
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: columns,
		chart:   chart.Chart{Title: "How long orders stood in a status", Note: "stays that ended, by effective time of leaving, of the orders as they are now"},
		apart: func(m row) string {
			mean := time.Duration(m.GetMeanSeconds() * float64(time.Second)).Round(time.Second)
			return fmt.Sprintf("%s: %d, mean %s", wire.Word(m.GetStatus()), m.GetCount(), mean)
		},
		bars: func(m row) (bars []chart.Bar) {
			for _, b := range m.GetBuckets() {
				bars = append(bars, chart.Bar{Label: boundText(b), Value: float64(b.GetCount()), Text: strconv.FormatInt(b.GetCount(), 10)})
			}
			return bars
		},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetDwell(ctx, &comandav1.GetDwellRequest{Query: q})
		return answer.GetRows(), err
	})
}

// stays are the buckets of a histogram that are not empty, in one cell.
func stays(m *comandav1.DwellRow) (text string) {
	for _, b := range m.GetBuckets() {
		if b.GetCount() == 0 {
			continue
		}
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s: %d", boundText(b), b.GetCount())
	}
	return text
}

// boundText is how long the stays of a bucket are, as "< 5m".
func boundText(b *comandav1.DwellBucket) string {
	if b.BelowSeconds == nil {
		return "longer"
	}
	seconds := b.GetBelowSeconds()
	for _, unit := range []struct {
		seconds int64
		name    string
	}{{24 * 60 * 60, "d"}, {60 * 60, "h"}, {60, "m"}} {
		if seconds%unit.seconds == 0 {
			return fmt.Sprintf("< %d%s", seconds/unit.seconds, unit.name)
		}
	}
	return fmt.Sprintf("< %ds", seconds)
}

type statsMoneyCmd struct{ statsFlags }

// Run calls GetMoney.
func (c *statsMoneyCmd) Run(ctx context.Context, io *stdio) error {
	type row = *comandav1.MoneyRow
	amount := func(of func(row) int64) func(row) string {
		return func(m row) string {
			minor := of(m)
			return amountText(&minor)
		}
	}
	return showStats(ctx, io, &c.statsFlags, statsTable[row]{
		columns: []column[row]{
			{name: "status", text: func(m row) string { return wire.Word(m.GetStatus()) }},
			{name: "currency", text: row.GetCurrency},
			statsNumber("orders", row.GetOrders),
			{name: "total", text: amount(row.GetTotal)},
			{name: "paid", text: amount(row.GetPaid)},
			{name: "refunded", text: amount(row.GetRefunded)},
		},
		chart: chart.Chart{Title: "Money by status", Note: "what orders ask, by effective time of entering the status they are in now", Apart: true},
		apart: row.GetCurrency,
		bars: func(m row) []chart.Bar {
			text := fmt.Sprintf("%s, paid %s (%d)", amount(row.GetTotal)(m), amount(row.GetPaid)(m), m.GetOrders())
			return []chart.Bar{{Label: wire.Word(m.GetStatus()), Value: float64(m.GetTotal()), Text: text}}
		},
	}, func(ctx context.Context, client comandav1.StatsServiceClient, q *comandav1.StatsQuery) ([]row, error) {
		answer, err := client.GetMoney(ctx, &comandav1.GetMoneyRequest{Query: q})
		return answer.GetRows(), err
	})
}
