package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"comanda.internal/adapters/export"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// exportFlags are what both exports take.
type exportFlags struct {
	Dir    string `arg:"" help:"Directory of the export: one that is empty or not there yet, or holds one of the same that goes on. '-': standard output."`
	Check  bool   `help:"Write nothing: hold the files in the directory to their manifest."`
	Output string `short:"o" enum:"parquet,csv,jsonl" default:"parquet" help:"Format of the files: parquet, csv or jsonl."`

	Tenant       []string  `help:"Only these merchants'." placeholder:"ID"`
	Source       []string  `help:"Only from these sources." placeholder:"ID"`
	Verdict      []string  `help:"Only events and transitions with these verdicts; of the other tables, orders with an event that has one, up to the end of the export." placeholder:"VERDICT"`
	Status       []string  `help:"Only these statuses: an event's after it, an interval's own, the order's now of orders and movements." placeholder:"STATUS"`
	RecordedFrom time.Time `help:"Only what was recorded at this time or after it, as 2026-05-09T00:00:00Z." placeholder:"TIME"`
	RecordedTo   time.Time `help:"Only what was recorded before this time." placeholder:"TIME"`
	After        string    `help:"Only events after this position, and orders that have one." placeholder:"POSITION"`
	Through      string    `help:"End at this position. Default: the end of the log as it is now." placeholder:"POSITION"`

	revealFlags
	sourceFlags
}

// eventsExportCmd exports the log, and what is folded from it.
type eventsExportCmd struct {
	exportFlags

	Table []string `enum:"events,transitions,intervals,movements,personal" help:"Which tables: events, transitions, intervals, movements, and personal with --reveal. Default: all; on standard output events, or personal." placeholder:"TABLE"`
}

// Run exports or checks.
func (c *eventsExportCmd) Run(ctx context.Context, out *stdio) error {
	tables := c.Table
	if len(tables) == 0 {
		tables = c.tables(export.TablePersonal, export.TableEvents, export.TableTransitions, export.TableIntervals, export.TableMovements)
	}
	return c.run(ctx, out, tables)
}

// ordersExportCmd exports the orders.
type ordersExportCmd struct{ exportFlags }

// Run exports or checks.
func (c *ordersExportCmd) Run(ctx context.Context, out *stdio) error {
	return c.run(ctx, out, c.tables(export.TableCustomers, export.TableOrders))
}

// tables are those that are written when none is named: one to standard output.
func (f *exportFlags) tables(revealed string, others ...string) []string {
	switch {
	case f.Reveal != "" && f.Dir == standardOutput:
		return []string{revealed}
	case f.Reveal != "":
		return append(others, revealed)
	case f.Dir == standardOutput:
		return others[:1]
	default:
		return others
	}
}

const standardOutput = "-"

func (f *exportFlags) run(ctx context.Context, out *stdio, tables []string) (err error) {
	if f.Check {
		return f.check(out)
	}
	cfg := export.Config{
		Machine: order.Default(), Format: f.Output, Tables: tables,
		Filter: export.Filter{
			Tenants: f.Tenant, Sources: f.Source, Statuses: f.Status, Verdicts: f.Verdict,
			From: f.RecordedFrom.UTC(), To: f.RecordedTo.UTC(),
		},
	}
	if cfg.After, err = domain.ParsePosition(f.After); err != nil {
		return usagef("--after: %v", err)
	}
	if cfg.Through, err = domain.ParsePosition(f.Through); err != nil {
		return usagef("--through: %v", err)
	}
	node, err := f.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Existing: true, Inspect: true, AfterCreate: node.SyncDirs})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	if cfg.Head, err = log.Head(ctx); err != nil {
		return err
	}
	if cfg.Reveal, err = f.reveal(ctx, node, log, out); err != nil {
		return err
	}
	cfg.Log, cfg.Identity, cfg.Epoch = log, log.Identity(), log.Epoch()
	progress := newProgress(out)
	progress.doing = "exporting"
	defer progress.done()
	cfg.Progress = func(events, total uint64) { progress.show(&comandav1.VerifyProgress{Events: events, Total: total}) }
	cfg.LeftOut = func(r *domain.Recorded, why error) {
		progress.done()
		_, _ = fmt.Fprintf(out.err, "left out of the folded tables: partition %d sequence %d: %v\n", r.Partition, r.Sequence, why)
	}
	if f.Dir == standardOutput {
		return f.stream(ctx, out, cfg)
	}
	m, err := export.Directory(ctx, f.Dir, cfg)
	if err != nil {
		return err
	}
	progress.done()
	return f.tell(out, m)
}

// stream writes one table to standard output.
func (f *exportFlags) stream(ctx context.Context, out *stdio, cfg export.Config) (err error) {
	scratch, err := os.MkdirTemp("", "comanda-export-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	w := bufio.NewWriterSize(out.out, 1<<18)
	if _, err := export.Stream(ctx, w, scratch, cfg); err != nil {
		return err
	}
	return w.Flush()
}

// tell says what is there, a table a line.
func (f *exportFlags) tell(out *stdio, m *export.Manifest) error {
	for _, table := range m.Tables {
		if _, err := fmt.Fprintf(out.out, "%s: %d rows\n", table, m.Rows(table)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out.out, "exported to %s, up to position %s\n", f.Dir, m.Through)
	return err
}

// check prints a problem a line.
func (f *exportFlags) check(out *stdio) error {
	problems := 0
	m, err := export.Check(f.Dir, func(problem string) {
		problems++
		_, _ = fmt.Fprintln(out.out, problem)
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out.out, "checked %d files: %d problems\n", len(m.Files), problems); err != nil {
		return err
	}
	if problems > 0 {
		return domain.Errorf(domain.Corrupt, "export: %d problems", problems)
	}
	return nil
}
