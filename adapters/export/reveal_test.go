package export_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"comanda.internal/adapters/export"
	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
)

// keys is a vault that knows when it opened what, and of which orders it lost the keys.
type keys struct {
	*privacy.Vault

	erased   map[string]bool // provider order ids
	recorded []export.Scope
	opened   int
	early    bool // something was opened before it was recorded
	refuse   error
	look     func() // called when something is opened; nil: nobody looks
}

func (k *keys) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	k.opened++
	if k.look != nil {
		k.look()
	}
	k.early = k.early || len(k.recorded) == 0
	for id := range k.erased {
		if (domain.Identity{Tenant: "loja", Provider: "aprovei", Account: "principal", ProviderOrderID: id}).OrderID() == e.OrderID {
			return domain.Personal{}, domain.Errorf(domain.NotFound, "no key")
		}
	}
	return k.Vault.Reveal(ctx, e)
}

func (k *keys) reveal(reason string) *export.Reveal {
	return &export.Reveal{Vault: k, Reason: reason, Record: func(_ context.Context, what export.Scope) (export.Revealed, error) {
		if k.refuse != nil {
			return export.Revealed{}, k.refuse
		}
		k.recorded = append(k.recorded, what)
		return export.Revealed{Sequence: uint64(len(k.recorded)), AuditID: "aud_x", At: noon, Actor: "maria@host", Reason: what.Reason}, nil
	}}
}

func (l *log) revealing(t *testing.T, k *keys, format string, tables ...string) export.Config {
	t.Helper()
	c := l.config(t, format, tables...)
	c.Reveal = k.reveal("a court asks, no. 17")
	return c
}

func newKeys(erased ...string) *keys {
	k := &keys{Vault: privacy.Disabled(), erased: map[string]bool{}}
	for _, id := range erased {
		k.erased[id] = true
	}
	return k
}

// people writes four events of three orders; the first order's customer is known bit by
// bit, the last one's never.
func (l *log) people(t *testing.T) {
	t.Helper()
	late := l.now.Add(time.Minute)
	l.record(t, 0, domain.KindPending, func(f *domain.Fact) {
		f.OccurredAt = late // told first, and yet later than the next
		f.Personal = &domain.Personal{Name: "Maria Souza", Phone: "=+5511"}
	})
	l.record(t, 0, domain.KindApproved, func(f *domain.Fact) {
		f.Personal = &domain.Personal{
			Name: "Maria", Email: "maria@example.com", Document: "39053344705", DocumentValid: true, PixCode: "000201",
			Address: &domain.Address{City: "Belém", State: "PA"},
		}
	})
	l.record(t, 2, domain.KindPending, nil)
	l.record(t, 4, domain.KindPending, func(f *domain.Fact) { f.Personal = nil })
}

func TestRevealedRows(t *testing.T) {
	l := newLog(t)
	l.people(t)
	k := newKeys("token2")
	events := rowsOf[export.Personal](t, stream(t, l.revealing(t, k, export.FormatJSONL, export.TablePersonal)))
	byOrder := map[bool][]export.Personal{}
	for _, e := range events {
		byOrder[e.Erased] = append(byOrder[e.Erased], e)
	}
	if len(byOrder[false]) != 2 || len(byOrder[true]) != 1 {
		t.Fatalf("the rows are %+v", events)
	}
	gone := byOrder[true][0]
	gone.Partition, gone.Sequence, gone.RecordedAt, gone.EventID, gone.OrderID, gone.Tenant = 0, 0, time.Time{}, "", "", ""
	if diff := gocmp.Diff(export.Personal{Erased: true}, gone); diff != "" {
		t.Errorf("of an erased person (-want +got):\n%s", diff)
	}
	second := byOrder[false][1]
	if *second.Email != "maria@example.com" || *second.PixCode != "000201" || !*second.DocumentValid || second.Phone != nil || *second.City != "Belém" {
		t.Errorf("the second event is %+v", second)
	}

	orders := rowsOf[export.Customer](t, stream(t, l.revealing(t, k, export.FormatJSONL, export.TableCustomers)))
	if len(orders) != 2 {
		t.Fatalf("the customers are %+v", orders)
	}
	for _, o := range orders {
		want := export.Customer{OrderID: o.OrderID, FirstRecordedAt: o.FirstRecordedAt, Tenant: "loja", Erased: true}
		if !o.Erased {
			want = export.Customer{
				OrderID: o.OrderID, FirstRecordedAt: o.FirstRecordedAt, Tenant: "loja",
				Name: new("Maria Souza"), Phone: new("=+5511"), Email: new("maria@example.com"), Document: new("39053344705"),
				DocumentValid: new(true), City: new("Belém"), State: new("PA"),
			}
		}
		if diff := gocmp.Diff(want, o); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	csv := string(stream(t, l.revealing(t, k, export.FormatCSV, export.TableCustomers)))
	if !strings.Contains(csv, "loja,false,Maria Souza,maria@example.com,'=+5511,39053344705,true,,,,,Belém,PA,,\n") ||
		!strings.Contains(csv, "loja,true,,,,,,,,,,,,,\n") {
		t.Errorf("as CSV: %s", csv)
	}
	if k.early || len(k.recorded) != 3 {
		t.Errorf("opened before it was recorded: %v; recorded %d times", k.early, len(k.recorded))
	}
}

func TestARevealedExportSaysSo(t *testing.T) {
	l := newLog(t)
	l.people(t)
	dir, k := t.TempDir(), newKeys()
	all := []string{export.TableEvents, export.TableOrders, export.TableIntervals, export.TablePersonal, export.TableCustomers}
	again := func() *export.Manifest {
		t.Helper()
		m, err := export.Directory(t.Context(), dir, l.revealing(t, k, export.FormatParquet, all...))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	again()
	m := again() // there is nothing to do, and nothing is opened
	want := export.Revealed{Sequence: 1, AuditID: "aud_x", At: noon, Actor: "maria@host", Reason: "a court asks, no. 17"}
	if diff := gocmp.Diff([]export.Revealed{want}, m.Revealed); diff != "" || len(k.recorded) != 1 || k.early {
		t.Errorf("recorded %d times, early %v (-want +got):\n%s", len(k.recorded), k.early, diff)
	}
	if what := k.recorded[0]; what.Events != 8 || !what.Through.Equal(m.Through) || what.Format != export.FormatParquet {
		t.Errorf("recorded is %+v", what)
	}
	l.record(t, 6, domain.KindPending, nil)
	m = again()
	if stored, err := export.ReadManifest(dir); err != nil || len(m.Revealed) != 2 || len(stored.Revealed) != 2 {
		t.Errorf("after it went on the manifest has %v, %v", m.Revealed, err)
	}
	problems := 0
	if _, err := export.Check(dir, func(string) { problems++ }); err != nil || problems > 0 {
		t.Errorf("check: %d problems, %v", problems, err)
	}
	for i := range m.Files {
		f := &m.Files[i]
		path := filepath.Join(dir, filepath.FromSlash(f.Path))
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		private := f.Table == export.TablePersonal || f.Table == export.TableCustomers
		if private != (info.Mode().Perm() == 0o600) || !private && bytes.Contains(content, []byte("Maria")) {
			t.Errorf("%s: mode %o", f.Path, info.Mode())
		}
		if f.Table != export.TableCustomers {
			continue
		}
		rows, err := parquet.ReadFile[export.Customer](path)
		if err != nil || len(rows) == 0 || rows[0].Name == nil {
			t.Errorf("%s: %+v, %v", f.Path, rows, err)
		}
	}
	if _, err := export.Directory(t.Context(), dir, l.config(t, export.FormatParquet, all[:3]...)); domain.KindOf(err) != domain.Refused {
		t.Errorf("without what it reveals: %v", err)
	}
}

// copied is what a kill would leave of dir: the names and bytes that are there now.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// What was opened lies below its table even while it is written, so that it goes with the
// table; it is found, and the next run removes it, also one that may not go on.
func TestAKilledExportHidesNothing(t *testing.T) {
	l := newLog(t)
	l.people(t)
	dir, k := t.TempDir(), newKeys()
	all := []string{export.TableEvents, export.TableOrders, export.TablePersonal, export.TableCustomers}
	c := l.revealing(t, k, export.FormatJSONL, all...)
	var left []string
	k.look = func() { left = append(left, copied(t, dir)) }
	if _, err := export.Directory(t.Context(), dir, c); err != nil {
		t.Fatal(err)
	}
	k.look = nil
	whole := filesOf(t, dir)
	found := 0
	for i, killed := range left {
		for path := range filesOf(t, killed) {
			partial := strings.HasPrefix(path, "/personal/.partial/") || strings.HasPrefix(path, "/customers/.partial/")
			if strings.Contains(path, "personal") && !strings.HasPrefix(path, "/personal/") {
				t.Errorf("%s is not below its table", path)
			}
			if !partial {
				continue
			}
			found++
			if !slices.Contains(problemsOf(t, killed), path[1:]+": not listed") {
				t.Errorf("%s is not found", path)
			}
		}
		other := l.config(t, export.FormatCSV, export.TableEvents)
		if _, err := export.Directory(t.Context(), killed, other); domain.KindOf(err) != domain.Refused {
			t.Errorf("another export: %v", err)
		}
		for path := range filesOf(t, killed) {
			if strings.Contains(path, ".partial") {
				t.Errorf("%s is still there", path)
			}
		}
		if i%2 == 0 {
			continue
		}
		if _, err := export.Directory(t.Context(), killed, c); err != nil {
			t.Fatal(err)
		}
		again := filesOf(t, killed)
		delete(again, "/"+export.ManifestFile) // it names one record more
		for path, text := range again {
			if whole[path] != text {
				t.Errorf("%s differs", path)
			}
		}
		if len(again) != len(whole)-1 {
			t.Errorf("%d files of %d", len(again), len(whole)-1)
		}
	}
	if found == 0 {
		t.Error("no file was seen while it was written")
	}
}

func problemsOf(t *testing.T, dir string) (problems []string) {
	t.Helper()
	if _, err := export.Check(dir, func(problem string) { problems = append(problems, problem) }); err != nil {
		t.Fatal(err)
	}
	return problems
}

func TestAnotherReasonIsRecorded(t *testing.T) {
	l := newLog(t)
	l.people(t)
	dir, k := t.TempDir(), newKeys()
	c := l.revealing(t, k, export.FormatJSONL, export.TablePersonal)
	run := func(reason string) (*export.Manifest, error) {
		c.Reveal = k.reveal(reason)
		return export.Directory(t.Context(), dir, c)
	}
	for _, reason := range []string{"a court asks", "a court asks", "a complaint", "a court asks", "a complaint"} {
		if _, err := run(reason); err != nil {
			t.Fatal(err)
		}
	}
	opened := k.opened
	k.refuse = domain.Errorf(domain.Unavailable, "the disk is full")
	if _, err := run("for fun"); !errors.Is(err, k.refuse) {
		t.Errorf("a reason that cannot be recorded: %v", err)
	}
	m, err := export.ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for i, r := range m.Revealed {
		reasons = append(reasons, r.Reason+" "+strconv.FormatUint(k.recorded[i].Events, 10))
	}
	if diff := gocmp.Diff([]string{"a court asks 4", "a complaint 0"}, reasons); diff != "" || !m.Complete || len(k.recorded) != 2 {
		t.Errorf("complete %v, recorded %d (-want +got):\n%s", m.Complete, len(k.recorded), diff)
	}
	if opened != 3 || k.opened != opened {
		t.Errorf("opened %d events, and then %d", opened, k.opened)
	}
}

func TestNothingIsRevealedUnrecorded(t *testing.T) {
	l := newLog(t)
	l.people(t)
	k := newKeys()
	k.refuse = domain.Errorf(domain.Unavailable, "the disk is full")
	dir := t.TempDir()
	c := l.revealing(t, k, export.FormatJSONL, export.TablePersonal, export.TableCustomers)
	if _, err := export.Directory(t.Context(), dir, c); !errors.Is(err, k.refuse) || domain.KindOf(err) != domain.Unavailable {
		t.Errorf("into a directory: %v", err)
	}
	c.Tables = c.Tables[:1]
	var out bytes.Buffer
	if _, err := export.Stream(t.Context(), &out, t.TempDir(), c); !errors.Is(err, k.refuse) {
		t.Errorf("as a stream: %v", err)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "*", "*", "*")); len(found) > 0 || err != nil || k.opened > 0 || out.Len() > 0 {
		t.Errorf("%d were opened, there are %v", k.opened, found)
	}
	k.refuse = nil
	for name, change := range map[string]func(*export.Config){
		"no reason":      func(c *export.Config) { c.Reveal.Reason = " " },
		"no vault":       func(c *export.Config) { c.Reveal = nil },
		"nothing wanted": func(c *export.Config) { c.Tables = []string{export.TableEvents} },
	} {
		c := l.revealing(t, k, export.FormatJSONL, export.TablePersonal)
		change(&c)
		if _, err := export.Directory(t.Context(), t.TempDir(), c); domain.KindOf(err) != domain.Invalid || len(k.recorded) > 0 {
			t.Errorf("%s: %v, recorded %d", name, err, len(k.recorded))
		}
	}
}

// held is a log that waits when it is first read.
type held struct {
	export.Log

	first            sync.Once
	reached, release chan struct{}
}

func (h *held) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	h.first.Do(func() {
		h.reached <- struct{}{}
		<-h.release
	})
	return h.Log.Scan(ctx, partition, after, upTo, handle)
}

func TestOneExportAtATime(t *testing.T) {
	l := newLog(t)
	l.people(t)
	dir := t.TempDir()
	first := l.config(t, export.FormatJSONL, export.TableEvents)
	h := &held{Log: first.Log, reached: make(chan struct{}), release: make(chan struct{})}
	first.Log = h
	ended := make(chan error, 1)
	go func() {
		_, err := export.Directory(t.Context(), dir, first)
		ended <- err
	}()
	<-h.reached
	_, err := export.Directory(t.Context(), dir, l.config(t, export.FormatJSONL, export.TableEvents))
	if domain.KindOf(err) != domain.Unavailable || !strings.Contains(err.Error(), "another export is writing to "+dir) {
		t.Errorf("the second: %v", err)
	}
	close(h.release)
	if err := <-ended; err != nil {
		t.Errorf("the first: %v", err)
	}
	m, err := export.Directory(t.Context(), dir, l.config(t, export.FormatJSONL, export.TableEvents))
	if err != nil || m.Rows(export.TableEvents) != 4 {
		t.Errorf("afterwards: %+v, %v", m, err)
	}
}
