package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Column is one column of a table: a title, and the figure, or the word, of a row.
type Column struct{ Title, Of string }

// WriteTable writes rows in aligned columns. What a row does not have is "-".
func WriteTable(w io.Writer, columns []Column, rows []Row) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns {
		_, _ = fmt.Fprint(table, c.Title, "\t") // Flush tells
	}
	for i := range rows {
		_, _ = fmt.Fprintln(table)
		for _, c := range columns {
			_, _ = fmt.Fprint(table, rows[i].cell(c.Of), "\t")
		}
	}
	_, _ = fmt.Fprintln(table)
	return table.Flush()
}

func (r *Row) cell(of string) string {
	switch of {
	case "what":
		return r.What
	case "mode":
		return r.Mode
	case "clients":
		return strconv.Itoa(r.Clients)
	case "partitions":
		return strconv.Itoa(r.Partitions)
	case Failed:
		return r.failures()
	}
	value, ok := r.Figures[of]
	switch {
	case !ok:
		return "-"
	case strings.HasSuffix(of, "_ms"):
		return decimals(value, 1) + "ms"
	case strings.HasSuffix(of, "_us"):
		return decimals(value, 0) + "µs"
	case strings.HasSuffix(of, Ratio):
		return decimals(value, 2)
	case strings.HasSuffix(of, "_bytes"):
		return decimals(value/(1<<20), 1) + "MiB"
	default:
		return decimals(value, 0)
	}
}

// failures is their number, and what they were.
func (r *Row) failures() string {
	text := []string{decimals(r.Figures[Failed], 0)}
	for _, word := range slices.Sorted(maps.Keys(r.Failures)) {
		text = append(text, fmt.Sprintf("%s:%d", word, r.Failures[word]))
	}
	return strings.Join(text, " ")
}

func decimals(value float64, n int) string { return strconv.FormatFloat(value, 'f', n, 64) }
