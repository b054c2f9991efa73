package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/cmd/comanda/chart"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// statsCmd reads counts.
type statsCmd struct {
	Funnel      statsFunnelCmd      `cmd:"" help:"How many orders reached each status, by effective time of their first step; of the orders as they are now."`
	Approval    statsApprovalCmd    `cmd:"" help:"Of the orders that were ever pending or further, how many were ever approved, by effective time of their first step."`
	Dwell       statsDwellCmd       `cmd:"" help:"How long orders stood in each status before they left it, by effective time of leaving; of the orders as they are now."`
	Money       statsMoneyCmd       `cmd:"" help:"Money of the orders by the status they are in now, by effective time of entering it."`
	Transitions statsTransitionsCmd `cmd:"" help:"How often orders moved from one status to another, by time of recording; never changes."`
	Verdicts    statsVerdictsCmd    `cmd:"" help:"What facts did when they were recorded, by time of recording; never changes."`
}

// statsFlags are those of every table of counts.
type statsFlags struct {
	clientFlags

	Output      string   `short:"o" enum:"table,json,jsonl,csv,svg" default:"table" help:"Output format: table, json, jsonl, csv or svg (a picture of bars)."`
	By          []string `help:"Tell rows apart by hour or day (UTC), tenant, source, method; several with commas."`
	Tenant      string   `help:"Only this merchant's."`
	Source      string   `help:"Only of this source: the event's, or that of the order's first one."`
	Method      string   `help:"Only of this payment method (pix, card, boleto, …): the one the event names, or the order's."`
	From        string   `help:"Only hours that begin at this time or later: 2026-05-09, or 2026-05-09T17:00:00Z." placeholder:"TIME"`
	To          string   `help:"Only hours that begin before this time: likewise." placeholder:"TIME"`
	MinPosition string   `help:"Wait until the view has read this position of an earlier answer."`
}

// query is what the flags ask for.
func (f *statsFlags) query() (*comandav1.StatsQuery, error) {
	q := &comandav1.StatsQuery{Tenant: f.Tenant, Source: f.Source, Method: f.Method, MinPosition: f.MinPosition}
	for _, by := range f.By {
		d, ok := comandav1.StatsDimension_value["STATS_DIMENSION_"+strings.ToUpper(by)]
		if !ok || d == 0 {
			return nil, usagef("--by %s: must be hour, day, tenant, source or method", by)
		}
		q.By = append(q.By, comandav1.StatsDimension(d))
	}
	for _, bound := range []struct {
		flag, text string
		field      **timestamppb.Timestamp
	}{{"--from", f.From, &q.From}, {"--to", f.To, &q.To}} {
		if bound.text == "" {
			continue
		}
		at, err := time.Parse(time.DateOnly, bound.text)
		if err != nil {
			at, err = time.Parse(time.RFC3339, bound.text)
		}
		if err != nil {
			return nil, usagef("%s %s: must be a date as 2026-05-09, or a time as 2026-05-09T17:00:00Z", bound.flag, bound.text)
		}
		*bound.field = timestamppb.New(at)
	}
	return q, nil
}

// statsRow is a row of any table of counts.
type statsRow interface {
	proto.Message
	GetGroup() *comandav1.StatsGroup
}

// statsTable is how rows of a kind are shown.
type statsTable[M statsRow] struct {
	columns []column[M]
	chart   chart.Chart // without sections
	apart   func(M) string
	bars    func(M) []chart.Bar
}

// showStats reads rows and prints them.
func showStats[M statsRow](ctx context.Context, io *stdio, f *statsFlags, table statsTable[M],
	read func(context.Context, comandav1.StatsServiceClient, *comandav1.StatsQuery) ([]M, error),
) error {
	query, err := f.query()
	if err != nil {
		return err
	}
	return f.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := f.unary(ctx)
		defer cancel()
		rows, err := read(ctx, comandav1.NewStatsServiceClient(conn), query)
		if err != nil {
			return err
		}
		if f.Output == formatSVG {
			table.draw(rows)
			return table.chart.WriteSVG(io.out)
		}
		p := newPrinter(io.out, f.Output, append(groupColumns[M](f.By), table.columns...))
		for _, row := range rows {
			if err := p.print(row); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

// draw makes the chart's sections of rows: one for those with the same group, and
// the same of what the table tells apart.
func (t *statsTable[M]) draw(rows []M) {
	for _, row := range rows {
		title := groupText(row.GetGroup())
		if t.apart != nil {
			title = strings.Trim(title+" · "+t.apart(row), " ·")
		}
		if n := len(t.chart.Sections); n == 0 || t.chart.Sections[n-1].Title != title {
			t.chart.Sections = append(t.chart.Sections, chart.Section{Title: title})
		}
		s := &t.chart.Sections[len(t.chart.Sections)-1]
		s.Bars = append(s.Bars, t.bars(row)...)
	}
}

// groupColumns are those of what rows are told apart by, in their own order.
func groupColumns[M statsRow](by []string) []column[M] {
	var columns []column[M]
	for _, dimension := range []string{"hour", "day", "tenant", "source", "method"} {
		if !slices.ContainsFunc(by, func(s string) bool { return strings.EqualFold(s, dimension) }) {
			continue
		}
		columns = append(columns, column[M]{name: dimension, text: func(m M) string {
			g := m.GetGroup()
			switch dimension {
			case "hour":
				return timeText(g.GetStart())
			case "day":
				return g.GetStart().AsTime().Format(time.DateOnly)
			case "tenant":
				return g.GetTenant()
			case "source":
				return g.GetSource()
			default:
				return g.GetMethod()
			}
		}})
	}
	return columns
}

// groupText is a group in one line; "" when nothing is told apart.
func groupText(g *comandav1.StatsGroup) string {
	var words []string
	if start := g.GetStart(); start != nil {
		words = append(words, strings.TrimSuffix(start.AsTime().Format("2006-01-02 15:04"), " 00:00"))
	}
	for _, word := range []*string{g.Tenant, g.Source, g.Method} { //nolint:protogetter // nil says more than ""
		if word != nil {
			words = append(words, cmp.Or(*word, "unknown"))
		}
	}
	return strings.Join(words, " · ")
}

// statsNumber is the column of a count.
func statsNumber[M proto.Message](name string, n func(M) int64) column[M] {
	return column[M]{name: name, text: func(m M) string { return strconv.FormatInt(n(m), 10) }}
}
