package export_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/parquet-go/parquet-go"

	"comanda.internal/adapters/export"
	"comanda.internal/domain"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	tables  = []string{export.TableEvents, export.TableTransitions, export.TableOrders, export.TableIntervals, export.TableMovements}
	formats = []string{export.FormatParquet, export.FormatCSV, export.FormatJSONL}
)

func stream(t *testing.T, c export.Config) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := export.Stream(t.Context(), &out, t.TempDir(), c); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// rowsOf are those of a JSONL text.
func rowsOf[T any](t *testing.T, text []byte) []T {
	t.Helper()
	var rows []T
	in := jsontext.NewDecoder(bytes.NewReader(text))
	for in.PeekKind() != 0 {
		var r T
		if err := json.UnmarshalDecode(in, &r); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, r)
	}
	return rows
}

// TestGolden holds the rows of every table to those that were read and found right,
// and looks for what may not be in any.
func TestGolden(t *testing.T) {
	l := newLog(t)
	l.story(t)
	for _, table := range tables {
		for _, format := range []string{export.FormatCSV, export.FormatJSONL} {
			got := stream(t, l.config(t, format, table))
			path := filepath.Join("testdata", "golden", table+"."+format)
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
			for _, secret := range []string{"Maria", "maria@", "39053344705"} {
				if bytes.Contains(got, []byte(secret)) {
					t.Errorf("%s holds personal data: %s", path, secret)
				}
			}
		}
	}
}

// TestParquetHoldsTheLog reads every file back and compares it with the log.
func TestParquetHoldsTheLog(t *testing.T) {
	l := newLog(t)
	l.story(t)
	dir := t.TempDir()
	if _, err := export.Directory(t.Context(), dir, l.config(t, export.FormatParquet, tables...)); err != nil {
		t.Fatal(err)
	}
	var want []export.Event
	head := l.config(t, export.FormatParquet, tables...).Head
	for p := range head.Partitions() {
		if err := l.Scan(t.Context(), p, 0, head.At(p), func(r *domain.Recorded) error {
			want = append(want, export.EventOf(r))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	got := readBack(t, dir, export.TableEvents, func(e export.Event) time.Time { return e.RecordedAt }, []string{"partition", "sequence"})
	slices.SortFunc(got, func(a, b export.Event) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Sequence, b.Sequence))
	})
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("events (-log +file):\n%s", diff)
	}
	wantRows(t, l, dir, export.TableTransitions, func(r export.Transition) time.Time { return r.RecordedAt }, "partition", "sequence")
	wantRows(t, l, dir, export.TableOrders, func(r export.Order) time.Time { return r.FirstRecordedAt }, "order_id")
	wantRows(t, l, dir, export.TableIntervals, func(r export.Interval) time.Time { return r.RecordedAt }, "order_id", "number")
	wantRows(t, l, dir, export.TableMovements, func(r export.Movement) time.Time { return r.RecordedAt }, "order_id", "number")
}

// wantRows compares a table's files with what goes to standard output.
func wantRows[T any](t *testing.T, l *log, dir, table string, recorded func(T) time.Time, sorted ...string) {
	t.Helper()
	text := func(r T) string {
		out, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	var want, got []string
	for _, r := range rowsOf[T](t, stream(t, l.config(t, export.FormatJSONL, table))) {
		want = append(want, text(r))
	}
	for _, r := range readBack(t, dir, table, recorded, sorted) {
		got = append(got, text(r))
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" || len(want) == 0 {
		t.Errorf("%s, %d rows (-streamed +file):\n%s", table, len(want), diff)
	}
}

// readBack reads the files of a table, which must be sorted, compressed, typed, and
// hold only rows of their day.
func readBack[T any](t *testing.T, dir, table string, recorded func(T) time.Time, sorted []string) []T {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, table, "recorded_day=*", "*.parquet"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("%s: %d files: %v", table, len(paths), err)
	}
	var out []T
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parquet.OpenFile(bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range f.Metadata().RowGroups {
			var by []string
			for _, s := range group.SortingColumns {
				by = append(by, group.Columns[s.ColumnIdx].MetaData.PathInSchema[0])
			}
			if codec := group.Columns[0].MetaData.Codec.String(); !slices.Equal(by, sorted) || codec != "ZSTD" {
				t.Errorf("%s is sorted by %v and compressed by %s", path, by, codec)
			}
		}
		rows, err := parquet.Read[T](bytes.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if day := "recorded_day=" + recorded(r).UTC().Format(time.DateOnly); !strings.Contains(path, day) {
				t.Errorf("%s holds a row of %s", path, day)
			}
		}
		out = append(out, rows...)
	}
	return out
}

// filesOf are the bytes of every file below dir.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantSound(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	if _, err := export.Check(dir, func(problem string) { got = append(got, problem) }); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestResumedEqualsWhole kills an export at every event that it reads, and ends
// it: every byte is that of one that was not interrupted. The formats take turns;
// one table is of the log, one of the fold.
func TestResumedEqualsWhole(t *testing.T) {
	l := newLog(t)
	l.story(t)
	whole := map[string]map[string]string{}
	var reads int
	for _, format := range formats {
		dir := t.TempDir()
		c := l.config(t, format, export.TableEvents, export.TableIntervals)
		c.Progress = func(_, total uint64) { reads = int(total) }
		if _, err := export.Directory(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
		wantSound(t, dir)
		whole[format] = filesOf(t, dir)
	}
	if reads != 2*16 {
		t.Fatalf("it told of %d events", reads)
	}
	for at := range reads {
		dir, format := t.TempDir(), formats[at%len(formats)]
		c := l.config(t, format, export.TableEvents, export.TableIntervals)
		killed := c
		killed.Log = &cut{Log: l.Log, left: at}
		if _, err := export.Directory(t.Context(), dir, killed); !errors.Is(err, errCut) {
			t.Fatalf("killed at %d of %d: %v", at, reads, err)
		}
		wantSound(t, dir, "manifest.json: not complete: the export was interrupted; run it again")
		if _, err := export.Directory(t.Context(), dir, c); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(whole[format], filesOf(t, dir)); diff != "" {
			t.Fatalf("%s, killed at %d of %d (-whole +resumed):\n%s", format, at, reads, diff)
		}
	}
}

// TestGoesOn exports what a log holds, and what it holds later into the same
// directory.
func TestGoesOn(t *testing.T) {
	l := newLog(t)
	l.story(t)
	dir := t.TempDir()
	for range 2 { // the second has nothing to do
		if _, err := export.Directory(t.Context(), dir, l.config(t, export.FormatParquet, tables...)); err != nil {
			t.Fatal(err)
		}
	}
	before := filesOf(t, dir)
	l.now = l.now.AddDate(0, 0, 1)
	l.record(t, 0, domain.KindRefunded, nil)
	l.record(t, 3, domain.KindApproved, paid)
	m, err := export.Directory(t.Context(), dir, l.config(t, export.FormatParquet, tables...))
	if err != nil {
		t.Fatal(err)
	}
	wantSound(t, dir)
	for path, text := range filesOf(t, dir) {
		if strings.HasPrefix(path, "/events") && before[path] != "" && before[path] != text {
			t.Errorf("%s was written again", path)
		}
	}
	for _, table := range tables {
		want := bytes.Count(stream(t, l.config(t, export.FormatJSONL, table)), []byte("\n"))
		if int(m.Rows(table)) != want {
			t.Errorf("%s has %d rows, the log %d", table, m.Rows(table), want)
		}
	}
	wantRows(t, l, dir, export.TableOrders, func(r export.Order) time.Time { return r.FirstRecordedAt }, "order_id")
}

// TestCheckFinds shows that no change of an export escapes.
func TestCheckFinds(t *testing.T) {
	l := newLog(t)
	l.story(t)
	dir := t.TempDir()
	m, err := export.Directory(t.Context(), dir, l.config(t, export.FormatCSV, export.TableEvents))
	if err != nil {
		t.Fatal(err)
	}
	wantSound(t, dir)
	path := func(i int) string { return filepath.Join(dir, filepath.FromSlash(m.Files[i].Path)) }
	flipped, err := os.ReadFile(path(0))
	if err != nil {
		t.Fatal(err)
	}
	flipped[len(flipped)/2] ^= 1
	for name, err := range map[string]error{
		"flip":  os.WriteFile(path(0), flipped, 0o600),
		"grow":  os.WriteFile(path(1), nil, 0o600),
		"drop":  os.Remove(path(2)),
		"extra": os.WriteFile(filepath.Join(filepath.Dir(path(0)), "other.csv"), nil, 0o600),
	} {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	extra := strings.TrimPrefix(filepath.Dir(m.Files[0].Path), "/") + "/other.csv"
	var got []string
	if _, err := export.Check(dir, func(problem string) { got = append(got, problem) }); err != nil {
		t.Fatal(err)
	}
	want := []string{m.Files[0].Path + ": its SHA-256 differs", m.Files[1].Path + ": 0 bytes, not ", m.Files[2].Path + ": missing", extra + ": not listed"}
	if len(got) != len(want) {
		t.Fatalf("found %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("found %q, want %q", got[i], want[i])
		}
	}
}

// TestFilters counts the rows that each filter leaves, and shows that no row is
// left that it should not.
func TestFilters(t *testing.T) {
	l := newLog(t)
	l.story(t)
	all := rowsOf[export.Event](t, stream(t, l.config(t, export.FormatJSONL, export.TableEvents)))
	half := l.config(t, export.FormatJSONL, export.TableEvents)
	after := domain.Position{}.With(0, half.Head.At(0)/2).With(1, half.Head.At(1)/2)
	from, to := noon.AddDate(0, 0, 2), noon.AddDate(0, 0, 4)
	for name, test := range map[string]struct {
		change func(*export.Config)
		takes  func(*export.Event) bool
	}{
		"tenant":  {func(c *export.Config) { c.Filter.Tenants = []string{"loja"} }, func(e *export.Event) bool { return e.Tenant == "loja" }},
		"source":  {func(c *export.Config) { c.Filter.Sources = []string{"outra-aprovei"} }, func(e *export.Event) bool { return e.Source == "outra-aprovei" }},
		"status":  {func(c *export.Config) { c.Filter.Statuses = []string{"approved", "refused"} }, func(e *export.Event) bool { return e.StatusTo == "approved" || e.StatusTo == "refused" }},
		"verdict": {func(c *export.Config) { c.Filter.Verdicts = []string{"noted"} }, func(e *export.Event) bool { return e.Verdict == "noted" }},
		"time": {func(c *export.Config) { c.Filter.From, c.Filter.To = from, to }, func(e *export.Event) bool {
			return !e.RecordedAt.Before(from) && e.RecordedAt.Before(to)
		}},
		"after":   {func(c *export.Config) { c.After = after }, func(e *export.Event) bool { return uint64(e.Sequence) > after.At(int(e.Partition)) }},
		"through": {func(c *export.Config) { c.Through = after }, func(e *export.Event) bool { return uint64(e.Sequence) <= after.At(int(e.Partition)) }},
	} {
		c := l.config(t, export.FormatJSONL, export.TableEvents)
		test.change(&c)
		want := slices.DeleteFunc(slices.Clone(all), func(e export.Event) bool { return !test.takes(&e) })
		if got := rowsOf[export.Event](t, stream(t, c)); !gocmp.Equal(want, got) || len(got) == 0 || len(got) == len(all) {
			t.Errorf("%s: %d rows of %d, want %d", name, len(got), len(all), len(want))
		}
	}
	wantJudged(t, l, all)
	c := l.config(t, export.FormatJSONL, export.TableOrders)
	c.Filter.Statuses = []string{"refused"}
	for _, r := range rowsOf[export.Order](t, stream(t, c)) {
		if r.Status != "refused" {
			t.Errorf("order %s is %s", r.OrderID, r.Status)
		}
	}
}

// wantJudged shows that a verdict leaves the orders that have an event with it, of which
// events are all there are, and of those everything.
func wantJudged(t *testing.T, l *log, events []export.Event) {
	t.Helper()
	judged := map[string]bool{}
	for i := range events {
		judged[events[i].OrderID] = judged[events[i].OrderID] || events[i].Verdict == "noted" || events[i].Verdict == "late"
	}
	of := func(verdicts ...string) (orders []export.Order, intervals []export.Interval) {
		c := l.config(t, export.FormatJSONL, export.TableOrders)
		c.Filter.Verdicts = verdicts
		orders = rowsOf[export.Order](t, stream(t, c))
		c.Tables = []string{export.TableIntervals}
		return orders, rowsOf[export.Interval](t, stream(t, c))
	}
	allOrders, allIntervals := of()
	orders, intervals := of("noted", "late")
	wantOrders := slices.DeleteFunc(allOrders, func(r export.Order) bool { return !judged[r.OrderID] })
	wantIntervals := slices.DeleteFunc(allIntervals, func(r export.Interval) bool { return !judged[r.OrderID] })
	if diff := gocmp.Diff(wantOrders, orders); diff != "" || len(orders) == 0 || len(orders) == len(judged) {
		t.Errorf("orders by verdict, %d of %d (-want +got):\n%s", len(orders), len(judged), diff)
	}
	if diff := gocmp.Diff(wantIntervals, intervals); diff != "" {
		t.Errorf("intervals by verdict (-want +got):\n%s", diff)
	}
	c := l.config(t, export.FormatJSONL, export.TableOrders)
	c.Filter.Verdicts = []string{"noted", "late"}
	c.Through = domain.Position{}.With(0, 1).With(1, 1) // where each order's first event is
	if rows := rowsOf[export.Order](t, stream(t, c)); len(rows) > 0 {
		t.Errorf("%d orders have a verdict that came later", len(rows))
	}
}

// again is a log that has one event many times.
type again struct {
	event *domain.Recorded
	read  int
}

func (a *again) Scan(_ context.Context, _ int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	for at := after + 1; at <= upTo; at++ {
		a.read++
		if err := handle(a.event); err != nil {
			return err
		}
	}
	return nil
}

// full is a disk that is.
type full struct{}

var errFull = errors.New("no space left on the device")

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestAFullDiskEndsTheReading shows that an export whose rows cannot be written ends with
// why, and long before the log does.
func TestAFullDiskEndsTheReading(t *testing.T) {
	l := newLog(t)
	l.record(t, 0, domain.KindPending, nil)
	c := l.config(t, export.FormatJSONL, export.TableEvents)
	endless := new(again)
	for p := range c.Head.Partitions() {
		if err := l.Scan(t.Context(), p, 0, c.Head.At(p), func(r *domain.Recorded) error {
			one := *r
			endless.event = &one
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	const events = 100_000
	c.Log, c.Head = endless, domain.Position{}.With(0, events)
	for _, format := range []string{export.FormatCSV, export.FormatJSONL} {
		c.Format, endless.read = format, 0
		if _, err := export.Stream(t.Context(), full{}, t.TempDir(), c); !errors.Is(err, errFull) {
			t.Errorf("%s: %v", format, err)
		}
		if endless.read == 0 || endless.read == events {
			t.Errorf("%s: %d events of %d were read", format, endless.read, events)
		}
	}
}

// TestRefuses shows that nothing is overwritten, and that mistakes are named.
func TestRefuses(t *testing.T) {
	l := newLog(t)
	l.story(t)
	good := func() export.Config { return l.config(t, export.FormatJSONL, export.TableEvents) }
	dir := t.TempDir()
	if _, err := export.Directory(t.Context(), dir, good()); err != nil {
		t.Fatal(err)
	}
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		dir    string
		change func(*export.Config)
		want   domain.ErrorKind
	}{
		"another directory":  {full, func(*export.Config) {}, domain.Exists},
		"another log":        {dir, func(c *export.Config) { c.Identity = "log_other" }, domain.Refused},
		"another epoch":      {dir, func(c *export.Config) { c.Epoch = 7 }, domain.Refused},
		"another format":     {dir, func(c *export.Config) { c.Format = export.FormatCSV }, domain.Refused},
		"other tables":       {dir, func(c *export.Config) { c.Tables = []string{export.TableOrders} }, domain.Refused},
		"another filter":     {dir, func(c *export.Config) { c.Filter.Tenants = []string{"loja"} }, domain.Refused},
		"less":               {dir, func(c *export.Config) { c.Through = domain.Position{}.With(0, 1) }, domain.Refused},
		"no format":          {full, func(c *export.Config) { c.Format = "xls" }, domain.Invalid},
		"no table":           {full, func(c *export.Config) { c.Tables = nil }, domain.Invalid},
		"unknown table":      {full, func(c *export.Config) { c.Tables = []string{"people"} }, domain.Invalid},
		"unknown status":     {full, func(c *export.Config) { c.Filter.Statuses = []string{"teleported"} }, domain.Invalid},
		"unstored verdict":   {full, func(c *export.Config) { c.Filter.Verdicts = []string{"duplicate"} }, domain.Invalid},
		"beyond the end":     {full, func(c *export.Config) { c.Through = domain.Position{}.With(0, 99) }, domain.Invalid},
		"an end before noon": {full, func(c *export.Config) { c.Filter.From, c.Filter.To = noon, noon }, domain.Invalid},
	} {
		c := good()
		test.change(&c)
		before := filesOf(t, test.dir)
		if _, err := export.Directory(t.Context(), test.dir, c); domain.KindOf(err) != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
		if diff := gocmp.Diff(before, filesOf(t, test.dir)); diff != "" {
			t.Errorf("%s changed the directory: %s", name, diff)
		}
	}
	if _, err := export.ReadManifest(full); domain.KindOf(err) != domain.NotFound {
		t.Errorf("a directory without an export: %v", err)
	}
}

// TestFormulas shows that a spreadsheet takes no cell for a formula.
func TestFormulas(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "EX1": "EX1", "-12.5": "-12.5", "+5511999990000": "+5511999990000", "=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)",
		"-1+cmd|' /C calc'!A0": "'-1+cmd|' /C calc'!A0", "+A1": "'+A1", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1", "＝1+1": "'＝1+1",
	} {
		if got := export.Text(text); got != want {
			t.Errorf("%q is written %q, want %q", text, got, want)
		}
	}
	l := newLog(t)
	l.story(t)
	for _, table := range tables {
		rows, err := csv.NewReader(bytes.NewReader(stream(t, l.config(t, export.FormatCSV, table)))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != export.Text(cell) {
					t.Errorf("%s has a formula: %q", table, cell)
				}
			}
		}
	}
}
