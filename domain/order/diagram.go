package order

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"comanda.internal/domain"
)

// WriteTable writes m's table as text: a row a kind, a column a status, because
// a terminal is high and narrow.
func (m *Machine) WriteTable(w io.Writer) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%-20s", "")
	for status := range domain.StatusCount {
		fmt.Fprintf(&out, " %-11s", status)
	}
	trimLine(&out)
	for kind := firstKind; kind < kindsEnd; kind++ {
		fmt.Fprintf(&out, "%-20s", kind)
		for status := range domain.StatusCount {
			fmt.Fprintf(&out, " %-11s", string(m.table.cells[status][kind]))
		}
		trimLine(&out)
	}
	out.WriteString(tableLegend)
	return write(w, &out)
}

const tableLegend = `
status  the order moves there
status? the same, with the gap flag: a predecessor was never seen
.       nothing moves: a repeat, or a facet only
!       conflict; noted when the fact names a payment other than those approved
~       reopen to pending; conflict after a void with a reason
^       approved? when no step so far was approved, else noted
<       noted while another payment's dispute is open; else refunded when the
        refund is full, cancelled when disputed after a void, else approved
`

// trimLine ends a line without the blanks that padding left.
func trimLine(out *bytes.Buffer) {
	out.Truncate(len(bytes.TrimRight(out.Bytes(), " ")))
	out.WriteByte('\n')
}

// WriteCSV writes m's table in the form of transitions.csv, as [ParseTable] reads it.
func (m *Machine) WriteCSV(w io.Writer) error {
	var out bytes.Buffer
	out.WriteString("status")
	for kind := firstKind; kind < kindsEnd; kind++ {
		out.WriteString("," + kind.String())
	}
	out.WriteByte('\n')
	for status := range domain.StatusCount {
		out.WriteString(status.String())
		for kind := firstKind; kind < kindsEnd; kind++ {
			out.WriteString("," + string(m.table.cells[status][kind]))
		}
		out.WriteByte('\n')
	}
	return write(w, &out)
}

// WriteMermaid writes m's edges as a mermaid state diagram. looplab's own
// visualizer draws an arrow an event, sixty of them, with colons in their names
// that mermaid takes for its own; this one draws an arrow a pair of statuses.
func (m *Machine) WriteMermaid(w io.Writer) error {
	var out bytes.Buffer
	out.WriteString("stateDiagram-v2\n    [*] --> none\n")
	for _, a := range m.arrows() {
		fmt.Fprintf(&out, "    %s --> %s: %s\n", a.from, a.to, strings.Join(a.kinds, ", "))
	}
	return write(w, &out)
}

// WriteDot writes m's edges as a graph for Graphviz.
func (m *Machine) WriteDot(w io.Writer) error {
	var out bytes.Buffer
	out.WriteString("digraph order {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n")
	for _, a := range m.arrows() {
		fmt.Fprintf(&out, "    %q -> %q [label=%q];\n", a.from.String(), a.to.String(), strings.Join(a.kinds, "\n"))
	}
	out.WriteString("}\n")
	return write(w, &out)
}

// arrow is all edges from one status to another.
type arrow struct {
	from, to domain.Status
	kinds    []string // with "?" where the edge sets the gap flag
}

// arrows is every edge, as the authority answers it, by from, to and rank.
func (m *Machine) arrows() []arrow {
	var arrows []arrow
	for from := range domain.StatusCount {
		for to := range domain.StatusCount {
			a := arrow{from: from, to: to}
			for kind := firstKind; kind < kindsEnd; kind++ {
				c := &m.cells[from][kind]
				if m.edges == nil || m.edges.next(from, kind, c.choice(to)) != to || to == domain.StatusNone {
					continue
				}
				name := kind.String()
				if c.gap {
					name += "?"
				}
				a.kinds = append(a.kinds, name)
			}
			if len(a.kinds) > 0 {
				arrows = append(arrows, a)
			}
		}
	}
	return arrows
}

func write(w io.Writer, out *bytes.Buffer) error {
	if _, err := w.Write(out.Bytes()); err != nil {
		return fmt.Errorf("write the machine: %w", err)
	}
	return nil
}
