package bench_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"comanda.internal/cmd/comanda/bench"
)

// TestRotateTakesTurns has three contenders of four rounds, each beginning with another.
func TestRotateTakesTurns(t *testing.T) {
	var turns strings.Builder
	contender := func(name string, calls ...int) bench.Contender {
		return bench.Contender{What: name, Mode: "m", Partitions: 2, Round: func(context.Context) (bench.Result, error) {
			turns.WriteString(name)
			n := calls[0]
			calls = calls[1:]
			return bench.Result{
				Clients: 7, Calls: n, Elapsed: time.Second, Failures: map[string]int{"late": 1}, Also: map[string]float64{"cpu_us": float64(2 * n)},
			}, nil
		}}
	}
	rows, err := bench.Rotate(t.Context(), 4, []bench.Contender{
		contender("a", 10, 20, 30, 1000), contender("b", 50, 50, 50, 50), contender("c", 5, 6, 7, 8),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := turns.String(), "abcbcacababc"; got != want {
		t.Errorf("the turns were %s, want %s", got, want)
	}
	rows[0].Against(bench.Best(rows[1:]))
	a := rows[0]
	want := bench.Row{What: "a", Mode: "m", Partitions: 2, Clients: 7, Rounds: a.Rounds, Failures: map[string]int{"late": 4}, Figures: map[string]float64{
		"calls": 25, "elapsed_ms": 1000, bench.PerSecond: 25, bench.P50: 0, bench.P99: 0, bench.Failed: 4, "cpu_us": 50,
		bench.RawPerSecond: 50, bench.RawP99: 0, bench.Ratio: 0.5, bench.P99Ratio: 0,
	}}
	if diff := gocmp.Diff(want, a); diff != "" {
		t.Errorf("the row differs (-want +got):\n%s", diff)
	}
	if len(a.Rounds) != 4 || a.Rounds[3][bench.PerSecond] != 1000 || a.Rounds[0][bench.Failed] != 1 {
		t.Errorf("the rounds are %v", a.Rounds)
	}
}

func TestRotateEnds(t *testing.T) {
	broken := errors.New("broken")
	_, err := bench.Rotate(t.Context(), 3, []bench.Contender{{Round: func(context.Context) (bench.Result, error) { return bench.Result{}, broken }}})
	if !errors.Is(err, broken) {
		t.Errorf("an error of a round: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rounds := 0
	_, err = bench.Rotate(ctx, 3, []bench.Contender{{Round: func(context.Context) (bench.Result, error) {
		rounds++
		cancel()
		return bench.Result{}, nil
	}}})
	if !errors.Is(err, context.Canceled) || rounds != 1 {
		t.Errorf("cancelled in the first round: %v after %d", err, rounds)
	}
}

func TestTable(t *testing.T) {
	rows := []bench.Row{
		{What: "comanda", Mode: "x", Clients: 64, Partitions: 8, Failures: map[string]int{"publish": 2, "503": 1}, Figures: map[string]float64{
			bench.PerSecond: 1234.5, bench.P99: 1.25, bench.Ratio: 0.666, "rss_bytes": 3 << 20, "rss_bytes_per_order": 1500.4, "cpu_us": 41.7, bench.Failed: 3,
		}},
		{What: "raw"},
	}
	var out strings.Builder
	columns := []bench.Column{
		{Title: "WHAT", Of: "what"},
		{Title: "MODE", Of: "mode"},
		{Title: "N", Of: "clients"},
		{Title: "P", Of: "partitions"},
		{Title: "RATE", Of: bench.PerSecond},
		{Title: "P99", Of: bench.P99},
		{Title: "RATIO", Of: bench.Ratio},
		{Title: "RSS", Of: "rss_bytes"},
		{Title: "EACH", Of: "rss_bytes_per_order"},
		{Title: "CPU", Of: "cpu_us"},
		{Title: "FAILED", Of: bench.Failed},
	}
	if err := bench.WriteTable(&out, columns, rows); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"WHAT MODE N P RATE P99 RATIO RSS EACH CPU FAILED",
		"comanda x 64 8 1234 1.2ms 0.67 3.0MiB 1500 42µs 3 503:1 publish:2",
		"raw 0 0 - - - - - - 0",
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("the table differs (-want +got):\n%s", diff)
	}
}
