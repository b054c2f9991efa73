package main

import (
	"errors"
	"os"
	"time"

	"comanda.internal/cmd/comanda/bench"
)

// benchCmd measures.
type benchCmd struct {
	Ingest    benchIngestCmd    `cmd:"" help:"Webhooks a second, latency of the 2xx and lag to the view, beside the raw rate."`
	Append    benchAppendCmd    `cmd:"" help:"Events a second, singly and in batches, by partitions and clients, beside the raw rate."`
	Replay    benchReplayCmd    `cmd:"" help:"Reading, verifying and rebuilding a log, beside a raw replay of it."`
	Rebuild   benchRebuildCmd   `cmd:"" help:"Building the views anew, beside a raw replay and one that also decodes and folds."`
	Read      benchReadCmd      `cmd:"" help:"Answers of the views: an order, its history, a page of a list, beside a raw look-up."`
	Subscribe benchSubscribeCmd `cmd:"" help:"Events to gRPC subscribers: live, to many, from the beginning, beside raw; and what idle ones cost."`
	Start     benchStartCmd     `cmd:"" help:"Time from the start of serve on a log until it is ready, and memory for each order."`
}

// benchFlags are every bench's.
type benchFlags struct {
	Rounds int    `help:"Rounds, in which what is compared takes turns; medians are shown." default:"3"`
	Dir    string `help:"Where to put the data (its disk is what is measured). Default: a temporary directory." type:"path"`
	Output string `short:"o" enum:"table,json" default:"table" help:"Output format: table or json."`
}

// inDir runs measure with a directory for the data: its own, which stays, or a temporary one.
func (f *benchFlags) inDir(measure func(dir string) error) (err error) {
	if f.Rounds < 1 {
		return usagef("--rounds: at least 1")
	}
	if f.Dir != "" {
		if err := os.MkdirAll(f.Dir, 0o700); err != nil {
			return usagef("--dir: %v", err)
		}
		return measure(f.Dir)
	}
	dir, err := os.MkdirTemp("", "comanda-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return measure(dir)
}

// report begins the report of a bench whose data is in dir.
func (f *benchFlags) report(name, dir string, began time.Time) *bench.Report {
	version, revision := buildVersion()
	return &bench.Report{
		Bench: name, At: began.UTC(), Machine: bench.ThisMachine(dir), Versions: bench.Versions(version + revision),
		Settings: bench.Settings{Rounds: f.Rounds, Replicas: 1}, Rows: []bench.Row{},
	}
}

// print writes the report: all of it, or a table of some of its rows.
func (f *benchFlags) print(out *stdio, r *bench.Report, columns []bench.Column, rows []bench.Row) error {
	if f.Output == formatJSON {
		return r.WriteJSON(out.out)
	}
	return bench.WriteTable(out.out, columns, rows)
}

// syncMode is what a report calls the durability of the server's acknowledgements.
func syncMode(unsafeNoFsync bool) string {
	if unsafeNoFsync {
		return "never"
	}
	return "always"
}

// rowsOf are those of one thing.
func rowsOf(rows []bench.Row, what string) []bench.Row {
	var out []bench.Row
	for i := range rows {
		if rows[i].What == what {
			out = append(out, rows[i])
		}
	}
	return out
}

// What the rows are of, where more than one bench has them.
const (
	whatComanda = "comanda"
	whatRaw     = "raw"
	whatRebuild = "rebuild"
)
