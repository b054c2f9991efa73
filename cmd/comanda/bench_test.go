package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"comanda.internal/cmd/comanda/bench"
)

// tiny makes a bench short. The figures are no part of a test.
var tiny = map[string][]string{
	"ingest":    {"--over", "http,record,intake", "--clients", "1,4", "--rounds", "2", "--duration", "50ms", "--raw-streams", "1,2"},
	"append":    {"--partitions", "1,2", "--clients", "1,4", "--batch-from=-1,0,2", "--rounds", "2", "--duration", "50ms"},
	"replay":    {"--events", "500", "--partitions", "2", "--rounds", "2"},
	"read":      {"--clients", "1,2", "--duration", "20ms", "--rounds", "2"},
	"start":     {"--rounds", "2"},
	"subscribe": {"--rounds", "2", "--rate", "400", "--duration", "50ms", "--subscribers", "3", "--fan-out", "50", "--idle", "3"},
	"rebuild":   {"--rounds", "2"},
}

// wantRows are the rows of the tiny benches: what, mode, partitions and clients.
var wantRows = map[string][]string{
	"ingest": {
		"comanda http 1 1", "comanda record 1 1", "comanda intake 1 1", "raw  1 1", "raw  2 1",
		"comanda http 1 4", "comanda record 1 4", "comanda intake 1 4", "raw  1 4", "raw  2 4",
	},
	"append": {
		"raw  1 1", "comanda never 1 1", "comanda as configured 1 1", "comanda from 2 1 1",
		"raw  1 4", "comanda never 1 4", "comanda as configured 1 4", "comanda from 2 1 4",
		"raw  2 1", "comanda never 2 1", "comanda as configured 2 1", "comanda from 2 2 1",
		"raw  2 4", "comanda never 2 4", "comanda as configured 2 4", "comanda from 2 2 4",
	},
	"replay":  {"raw  2 0", "follow  2 0", "verify_log  2 0", "verify_views  2 0", "rebuild  2 0", "export  2 0"},
	"rebuild": {"raw  2 0", "follow  2 0", "fold  2 0", "rebuild  2 0", "rebuild_all  2 0"},
	"read": {
		"raw  2 1", "order  2 1", "history  2 1", "list  2 1", "raw  2 2", "order  2 2", "history  2 2", "list  2 2",
	},
	"subscribe": {
		"raw catch_up 2 0", "comanda catch_up 2 1", "raw fan_out 1 3", "comanda fan_out 1 3", "comanda fan_out_live 1 3",
		"comanda live 1 1", "comanda idle 1 3",
	},
	"start": {"full after_stop 0 0", "full after_kill 0 0", "empty after_stop 0 0"},
}

// alsoFigures are those that the rows of what, or of what and mode, have beside every row's.
var alsoFigures = map[string][]string{
	"ingest comanda":                 {bench.Ratio, bench.P99Ratio, bench.RawPerSecond, bench.RawP99, "cpu_us", "lag_p50_ms", "lag_p99_ms", "lag_orders"},
	"ingest comanda record":          {"http_ratio"},
	"append comanda":                 {bench.Ratio, bench.P99Ratio, bench.RawPerSecond, bench.RawP99, "best_raw_ratio"},
	"replay export":                  {bench.Ratio, bench.RawPerSecond},
	"subscribe comanda catch_up":     {bench.Ratio, bench.RawPerSecond},
	"subscribe comanda fan_out":      {bench.Ratio, bench.RawPerSecond},
	"subscribe comanda fan_out_live": {bench.Ratio, bench.RawPerSecond},
	"subscribe comanda live":         {"lag_p50_ms", "lag_p99_ms"},
	"subscribe comanda idle":         {"rss_bytes_per_subscriber", "held_bytes_per_subscriber"},
	"read order":                     {bench.Ratio, bench.RawPerSecond},
	"start full":                     {"ready_ms", "rss_bytes", "heap_bytes", "rss_bytes_per_order", "heap_bytes_per_order"},
	"start empty":                    {"ready_ms", "rss_bytes", "heap_bytes"},
	"rebuild rebuild":                {bench.Ratio, bench.RawPerSecond, "fold_ratio", "cpu_us", "peak_memory_bytes", "peak_rss_bytes"},
	"rebuild raw":                    {"fold_ratio"},
}

// TestBenchReports runs the README's benches, made tiny, and holds what -o json
// prints to the one form that the README describes.
func TestBenchReports(t *testing.T) {
	commands := regexp.MustCompile(`(?m)^\$ \./comanda (bench .*)$`).FindAllStringSubmatch(speedSection(t), -1)
	dir, seen := t.TempDir(), map[string]bool{}
	for _, command := range commands {
		args := strings.Fields(command[1])
		name := args[1]
		seen[name] = true
		out := execIn(t, dir, append(append(args, tiny[name]...), "-o", "json")...)
		var r bench.Report
		decoder := json.NewDecoder(bytes.NewReader(out))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&r); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		checkReport(t, name, &r)
		checkDescribed(t, out)
	}
	if got, want := slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(tiny)); !slices.Equal(got, want) {
		t.Errorf("the README shows the benches %v, want %v", got, want)
	}
}

func speedSection(t *testing.T) string {
	t.Helper()
	_, section, _ := strings.Cut(readme(t), "\n## How fast it is\n")
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// execIn runs comanda as a process of its own, in dir, and gives what it printed.
func execIn(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	var out, errs bytes.Buffer
	command := exec.CommandContext(t.Context(), "comanda", args...)
	command.Dir, command.Stdout, command.Stderr = dir, &out, &errs
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &errs)
	}
	return out.Bytes()
}

func checkReport(t *testing.T, name string, r *bench.Report) {
	t.Helper()
	s := r.Settings
	if r.Bench != name || r.At.IsZero() || s.Sync != "always" || s.PayloadBytes < 1000 || s.Rounds != 2 || s.Replicas < 1 {
		t.Errorf("%s: the report is of %s at %s, with %+v", name, r.Bench, r.At, s)
	}
	if m := r.Machine; m.Cores == 0 || m.Threads < m.Cores || m.OS == "" || m.Arch == "" {
		t.Errorf("%s: the machine is %+v", name, m)
	}
	for _, module := range []string{"comanda", "go", "nats_server", "nats_go", "bbolt"} {
		if r.Versions[module] == "" {
			t.Errorf("%s: the versions are %v", name, r.Versions)
		}
	}
	if ofLog := name == "replay" || name == "rebuild" || name == "read" || name == "start" || name == "subscribe"; ofLog != (s.LogEvents >= 500) || ofLog != (s.LogOrders > 100) || ofLog != (s.LogPartitions == 2) {
		t.Errorf("%s: the log is %+v", name, s)
	}
	var rows []string
	for i := range r.Rows {
		row := &r.Rows[i]
		rows = append(rows, fmt.Sprint(row.What, " ", row.Mode, " ", row.Partitions, " ", row.Clients))
		checkRow(t, name, row)
	}
	if diff := gocmp.Diff(wantRows[name], rows); diff != "" {
		t.Errorf("%s: the rows differ (-want +got):\n%s", name, diff)
	}
}

func checkRow(t *testing.T, name string, row *bench.Row) {
	t.Helper()
	always := []string{"calls", "elapsed_ms", bench.PerSecond, bench.P50, bench.P99, bench.Failed}
	also := append(alsoFigures[name+" "+row.What], alsoFigures[name+" "+row.What+" "+row.Mode]...)
	for _, figure := range append(always, also...) {
		if value, ok := row.Figures[figure]; !ok || math.IsNaN(value) || math.IsInf(value, 0) {
			t.Errorf("%s, %s: %s is %v, %v", name, row.What, figure, value, ok)
		}
	}
	if len(row.Rounds) != 2 || len(row.Failures) != 0 || row.Figures["calls"] == 0 || row.Figures[bench.PerSecond] == 0 {
		t.Errorf("%s: %d rounds, failures %v, figures %v", name, len(row.Rounds), row.Failures, row.Figures)
	}
	for _, round := range row.Rounds {
		for figure := range round {
			if _, ok := row.Figures[figure]; !ok {
				t.Errorf("%s: the rounds have %s, the row has not", name, figure)
			}
		}
	}
}

// checkDescribed wants every name in a report to stand in the README.
func checkDescribed(t *testing.T, report []byte) {
	t.Helper()
	described := speedSection(t)
	for _, name := range regexp.MustCompile(`"([a-z0-9_]+)":`).FindAllSubmatch(report, -1) {
		if !strings.Contains(described, "`"+string(name[1])+"`") {
			t.Errorf("the README does not describe `%s`", name[1])
		}
	}
}

// TestBenchTables runs two benches with their tables: one on the log that the other made.
func TestBenchTables(t *testing.T) {
	dir := t.TempDir()
	for bench, heads := range map[string][]string{"replay": {"what", "ratio"}, "rebuild": {"of raw", "of fold", "CPU/event", "peak memory"}, "start": {"ready after", "RSS bytes/order"}} {
		out := string(execIn(t, dir, append([]string{"bench", bench, "--log", "log", "--events", "200"}, tiny[bench][len(tiny[bench])-2:]...)...))
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 1+len(wantRows[bench]) || strings.Contains(out, "NaN") {
			t.Errorf("%s prints\n%s", bench, out)
		}
		for _, head := range heads {
			if !strings.Contains(lines[0], head) {
				t.Errorf("%s has no column %s:\n%s", bench, head, out)
			}
		}
	}
}

// TestBenchProfiles wants four profiles of the server, and in that of waits, of
// which there are many and which is off unless asked for, what the server did.
func TestBenchProfiles(t *testing.T) {
	dir := t.TempDir()
	execIn(t, dir, "bench", "ingest", "--clients", "4", "--rounds", "1", "--duration", "100ms", "--raw-streams", "1", "--profile", "profiles")
	for kind := range profiles {
		file := filepath.Join(dir, "profiles", "ingest-4-"+kind+".pprof")
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
			continue
		}
		top := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-top", file)
		out, err := top.CombinedOutput()
		if err != nil || kind == "block" && !strings.Contains(string(out), "runtime.") {
			t.Errorf("%s: %v\n%s", kind, err, out)
		}
	}
}

// TestBenchRefuses wants mistakes in flags to be mistakes in flags.
func TestBenchRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"append", "--partitions", "3"},
		{"append", "--replicas", "2"},
		{"append", "--batch-from=1"},
		{"append", "--batch-from=-2"},
		{"ingest", "--rounds", "0"},
		{"replay", "--events", "0"},
	} {
		if code, _, errs := command(t, append([]string{"bench"}, args...)...); code != exitUsage {
			t.Errorf("%v ends with %d: %s", args, code, errs)
		}
	}
}
