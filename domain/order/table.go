package order

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"comanda.internal/domain"
)

// Code is one cell of the table, spelled as in transitions.csv: a status, a
// status and "?" (the same, with the gap flag), or one of the codes below.
type Code string

// The codes that are not a plain status.
const (
	// CodeStay moves nothing: a repeat, or a facet only.
	CodeStay Code = "."
	// CodeConflict refuses the fact at this place in time; but it is noted when
	// it names a payment id other than those approved so far (a second attempt).
	CodeConflict Code = "!"
	// CodeReopen goes to pending, unless a cancellation since the order entered
	// cancelled was a void with a reason other than unknown: then it is a conflict.
	CodeReopen Code = "~"
	// CodeImplied goes to approved with the gap flag when no step so far was
	// approved (a refund implies a payment), and is noted otherwise.
	CodeImplied Code = "^"
	// CodeReversed is noted while another payment's dispute is open; else it
	// goes to refunded when the refund is full at this place, to cancelled when
	// the dispute was entered from a void, otherwise to approved.
	CodeReversed Code = "<"
)

// firstKind and kindsEnd bound the kinds that may move the status: the table's columns.
const (
	firstKind = domain.KindStarted
	kindsEnd  = domain.KindDetails
)

// Codes is every code that a cell may hold.
func Codes() []Code {
	codes := []Code{CodeStay, CodeConflict, CodeReopen, CodeImplied, CodeReversed}
	for s := domain.StatusStarted; s < domain.StatusCount; s++ {
		codes = append(codes, Code(s.String()), Code(s.String()+"?"))
	}
	return codes
}

// Table says what a fact does at its own place in time: a code for every
// (status, kind) of the twelve kinds that may move the status. It is a value;
// [New] validates it.
type Table struct {
	cells [domain.StatusCount][kindsEnd]Code
}

// DefaultTable is transitions.csv as Go. A column is a kind, in rank order.
func DefaultTable() Table {
	const (
		stay, conflict, reopen, implied, reversed = CodeStay, CodeConflict, CodeReopen, CodeImplied, CodeReversed

		started, pending, approved, refused     Code = "started", "pending", "approved", "refused"
		cancelled, refunded, chargeback         Code = "cancelled", "refunded", "chargeback"
		approvedGap, refundedGap, chargebackGap Code = "approved?", "refunded?", "chargeback?"
	)
	rows := [domain.StatusCount][kindsEnd - firstKind]Code{
		//                       started  abandoned pending   refused   cancelled  expired    approved  refund_req.  partially_r. refunded     chargeback     chargeback_reversed
		domain.StatusNone:       {started, started, pending, refused, cancelled, cancelled, approved, approvedGap, approvedGap, refundedGap, chargebackGap, approvedGap},
		domain.StatusStarted:    {stay, stay, pending, refused, cancelled, cancelled, approved, approvedGap, approvedGap, refundedGap, chargebackGap, approvedGap},
		domain.StatusPending:    {stay, stay, stay, refused, cancelled, cancelled, approved, approvedGap, approvedGap, refundedGap, chargebackGap, approvedGap},
		domain.StatusApproved:   {stay, stay, conflict, conflict, cancelled, stay, stay, stay, stay, refunded, chargeback, stay},
		domain.StatusRefused:    {stay, stay, pending, stay, cancelled, cancelled, approved, approvedGap, approvedGap, refundedGap, chargebackGap, approvedGap},
		domain.StatusCancelled:  {stay, stay, reopen, refused, stay, stay, approved, implied, implied, refunded, chargeback, implied},
		domain.StatusRefunded:   {stay, stay, conflict, conflict, stay, stay, conflict, stay, stay, stay, chargeback, stay},
		domain.StatusChargeback: {stay, stay, conflict, conflict, stay, stay, conflict, stay, stay, stay, stay, reversed},
	}
	var t Table
	for status, row := range rows {
		copy(t.cells[status][firstKind:], row[:])
	}
	return t
}

// At is the code of (status, kind); "" outside the table.
func (t Table) At(status domain.Status, kind domain.Kind) Code {
	if status >= domain.StatusCount || !kind.Moves() {
		return ""
	}
	return t.cells[status][kind]
}

// With is t with another code at (status, kind); t itself outside the table.
func (t Table) With(status domain.Status, kind domain.Kind, code Code) Table {
	if status < domain.StatusCount && kind.Moves() {
		t.cells[status][kind] = code
	}
	return t
}

// ParseTable reads a table in the form of transitions.csv: a header line of
// "status" and kinds, then a line a status. Its errors, of kind Invalid, name
// every unknown name, repeat and missing cell at once, with the line, from 1, and
// the cell in it, from 1, where there is one.
func ParseTable(r io.Reader) (Table, error) {
	lines, err := readLines(r)
	if err != nil {
		return Table{}, err
	}
	if len(lines) == 0 {
		return Table{}, domain.Errorf(domain.Invalid, "transition table: empty")
	}
	var t Table
	var at places
	kinds, problems := parseHeader(lines[0])
	for _, l := range lines[1:] {
		problems = append(problems, t.parseRow(l, kinds, &at)...)
	}
	problems = append(problems, t.problems(&at)...)
	if len(problems) > 0 {
		return Table{}, domain.Errorf(domain.Invalid, "transition table: %w", errors.Join(problems...))
	}
	return t, nil
}

// line is one that is not blank.
type line struct {
	number int
	cells  []string
}

// wrong is what is wrong with a cell of l, from 0.
func (l *line) wrong(cell int, format string, args ...any) error {
	return fmt.Errorf("line %d, cell %d: "+format, append([]any{l.number, cell + 1}, args...)...) //nolint:err113 // told, not compared
}

// readLines splits at commas; spaces around a cell, and a byte order mark, are nothing.
func readLines(r io.Reader) (lines []line, err error) {
	in := bufio.NewScanner(r)
	for number := 1; in.Scan(); number++ {
		text := strings.TrimSpace(strings.TrimPrefix(in.Text(), "\ufeff"))
		if text == "" {
			continue
		}
		l := line{number: number, cells: strings.Split(text, ",")}
		for i := range l.cells {
			l.cells[i] = strings.TrimSpace(l.cells[i])
		}
		lines = append(lines, l)
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read a transition table: %w", err)
	}
	return lines, nil
}

// places say where in a text each cell of a table stood, as "line 3, cell 2: ";
// "" where it did not.
type places [domain.StatusCount][kindsEnd]string

func parseHeader(header line) ([]domain.Kind, []error) {
	var problems []error
	kinds := make([]domain.Kind, 0, len(header.cells))
	for i, name := range header.cells {
		if i == 0 {
			continue
		}
		kind, ok := domain.ParseKind(name)
		if !ok || !kind.Moves() {
			problems = append(problems, header.wrong(i, "column %q: not a kind that may move the status", name))
		} else if slices.Contains(kinds, kind) {
			problems = append(problems, header.wrong(i, "column %q: twice", name))
		}
		kinds = append(kinds, kind)
	}
	return kinds, problems
}

func (t *Table) parseRow(row line, kinds []domain.Kind, at *places) []error {
	status, ok := domain.ParseStatus(row.cells[0])
	if !ok {
		return []error{row.wrong(0, "row %q: not a status", row.cells[0])}
	}
	if t.cells[status] != (Table{}).cells[status] {
		return []error{row.wrong(0, "row %q: twice", row.cells[0])}
	}
	if len(row.cells)-1 != len(kinds) {
		return []error{row.wrong(len(row.cells)-1, "row %s: %d cells, want %d", status, len(row.cells)-1, len(kinds))}
	}
	for i, kind := range kinds {
		if kind.Moves() {
			t.cells[status][kind] = Code(row.cells[i+1])
			at[status][kind] = fmt.Sprintf("line %d, cell %d: ", row.number, i+2)
		}
	}
	return nil
}

// problems is everything that is wrong with t: empty cells, unknown codes,
// edges of a status to itself, statuses that no way leads to.
func (t *Table) problems(at *places) []error {
	var problems []error
	for status := range domain.StatusCount {
		for kind := firstKind; kind < kindsEnd; kind++ {
			if _, err := parseCode(t.cells[status][kind], status); err != nil {
				problems = append(problems, fmt.Errorf("%s%s, %s: %w", at[status][kind], status, kind, err))
			}
		}
	}
	if len(problems) > 0 {
		return problems
	}
	reached := t.reached()
	for status := range domain.StatusCount {
		if !reached[status] {
			problems = append(problems, fmt.Errorf("%s: no way leads there", status))
		}
	}
	return problems
}

// reached is the statuses that some way of edges leads to from none.
func (t *Table) reached() [domain.StatusCount]bool {
	var reached [domain.StatusCount]bool
	way := []domain.Status{domain.StatusNone}
	for len(way) > 0 {
		from := way[len(way)-1]
		way = way[:len(way)-1]
		if reached[from] {
			continue
		}
		reached[from] = true
		for kind := firstKind; kind < kindsEnd; kind++ {
			if c, err := parseCode(t.cells[from][kind], from); err == nil {
				way = append(way, c.targets...)
			}
		}
	}
	return reached
}

// cell is a code, read.
type cell struct {
	code Code // "" for an edge, with or without "?"
	gap  bool
	// targets are where its edges lead: none for CodeStay and CodeConflict, one
	// for most, several where a guard chooses. Never the row itself.
	targets []domain.Status
}

// choice is the target to ask for at to: StatusNone when the cell has but one,
// because then its event is named by kind alone.
func (c *cell) choice(to domain.Status) domain.Status {
	if c.code == CodeReversed {
		return to
	}
	return domain.StatusNone
}

// parseCode reads a cell of row status.
func parseCode(code Code, status domain.Status) (cell, error) {
	c := cell{code: code}
	switch code {
	case "":
		return cell{}, errors.New("no code")
	case CodeStay, CodeConflict:
	case CodeReopen:
		c.targets = []domain.Status{domain.StatusPending}
	case CodeImplied:
		c.targets = []domain.Status{domain.StatusApproved}
		c.gap = true
	case CodeReversed:
		c.targets = []domain.Status{domain.StatusRefunded, domain.StatusCancelled, domain.StatusApproved}
	default:
		name, gap := strings.CutSuffix(string(code), "?")
		to, ok := domain.ParseStatus(name)
		if !ok || to == domain.StatusNone {
			return cell{}, fmt.Errorf("%q is not a code", string(code))
		}
		if to == status {
			return cell{}, fmt.Errorf("%q is an edge to itself; a repeat is %q", string(code), string(CodeStay))
		}
		return cell{gap: gap, targets: []domain.Status{to}}, nil
	}
	c.targets = slices.DeleteFunc(c.targets, func(to domain.Status) bool { return to == status })
	return c, nil
}
