package bench

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"time"
)

// Report is one run of one bench: what -o json prints, in one form for all.
type Report struct {
	Bench    string            `json:"bench"` // ingest, append, replay, read, subscribe or start
	At       time.Time         `json:"at"`    // when it began
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"` // comanda, go, and the modules nats_server, nats_go, bbolt
	Settings Settings          `json:"settings"`
	Rows     []Row             `json:"rows"`
}

// Settings are what the figures depend on. 0 is what a bench does not have.
type Settings struct {
	Sync          string  `json:"sync"`           // always: fsync before each acknowledgement; or never
	Replicas      int     `json:"replicas"`       // of every stream
	PayloadBytes  int     `json:"payload_bytes"`  // of one stored message, headers and record included
	Rounds        int     `json:"rounds"`         // that each row has
	RoundSeconds  float64 `json:"round_seconds"`  // 0: a round ends when its work is done
	LogEvents     int     `json:"log_events"`     // of the log that is read
	LogOrders     int     `json:"log_orders"`     // likewise
	LogPartitions int     `json:"log_partitions"` // likewise
	LogMade       bool    `json:"log_made"`       // it was made in this run; false: it was there
}

// Row is one thing that was measured, in rounds that took turns with the others'.
type Row struct {
	What       string `json:"what"`       // comanda, or what it is compared with, as "raw"
	Mode       string `json:"mode"`       // how, where there is a choice; ""
	Partitions int    `json:"partitions"` // 0: of the log that is read
	Clients    int    `json:"clients"`    // 0: no clients
	// Figures are medians of the rounds' figures, and what is made of those. The end
	// of a name is the unit: per_second, ms, us, bytes, bytes_per_order; ratio has none.
	Figures  map[string]float64   `json:"figures"`
	Rounds   []map[string]float64 `json:"rounds"`
	Failures map[string]int       `json:"failures"` // by word, of all rounds
}

// The figures that every row has, and those of a row that is compared.
const (
	PerSecond = "per_second"
	P50       = "p50_ms"
	P99       = "p99_ms"
	Failed    = "failed"

	RawPerSecond = "raw_per_second"
	RawP99       = "raw_p99_ms"
	Ratio        = "ratio"
	P99Ratio     = "p99_ratio"
)

// Contender is one of those whose rounds take turns. Its row has What, Mode and Partitions.
type Contender struct {
	What, Mode string
	Partitions int
	Round      func(ctx context.Context) (Result, error)
}

// Rotate measures the contenders in rounds, in each beginning with another, and
// answers a row for each, in their order.
func Rotate(ctx context.Context, rounds int, contenders []Contender) ([]Row, error) {
	results := make([][]Result, len(contenders))
	for round := range rounds {
		for turn := range contenders {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			which := (turn + round) % len(contenders)
			result, err := contenders[which].Round(ctx)
			if err != nil {
				return nil, err
			}
			results[which] = append(results[which], result)
		}
	}
	rows := make([]Row, len(contenders))
	for i, c := range contenders {
		rows[i] = newRow(results[i])
		rows[i].What, rows[i].Mode, rows[i].Partitions = c.What, c.Mode, c.Partitions
	}
	return rows, nil
}

func newRow(results []Result) Row {
	row := Row{Figures: map[string]float64{}, Failures: map[string]int{}}
	values := map[string][]float64{}
	for i := range results {
		r := &results[i]
		figures := r.figures()
		row.Clients = r.Clients
		row.Rounds = append(row.Rounds, figures)
		for name, value := range figures {
			values[name] = append(values[name], value)
		}
		for word, n := range r.Failures {
			row.Failures[word] += n
		}
	}
	for name, all := range values {
		row.Figures[name] = Median(all)
	}
	failed := 0
	for _, n := range row.Failures {
		failed += n
	}
	row.Figures[Failed] = float64(failed) // a sum: no failure is hidden by a median
	return row
}

// figures are what one round says of itself.
func (r *Result) figures() map[string]float64 {
	figures := map[string]float64{
		"calls": float64(r.Calls), Failed: float64(r.Failed()), "elapsed_ms": Milliseconds(r.Elapsed),
		PerSecond: r.Rate(), P50: Milliseconds(r.Quantile(0.5)), P99: Milliseconds(r.Quantile(0.99)),
	}
	maps.Copy(figures, r.Also)
	return figures
}

// Against compares the row with raw, whose rounds took turns with its own.
func (r *Row) Against(raw *Row) {
	r.Figures[RawPerSecond], r.Figures[RawP99] = raw.Figures[PerSecond], raw.Figures[P99]
	r.Figures[Ratio] = Quotient(r.Figures[PerSecond], raw.Figures[PerSecond])
	r.Figures[P99Ratio] = Quotient(r.Figures[P99], raw.Figures[P99])
}

// Best is the row with the highest rate; nil of none.
func Best(rows []Row) *Row {
	var best *Row
	for i := range rows {
		if best == nil || rows[i].Figures[PerSecond] > best.Figures[PerSecond] {
			best = &rows[i]
		}
	}
	return best
}

// Milliseconds is d as a figure.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Quotient is a/b; 0 when b is.
func Quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// WriteJSON writes the report.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
