package order_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain/order"
)

var update = flag.Bool("update", false, "write the diagrams' golden files anew")

// TestDiagrams holds what `comanda machine` prints to golden files.
func TestDiagrams(t *testing.T) {
	m := order.Default()
	for name, draw := range map[string]func(io.Writer) error{
		"machine.txt": m.WriteTable, "machine.mmd": m.WriteMermaid, "machine.dot": m.WriteDot,
	} {
		var out bytes.Buffer
		if err := draw(&out); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if err := draw(broken{}); !errors.Is(err, errBroken) {
			t.Errorf("%s to a broken pipe: %v", name, err)
		}
	}
}

var errBroken = errors.New("broken pipe")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

// TestCSV shows that a table that was written is read as itself, also with the spaces,
// the line ends and the byte order mark that a spreadsheet adds.
func TestCSV(t *testing.T) {
	var b bytes.Buffer
	if err := order.Default().WriteCSV(&b); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{b.String(), "\ufeff" + strings.ReplaceAll(strings.ReplaceAll(b.String(), ",", " , "), "\n", "\r\n\r\n")} {
		table, err := order.ParseTable(strings.NewReader(text))
		if err != nil || table != order.DefaultTable() {
			t.Errorf("%v: another table than was written:\n%s", err, text)
		}
	}
}
