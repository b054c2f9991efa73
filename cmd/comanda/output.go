package main

import (
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/export"
	"comanda.internal/proto/wire"
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

// messageJSON is m with the proto's snake_case names, plain words for enums,
// numbers for 64-bit integers, RFC 3339 for times, and null for what is unknown.
func messageJSON(m proto.Message) (string, error) {
	var b strings.Builder
	enc := jsontext.NewEncoder(&b)
	if err := writeMessage(enc, m.ProtoReflect()); err != nil {
		return "", fmt.Errorf("write %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func writeMessage(enc *jsontext.Encoder, m protoreflect.Message) error {
	if ts, ok := m.Interface().(*timestamppb.Timestamp); ok {
		return enc.WriteToken(jsontext.String(ts.AsTime().Format(time.RFC3339Nano)))
	}
	return enclose(enc, jsontext.BeginObject, jsontext.EndObject, func() error {
		fields := m.Descriptor().Fields()
		for i := range fields.Len() {
			f := fields.Get(i)
			if f.ContainingOneof() != nil && !f.HasOptionalKeyword() && !m.Has(f) {
				continue
			}
			if err := enc.WriteToken(jsontext.String(string(f.Name()))); err != nil {
				return err
			}
			if err := writeField(enc, m, f); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeField(enc *jsontext.Encoder, m protoreflect.Message, f protoreflect.FieldDescriptor) error {
	switch {
	case f.HasPresence() && !m.Has(f):
		return enc.WriteToken(jsontext.Null)
	case f.IsMap():
		return writeMap(enc, m.Get(f).Map())
	case f.IsList():
		return enclose(enc, jsontext.BeginArray, jsontext.EndArray, func() error {
			list := m.Get(f).List()
			for i := range list.Len() {
				if err := writeValue(enc, f, list.Get(i)); err != nil {
					return err
				}
			}
			return nil
		})
	default:
		return writeValue(enc, f, m.Get(f))
	}
}

// writeMap writes a map<string, string>, the only kind in comanda.v1, by key.
func writeMap(enc *jsontext.Encoder, values protoreflect.Map) error {
	return enclose(enc, jsontext.BeginObject, jsontext.EndObject, func() error {
		for _, key := range sortedKeys(values) {
			if err := enc.WriteToken(jsontext.String(key)); err != nil {
				return err
			}
			value := values.Get(protoreflect.ValueOfString(key).MapKey()).String()
			if err := enc.WriteToken(jsontext.String(value)); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeValue(enc *jsontext.Encoder, f protoreflect.FieldDescriptor, v protoreflect.Value) error {
	switch f.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return writeMessage(enc, v.Message())
	case protoreflect.EnumKind:
		return enc.WriteToken(jsontext.String(wire.WordOf(f.Enum(), v.Enum())))
	case protoreflect.BoolKind:
		return enc.WriteToken(jsontext.Bool(v.Bool()))
	case protoreflect.StringKind:
		return enc.WriteToken(jsontext.String(v.String()))
	case protoreflect.BytesKind:
		return enc.WriteToken(jsontext.String(base64.StdEncoding.EncodeToString(v.Bytes())))
	case protoreflect.Uint32Kind, protoreflect.Uint64Kind, protoreflect.Fixed32Kind, protoreflect.Fixed64Kind:
		return enc.WriteToken(jsontext.Uint(v.Uint()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return enc.WriteToken(jsontext.Float(v.Float()))
	default:
		return enc.WriteToken(jsontext.Int(v.Int()))
	}
}

func enclose(enc *jsontext.Encoder, open, end jsontext.Token, inside func() error) error {
	if err := enc.WriteToken(open); err != nil {
		return err
	}
	if err := inside(); err != nil {
		return err
	}
	return enc.WriteToken(end)
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

func sortedKeys(m protoreflect.Map) []string {
	keys := make([]string, 0, m.Len())
	for k := range m.Range {
		keys = append(keys, k.String())
	}
	slices.Sort(keys)
	return keys
}
