//go:build ignore

// Testlog reads `go test -json` on standard input and prints what plain `go
// test` would: a line for each package, and all output of tests that failed. It
// exits with 1 when a test failed or was skipped, and when none ran. A package
// without tests is no skipped test.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is one line of test2json; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string // empty: the event is the package's own
	Output  string
}

// testID names a test. A package's tests may have the names of another's.
type testID struct{ pkg, test string }

type report struct {
	out            io.Writer
	running        map[testID]*strings.Builder
	passed, failed int
	skipped        []testID
}

func main() {
	r := &report{out: os.Stdout, running: map[testID]*strings.Builder{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testlog:", err)
		os.Exit(1)
	}
	if !r.close() {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

// line prints what is no event as it is: the go command's own complaints.
func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil {
		_, _ = r.out.Write(line)
		return
	}
	switch {
	case e.Action == "build-output":
		_, _ = io.WriteString(r.out, e.Output)
	case e.Test == "":
		r.pkg(e)
	default:
		r.test(e)
	}
}

func (r *report) pkg(e event) {
	switch e.Action {
	case "output":
		if e.Output != "PASS\n" {
			_, _ = io.WriteString(r.out, e.Output)
		}
	case "fail":
		// A panic or a timeout ends the tests that run without an event of theirs.
		for id := range r.running {
			if id.pkg == e.Package {
				r.failed++
				r.flush(id)
			}
		}
	}
}

func (r *report) test(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.running[id] = new(strings.Builder)
	case "output":
		if b := r.running[id]; b != nil {
			b.WriteString(e.Output)
		} else {
			_, _ = io.WriteString(r.out, e.Output)
		}
	case "pass", "bench":
		r.passed++
		delete(r.running, id)
	case "fail":
		r.failed++
		r.flush(id)
	case "skip":
		r.skipped = append(r.skipped, id)
		r.flush(id)
	}
}

func (r *report) flush(id testID) {
	if b := r.running[id]; b != nil {
		_, _ = io.WriteString(r.out, b.String())
	}
	delete(r.running, id)
}

// close prints the sums and says whether all is well.
func (r *report) close() bool {
	slices.SortFunc(r.skipped, func(a, b testID) int {
		return strings.Compare(a.pkg+a.test, b.pkg+b.test)
	})
	for _, id := range r.skipped {
		fmt.Fprintf(r.out, "skipped: %s %s\n", id.pkg, id.test)
	}
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, len(r.skipped))
	return r.passed > 0 && r.failed == 0 && len(r.skipped) == 0
}
