package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/parquet-go/parquet-go"

	"comanda.internal/domain"
)

// The formats.
const (
	FormatParquet = "parquet"
	FormatCSV     = "csv"
	FormatJSONL   = "jsonl"
)

// groupRows are in one row group of a Parquet file: what a reader holds of a column
// at a time.
const groupRows = 1 << 17

// encoder writes one file of rows. Its writer stays open after close.
type encoder[T any] interface {
	write(rows []T) error
	close() error
}

func newEncoder[T row](format string, w io.Writer) (encoder[T], error) {
	switch format {
	case FormatParquet:
		return newParquet[T](w), nil
	case FormatCSV:
		return newCSV[T](w)
	case FormatJSONL:
		return jsonl[T]{w}, nil
	default:
		return nil, domain.Errorf(domain.Invalid, "format %q: want parquet, csv or jsonl", format)
	}
}

type parquetFile[T any] struct{ w *parquet.GenericWriter[T] }

func newParquet[T row](w io.Writer) parquetFile[T] {
	var zero T
	var sorted []parquet.SortingColumn
	for _, name := range zero.sortedBy() {
		sorted = append(sorted, parquet.Ascending(name))
	}
	return parquetFile[T]{parquet.NewGenericWriter[T](w,
		parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(groupRows), parquet.CreatedBy("comanda", "1", ""),
		parquet.SortingWriterConfig(parquet.SortingColumns(sorted...)), // says how they are; it does not sort
	)}
}

func (p parquetFile[T]) write(rows []T) error {
	_, err := p.w.Write(rows)
	return err //nolint:wrapcheck // the caller names the file
}

func (p parquetFile[T]) close() error { return p.w.Close() } //nolint:wrapcheck // the caller names the file

type jsonl[T any] struct{ w io.Writer }

func (j jsonl[T]) write(rows []T) error {
	for i := range rows {
		if err := json.MarshalWrite(j.w, &rows[i], jsontext.AllowInvalidUTF8(true)); err != nil {
			return err //nolint:wrapcheck // the caller names the file
		}
		if _, err := io.WriteString(j.w, "\n"); err != nil {
			return err //nolint:wrapcheck // the caller names the file
		}
	}
	return nil
}

func (jsonl[T]) close() error { return nil }

type csvFile[T any] struct {
	w     *csv.Writer
	cells []string
}

// newCSV begins with the header, so that a file without rows has its columns.
func newCSV[T any](w io.Writer) (*csvFile[T], error) {
	c := &csvFile[T]{w: csv.NewWriter(w)}
	for field := range reflect.TypeFor[T]().Fields() {
		c.cells = append(c.cells, field.Tag.Get("json"))
	}
	return c, c.w.Write(c.cells) //nolint:wrapcheck // the caller names the file
}

func (c *csvFile[T]) write(rows []T) error {
	for i := range rows {
		r := reflect.ValueOf(&rows[i]).Elem()
		for n := range c.cells {
			var err error
			if c.cells[n], err = cell(r.Field(n).Interface()); err != nil {
				return err
			}
		}
		if err := c.w.Write(c.cells); err != nil {
			return err //nolint:wrapcheck // the caller names the file
		}
	}
	return nil
}

func (c *csvFile[T]) close() error {
	c.w.Flush()
	return c.w.Error() //nolint:wrapcheck // the caller names the file
}

// cell is v as CSV has it: "" is unknown, and a list is JSON.
func cell(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return Text(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	case int32:
		return strconv.FormatInt(int64(v), 10), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case *string:
		if v == nil {
			return "", nil
		}
		return Text(*v), nil
	case *bool:
		if v == nil {
			return "", nil
		}
		return strconv.FormatBool(*v), nil
	case *int64:
		if v == nil {
			return "", nil
		}
		return strconv.FormatInt(*v, 10), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case *time.Time:
		if v == nil {
			return "", nil
		}
		return v.Format(time.RFC3339Nano), nil
	default:
		text, err := json.Marshal(v, jsontext.AllowInvalidUTF8(true))
		if err != nil {
			return "", fmt.Errorf("write a list: %w", err)
		}
		return string(text), nil
	}
}

// Text keeps a spreadsheet from reading s as a formula: what begins like one and
// is no number begins with an apostrophe.
func Text(s string) string {
	if s == "" || !strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(s)[0]) {
		return s
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return s
	}
	return "'" + s
}
