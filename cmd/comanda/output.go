package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/export"
	"comanda.internal/adapters/plainjson"
)

// column is one column of a table or CSV.
type column[M proto.Message] struct {
	name  string
	text  func(M) string
	width int // of a table's column at least, so that a live table stays in line
}

// printer writes messages in one of the formats of DESIGN section 11.
type printer[M proto.Message] struct {
	format  string // table, json, jsonl or csv
	columns []column[M]
	out     io.Writer
	table   *tabwriter.Writer
	csv     *csv.Writer
	count   int
	headed  bool // the CSV has its header
}

func newPrinter[M proto.Message](out io.Writer, format string, columns []column[M]) *printer[M] {
	return &printer[M]{
		format: format, columns: columns, out: out,
		table: tabwriter.NewWriter(out, 0, 8, 2, ' ', 0), csv: csv.NewWriter(out),
	}
}

// print writes one message. Table and CSV begin with their header.
func (p *printer[M]) print(m M) error {
	p.count++
	switch p.format {
	case formatJSON:
		opening := ",\n"
		if p.count == 1 {
			opening = "[\n"
		}
		text, err := messageJSON(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s%s", opening, text)
		return err
	case formatJSONL:
		text, err := messageJSON(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s\n", text)
		return err
	default:
		return p.row(m)
	}
}

func (p *printer[M]) row(m M) error {
	names, cells := make([]string, len(p.columns)), make([]string, len(p.columns))
	for i, c := range p.columns {
		names[i], cells[i] = c.name, c.text(m)
	}
	if p.format == formatCSV {
		if err := p.csvHeader(); err != nil {
			return err
		}
		for i := range cells {
			cells[i] = export.Text(cells[i])
		}
		return p.csv.Write(cells)
	}
	for i, c := range p.columns {
		names[i], cells[i] = fmt.Sprintf("%-*s", c.width, names[i]), fmt.Sprintf("%-*s", c.width, cells[i])
	}
	if p.count == 1 {
		if _, err := fmt.Fprintln(p.table, strings.ToUpper(strings.Join(names, "\t"))); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(p.table, strings.Join(cells, "\t"))
	return err
}

// csvHeader writes the names of the columns, once.
func (p *printer[M]) csvHeader() error {
	if p.headed {
		return nil
	}
	p.headed = true
	names := make([]string, len(p.columns))
	for i, c := range p.columns {
		names[i] = c.name
	}
	return p.csv.Write(names)
}

// flush ends what print began; a live tail calls it after each message.
func (p *printer[M]) flush() error {
	switch p.format {
	case formatJSON:
		closing := "\n]\n"
		if p.count == 0 {
			closing = "[]\n"
		}
		_, err := io.WriteString(p.out, closing)
		return err
	case formatCSV: // of no records too, so that a reader finds its columns
		if err := p.csvHeader(); err != nil {
			return err
		}
		p.csv.Flush()
		return p.csv.Error()
	case formatJSONL:
		return nil
	default:
		return p.table.Flush()
	}
}

func messageJSON(m proto.Message) (string, error) {
	b, err := plainjson.Append(nil, m)
	return string(b), err
}

// printOne writes a single message: as a table a field a line, as JSON an object
// and not a list.
func printOne[M proto.Message](out io.Writer, format string, columns []column[M], m M) error {
	switch format {
	case formatTable:
		w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
		for _, c := range columns {
			if text := c.text(m); text != "" {
				if _, err := fmt.Fprintf(w, "%s\t%s\n", c.name, text); err != nil {
					return err
				}
			}
		}
		return w.Flush()
	case formatJSON:
		text, err := messageJSON(m)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, text)
		return err
	default:
		p := newPrinter(out, format, columns)
		if err := p.print(m); err != nil {
			return err
		}
		return p.flush()
	}
}

// live shows what was printed so far; JSON's list stays open.
func (p *printer[M]) live() error {
	if p.format == formatJSON {
		return nil
	}
	return p.flush()
}
