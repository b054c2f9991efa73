package projections_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/projectiontest"
)

// A file that was cut, or lost pages, says what to do about it; what bbolt does
// with such files is to panic, or to read behind their end.
func TestADamagedFileIsCorrupt(t *testing.T) {
	path := viewsPath(t)
	build(t, path, filled(t))
	whole, err := os.ReadFile(path)
	must(t, err)
	page := os.Getpagesize()
	for name, damaged := range map[string][]byte{
		"less than its head":           whole[:page+page/4],
		"only its first pages":         whole[:3*page],
		"its head overwritten":         append(make([]byte, 2*page), whole[2*page:]...),
		"all but its head overwritten": append(whole[:2*page:2*page], make([]byte, len(whole)-2*page)...),
		"no file of views":             []byte(strings.Repeat("?", len(whole))),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "views.db")
			must(t, os.WriteFile(path, damaged, 0o600))
			_, err := projections.Open(path)
			if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "delete the file") {
				t.Errorf("error = %v, want one of kind corrupt that says what to do", err)
			}
		})
	}
	if _, err := projections.Open(t.TempDir()); err == nil || domain.KindOf(err) == domain.Corrupt {
		t.Errorf("a directory: error = %v, want one that does not advise to delete it", err)
	}
}

// flip changes one bit in the head of every page of the views at path that holds orders,
// and none of those that say of what the file is: bbolt then takes it for no page.
func flip(t *testing.T, path string) {
	t.Helper()
	whole, err := os.ReadFile(path)
	must(t, err)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	const flags, leaf = 8, 2
	flipped := 0
	for at := 2 * os.Getpagesize(); at < len(whole); at += os.Getpagesize() {
		page := whole[at : at+os.Getpagesize()]
		if page[flags] != leaf || !bytes.Contains(page, []byte("ord_")) || bytes.Contains(page, []byte("version/")) {
			continue
		}
		_, err := file.WriteAt([]byte{0}, int64(at+flags))
		must(t, err)
		flipped++
	}
	must(t, file.Close())
	if flipped == 0 {
		t.Fatal("there is no page of orders: the test is of no use")
	}
}

func readAll(f *projections.File) error {
	return f.View(func(tx *kv.Tx) error {
		for _, name := range []string{"events", "of"} {
			if err := tx.Bucket("timeline", name).ForEach(func(_, _ []byte) error { return nil }); err != nil {
				return err
			}
		}
		return tx.Bucket("orders", "rows").ForEach(func(_, _ []byte) error { return nil })
	})
}

// Pages that are damaged below a running server end what reads them and nothing else: the
// views are built anew, by themselves, whether a reader or an event came upon it.
func TestDamageIsBuiltAnew(t *testing.T) {
	for name, find := range map[string]func(*projectiontest.Follower, *projectiontest.Script){
		"a reader": func(f *projectiontest.Follower, _ *projectiontest.Script) {
			err := readAll(f.File)
			if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "views rebuild") {
				t.Errorf("read: %v, want an error of kind corrupt that says what to do", err)
			}
		},
		"an event": func(_ *projectiontest.Follower, s *projectiontest.Script) { s.Fill(t, 9, 10, 50) },
	} {
		t.Run(name, func(t *testing.T) {
			s, path := filled(t), viewsPath(t)
			before := build(t, path, s)
			f := projectiontest.Start(t, path, s, views, projections.Config{CacheFacts: 1})
			<-f.Runner.Ready()
			flip(t, path)
			find(f, s)
			for status, err := f.Runner.Status(t.Context()); status.Build == nil; status, err = f.Runner.Status(t.Context()) {
				must(t, err)
			}
			ended(t, f.Runner, 1, projections.Promoted)
			f.Wait()
			if want := fresh(t, s, views); !bytes.Equal(f.Dump(), want) || name == "an event" && bytes.Equal(want, before) {
				t.Error("the views hold other bytes than those of the whole log")
			}
			if at, why := f.Runner.Outdated(); why != "" {
				t.Errorf("they still stand still at %v: %s", at, why)
			}
			exists(t, path+".previous", false)
			must(t, readAll(f.File))
		})
	}
}

// A file of which nothing is left to write to, while memory holds more than it, is replaced
// like any other: bbolt keeps its lock over such a file for ever.
func TestDamageOfEveryPage(t *testing.T) {
	for name, harm := range map[string]func(file *os.File, size int64) error{
		"cut off": func(file *os.File, _ int64) error { return file.Truncate(int64(3 * os.Getpagesize())) },
		"wiped": func(file *os.File, size int64) error {
			_, err := file.WriteAt(make([]byte, size-int64(2*os.Getpagesize())), int64(2*os.Getpagesize()))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, path := filled(t), viewsPath(t)
			build(t, path, s)
			f := projectiontest.Start(t, path, s, views, projections.Config{CacheFacts: 1, FlushInterval: time.Hour})
			<-f.Runner.Ready()
			s.Fill(t, 9, 10, 50)
			f.Wait()
			file, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			info, err := file.Stat()
			must(t, err)
			must(t, harm(file, info.Size()))
			must(t, file.Close())
			if err := readAll(f.File); domain.KindOf(err) != domain.Corrupt {
				t.Fatalf("read: %v, want an error of kind corrupt", err)
			}
			for { // the status is of the damaged file, too
				if status, err := f.Runner.Status(t.Context()); err == nil && status.Build != nil {
					break
				}
			}
			ended(t, f.Runner, 1, projections.Promoted)
			f.Wait()
			if !bytes.Equal(f.Dump(), fresh(t, s, views)) {
				t.Error("the views hold other bytes than those of the whole log")
			}
		})
	}
}

// A build that waits for an operator takes the place of views that cannot go on.
func TestDamageWhileABuildIsHeld(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	build(t, path, s)
	f := projectiontest.Start(t, path, s, views, projections.Config{CacheFacts: 1})
	<-f.Runner.Ready()
	number, err := f.Runner.Rebuild(true)
	must(t, err)
	_, err = f.Runner.AwaitBuild(t.Context(), number)
	must(t, err)
	flip(t, path)
	if err := readAll(f.File); domain.KindOf(err) != domain.Corrupt {
		t.Fatalf("read: %v, want an error of kind corrupt", err)
	}
	for b, err := f.Runner.AwaitBuild(t.Context(), number); b.Outcome != projections.Promoted; b, err = f.Runner.AwaitBuild(t.Context(), number) {
		must(t, err)
	}
}

// Who only looks does not mend.
func TestDamageEndsWhoOnlyLooks(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	build(t, path, s)
	flip(t, path)
	s.Fill(t, 9, 10, 50)
	d := deps(s)
	d.OnlyLook = true
	r, err := newRunner(t, path, d)
	must(t, err)
	if err := r.Run(t.Context()); domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "delete the file") {
		t.Errorf("run: %v, want an error of kind corrupt that says what to do", err)
	}
	exists(t, path+".next", false)
}
