package kv_test

import (
	"path/filepath"
	"strconv"
	"testing"

	"go.etcd.io/bbolt"

	"comanda.internal/projections/kv"
)

// Readers within readers, more than are kept, see what was there when each began, whatever
// is flushed meanwhile, and none is in the way of the end.
func TestReadersThatAreKeptSeeTheirOwnTime(t *testing.T) {
	// Mapped larger than it gets: else the flush would wait for the readers that wait for it.
	bolt, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, &bbolt.Options{NoSync: true, InitialMmapSize: 1 << 24})
	must(t, err)
	db := kv.New(bolt)
	put := func(value string) {
		must(t, db.Update(func(tx *kv.Tx) error { return tx.Bucket("a", "n").Put([]byte("k"), []byte(value)) }))
	}
	var within func(depth int)
	within = func(depth int) {
		must(t, db.View(func(tx *kv.Tx) error {
			want := strconv.Itoa(depth)
			wantHere(t, tx, want)
			if depth < 40 {
				put(strconv.Itoa(depth + 1))
				if depth%3 > 0 {
					must(t, db.Flush())
				}
				within(depth + 1)
			}
			wantHere(t, tx, want)
			return nil
		}))
	}
	for range 2 { // the second time with those that were kept
		put("0")
		must(t, db.Flush())
		within(0)
	}
	must(t, db.Close())
}

func wantHere(t *testing.T, tx *kv.Tx, want string) {
	t.Helper()
	if got := tx.Bucket("a", "n").Get([]byte("k")); string(got) != want {
		t.Errorf("k is %q, want %q", got, want)
	}
	if got := tx.Bucket("a").Get([]byte("n")); got != nil {
		t.Errorf("a bucket is read as the value %q", got)
	}
}

// As bbolt panics over a damaged page, and a reader goes on with the next order.
func TestAReaderThatPanicsIsNotUsedAgain(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "db"))
	must(t, db.Update(func(tx *kv.Tx) error { return tx.Bucket("a").Put([]byte("k"), []byte("1")) }))
	must(t, db.Flush())
	var panicked *kv.Tx
	func() {
		defer func() { _ = recover() }()
		_ = db.View(func(tx *kv.Tx) error {
			panicked = tx
			panic("a page is damaged")
		})
	}()
	for range 2 {
		must(t, db.View(func(tx *kv.Tx) error {
			if tx == panicked {
				t.Error("it is used again")
			}
			if got := tx.Bucket("a").Get([]byte("k")); string(got) != "1" {
				t.Errorf("k is %q", got)
			}
			return nil
		}))
	}
	must(t, db.Close())
}
