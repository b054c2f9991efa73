package order_test

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// TestTableIsTheCSV holds the table in Go to transitions.csv, cell by cell.
func TestTableIsTheCSV(t *testing.T) {
	data, err := os.ReadFile("testdata/transitions.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	header := strings.Split(lines[0], ",")
	if len(lines) != 9 || len(header) != 13 {
		t.Fatalf("the CSV has %d lines of %d columns, want 9 of 13", len(lines), len(header))
	}
	table := order.DefaultTable()
	for _, line := range lines[1:] {
		row := strings.Split(line, ",")
		status, _ := domain.ParseStatus(row[0])
		for i, name := range header[1:] {
			kind, _ := domain.ParseKind(name)
			if got := table.At(status, kind); string(got) != row[i+1] {
				t.Errorf("%s, %s: %q in Go, %q in the CSV", status, kind, got, row[i+1])
			}
		}
	}
	parsed, err := order.ParseTable(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if parsed != table {
		t.Error("ParseTable reads another table than DefaultTable")
	}
}

// TestParseTableRefuses names every mistake of a bad table.
func TestParseTableRefuses(t *testing.T) {
	data, err := os.ReadFile("testdata/transitions.csv")
	if err != nil {
		t.Fatal(err)
	}
	good := string(data)
	for name, test := range map[string]struct {
		csv  string
		want []string
	}{
		"nothing":        {"\n\n", []string{"empty"}},
		"a missing row":  {good[:strings.LastIndex(good, "chargeback,.")], []string{"chargeback, started: no code"}},
		"a short row":    {strings.Replace(good, "started,.,.,", "started,.,", 1), []string{"line 3, cell 12: row started: 11 cells, want 12", "started, pending: no code"}},
		"unknown status": {strings.Replace(good, "\nrefused,", "\nrefusal,", 1), []string{`line 6, cell 1: row "refusal": not a status`, "refused, started: no code"}},
		"unknown kind":   {strings.Replace(good, "abandoned", "left", 1), []string{`line 1, cell 3: column "left"`, "none, abandoned: no code"}},
		"a kind of no status": {
			strings.Replace(good, "abandoned", "details", 1), []string{`column "details": not a kind that may move the status`},
		},
		"unknown code":   {strings.Replace(good, "~", "%", 1), []string{`line 7, cell 4: cancelled, pending: "%" is not a code`}},
		"none is no way": {strings.Replace(good, "~", "none", 1), []string{`cancelled, pending: "none" is not a code`}},
		"an edge to itself": {
			strings.Replace(good, "approved,.,.,!", "approved,approved,.,!", 1), []string{`approved, started: "approved" is an edge to itself`},
		},
		"twice a row":    {good + "\n" + strings.Split(good, "\n")[3], []string{`row "pending": twice`}},
		"twice a column": {strings.Replace(good, "abandoned", "started", 1), []string{`column "started": twice`, "none, abandoned: no code"}},
		"unreachable": {
			strings.Replace(good, "none,started,started", "none,pending,pending", 1),
			[]string{"started: no way leads there"},
		},
		"two mistakes": {strings.ReplaceAll(good, "^", "*"), []string{
			"cancelled, refund_requested", "cancelled, partially_refunded", "cancelled, chargeback_reversed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := order.ParseTable(strings.NewReader(test.csv))
			if err == nil || domain.KindOf(err) != domain.Invalid {
				t.Fatalf("error %v, want one of kind invalid", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v\nlacks %q", err, part)
				}
			}
		})
	}
}

// TestNewRefuses shows that a machine validates its table itself.
func TestNewRefuses(t *testing.T) {
	for name, table := range map[string]order.Table{
		"the zero table": {},
		"a hole":         order.DefaultTable().With(domain.StatusPending, domain.KindApproved, ""),
		"a typo":         order.DefaultTable().With(domain.StatusPending, domain.KindApproved, "aproved"),
	} {
		if _, err := order.New(table); domain.KindOf(err) != domain.Invalid || err == nil {
			t.Errorf("%s: error %v, want one of kind invalid", name, err)
		}
	}
}

// TestTableIsAValue shows that a table is changed only in the copy, and only inside it.
func TestTableIsAValue(t *testing.T) {
	table := order.DefaultTable()
	changed := table.With(domain.StatusNone, domain.KindPending, "approved")
	if table.At(domain.StatusNone, domain.KindPending) != "pending" || changed.At(domain.StatusNone, domain.KindPending) != "approved" {
		t.Error("With changes the table it is called on, or not its copy")
	}
	if table.With(domain.StatusNone, domain.KindDetails, "approved") != table || table.With(domain.StatusCount, domain.KindPending, "approved") != table {
		t.Error("With changes something outside the table")
	}
	if got := table.At(domain.StatusNone, domain.KindDetails) + table.At(domain.StatusCount, domain.KindPending); got != "" {
		t.Errorf("At outside the table is %q", got)
	}
}

// TestCodes holds the list of codes to what a cell may hold: five special ones,
// and every status but none, with and without the gap flag.
func TestCodes(t *testing.T) {
	want := []order.Code{
		".", "!", "~", "^", "<", "started", "started?", "pending", "pending?", "approved", "approved?", "refused", "refused?",
		"cancelled", "cancelled?", "refunded", "refunded?", "chargeback", "chargeback?",
	}
	if diff := cmp.Diff(want, order.Codes()); diff != "" {
		t.Error(diff)
	}
	for status := range domain.StatusCount {
		for kind := domain.KindStarted; kind < domain.KindDetails; kind++ {
			if !slices.Contains(want, order.DefaultTable().At(status, kind)) {
				t.Errorf("%s, %s holds no code", status, kind)
			}
		}
	}
}
