package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"comanda.internal/projections/kv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fataler is a testing.TB or a rapid.T.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

func open(tb fataler, path string) *kv.DB {
	tb.Helper()
	bolt, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	must(tb, err)
	return kv.New(bolt)
}

func must(tb fataler, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// paths are nested in each other and begin alike, as keys of one might be taken
// for another's.
var paths = [][]string{{"a"}, {"a", "n"}, {"a", "nn"}, {"an"}}

// model is what a DB should hold, by path and key.
type model map[string]map[string]string

func (m model) of(path []string) map[string]string {
	name := fmt.Sprint(path)
	if m[name] == nil {
		m[name] = map[string]string{}
	}
	return m[name]
}

func (m model) clone() model {
	out := model{}
	for path, keys := range m {
		out[path] = maps.Clone(keys)
	}
	return out
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// keys are few, so that they meet, and hold the bytes that separate buckets in memory.
var keyGen = rapid.StringMatching(`[\x00\x01/ab\x7f]{1,3}`)

func TestADBIsASortedMapWhateverIsInTheFile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { check(t) })
}

func check(t *rapid.T) {
	dir, err := makeTemp()
	must(t, err)
	defer dir.remove()
	db := open(t, dir.path)
	defer func() { must(t, db.Close()) }()
	now, durable := model{}, model{}
	t.Repeat(map[string]func(*rapid.T){
		"update": func(t *rapid.T) {
			next := now.clone()
			fails := rapid.IntRange(0, 4).Draw(t, "fails") == 0
			planned := errors.New("planned")
			err := db.Update(func(tx *kv.Tx) error {
				for range rapid.IntRange(1, 8).Draw(t, "changes") {
					change(t, tx, next)
				}
				compare(t, tx, next)
				if fails {
					return planned
				}
				return nil
			})
			if fails != errors.Is(err, planned) {
				t.Fatalf("update: %v", err)
			}
			if !fails {
				now = next
			}
		},
		"flush": func(t *rapid.T) {
			must(t, db.Flush())
			if n := db.Unflushed(); n != 0 {
				t.Fatalf("%d bytes are still only in memory", n)
			}
			durable = now.clone()
		},
		"kill": func(t *rapid.T) {
			must(t, db.Discard())
			db = open(t, dir.path)
			now = durable.clone()
		},
		"walk": func(t *rapid.T) {
			must(t, db.View(func(tx *kv.Tx) error {
				walk(t, tx, now)
				return nil
			}))
		},
		"": func(t *rapid.T) {
			must(t, db.View(func(tx *kv.Tx) error {
				compare(t, tx, now)
				return nil
			}))
		},
	})
}

func change(t *rapid.T, tx *kv.Tx, m model) {
	path := rapid.SampledFrom(paths).Draw(t, "path")
	key := keyGen.Draw(t, "key")
	if rapid.Bool().Draw(t, "delete") {
		must(t, tx.Bucket(path...).Delete([]byte(key)))
		delete(m.of(path), key)
		return
	}
	value := rapid.StringN(0, 3, -1).Draw(t, "value")
	must(t, tx.Bucket(path...).Put([]byte(key), []byte(value)))
	m.of(path)[key] = value
}

// compare reads every bucket whole, and every key.
func compare(t *rapid.T, tx *kv.Tx, m model) {
	for _, path := range paths {
		want := m.of(path)
		got := map[string]string{}
		var order []string
		must(t, tx.Bucket(path...).ForEach(func(k, v []byte) error {
			got[string(k)] = string(v)
			order = append(order, string(k))
			return nil
		}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("bucket %v (-want +got):\n%s", path, diff)
		}
		if !slices.IsSorted(order) {
			t.Fatalf("bucket %v is walked as %q", path, order)
		}
		for _, key := range []string{"a", "b", "\x00", "a\x7f"} {
			value, ok := want[key]
			stored := tx.Bucket(path...).Get([]byte(key))
			if ok != (stored != nil) || string(stored) != value {
				t.Fatalf("bucket %v: get %q = %q, want %q, %v", path, key, stored, value, ok)
			}
		}
	}
}

// walk moves a cursor at random and compares where it stands.
func walk(t *rapid.T, tx *kv.Tx, m model) {
	path := rapid.SampledFrom(paths).Draw(t, "path")
	keys := sortedKeys(m.of(path))
	c := tx.Bucket(path...).Cursor()
	at := -1 // nowhere
	for range 12 {
		var key []byte
		move := rapid.SampledFrom([]string{"first", "last", "next", "next", "prev", "prev", "seek"}).Draw(t, "move")
		switch move {
		case "first":
			key, _ = c.First()
			at = 0
		case "last":
			key, _ = c.Last()
			at = len(keys) - 1
		case "next":
			key, _ = c.Next()
			if at >= 0 {
				at++
			}
		case "prev":
			key, _ = c.Prev()
			if at >= 0 {
				at--
			}
		case "seek":
			to := keyGen.Draw(t, "to")
			key, _ = c.Seek([]byte(to))
			at, _ = slices.BinarySearch(keys, to)
		}
		if at < 0 || at >= len(keys) {
			at = -1
		}
		if at < 0 != (key == nil) || at >= 0 && string(key) != keys[at] {
			t.Fatalf("bucket %v: %s goes to %q; at %d of %q", path, move, key, at, keys)
		}
	}
}

func TestAFlushThatFailsChangesNothingAndIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	must(t, db.Update(func(tx *kv.Tx) error { return tx.Bucket("a").Put([]byte("good"), []byte("1")) }))
	tooLong := bytes.Repeat([]byte("k"), bbolt.MaxKeySize+1)
	must(t, db.Update(func(tx *kv.Tx) error { return tx.Bucket("a").Put(tooLong, nil) }))
	for range 2 {
		if err := db.Flush(); err == nil {
			t.Fatal("bbolt took a key that is too long: the test is of no use")
		}
		must(t, db.View(func(tx *kv.Tx) error {
			if got := tx.Bucket("a").Get([]byte("good")); string(got) != "1" {
				t.Errorf("good = %q", got)
			}
			return nil
		}))
	}
	if db.Unflushed() == 0 {
		t.Error("nothing is left to flush")
	}
	must(t, db.Discard())
}

func TestOnlyAnUpdateWrites(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	defer func() { must(t, db.Close()) }()
	must(t, db.View(func(tx *kv.Tx) error {
		if err := tx.Bucket("a").Put([]byte("k"), nil); !errors.Is(err, kv.ErrReadOnly) {
			t.Errorf("put: %v", err)
		}
		if err := tx.Bucket("a").Delete([]byte("k")); !errors.Is(err, kv.ErrReadOnly) {
			t.Errorf("delete: %v", err)
		}
		return nil
	}))
	if err := db.Update(func(tx *kv.Tx) error { return tx.Bucket("a").Put(nil, nil) }); err == nil {
		t.Error("an empty key was taken")
	}
}

// Two keys are always written together, one in each of two buckets, while a
// third goroutine flushes: no reader sees one without the other, nor time go back.
func TestReadersSeeWholeUpdatesWhileAFlushRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "db")
	db := open(t, path)
	const updates = 2000
	done := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				must(t, db.Flush())
			}
		}
	})
	for range 2 {
		others.Go(func() {
			last := ""
			for {
				select {
				case <-done:
					return
				default:
				}
				must(t, db.View(func(tx *kv.Tx) error {
					one, _ := tx.Bucket("a").Cursor().Last()
					two := tx.Bucket("b", "c").Get([]byte("newest"))
					if !bytes.Equal(one, two) {
						t.Errorf("one bucket is at %q, the other at %q", one, two)
					}
					if string(one) < last {
						t.Errorf("%q comes after %q", one, last)
					}
					last = string(one)
					return nil
				}))
			}
		})
	}
	for n := range updates {
		must(t, db.Update(func(tx *kv.Tx) error {
			key := fmt.Appendf(nil, "%08d", n)
			if n > 0 {
				if err := tx.Bucket("a").Delete(fmt.Appendf(nil, "%08d", n-1)); err != nil {
					return err
				}
			}
			if err := tx.Bucket("a").Put(key, nil); err != nil {
				return err
			}
			return tx.Bucket("b", "c").Put([]byte("newest"), key)
		}))
	}
	close(done)
	others.Wait()
	must(t, db.Close())
	db = open(t, path)
	defer func() { must(t, db.Close()) }()
	must(t, db.View(func(tx *kv.Tx) error {
		n := 0
		must(t, tx.Bucket("a").ForEach(func(_, _ []byte) error { n++; return nil }))
		if n != 1 {
			t.Errorf("the file holds %d keys, want the last", n)
		}
		return nil
	}))
}
