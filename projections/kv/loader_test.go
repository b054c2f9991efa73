package kv_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"comanda.internal/projections/kv"
)

// contents are keys and values by the path of their bucket.
type contents map[string]map[string]string

// read adds what b holds.
func (c contents) read(path string, b *bbolt.Bucket) error {
	return b.ForEach(func(key, value []byte) error {
		if value == nil {
			return c.read(path+"/"+string(key), b.Bucket(key))
		}
		if c[path] == nil {
			c[path] = map[string]string{}
		}
		c[path][string(key)] = string(value)
		return nil
	})
}

// readFile is what the file at path holds, which bbolt must find whole.
func readFile(t *testing.T, db *bbolt.DB) contents {
	t.Helper()
	all := contents{}
	err := db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("bbolt finds: %v", err)
		}
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error { return all.read(string(name), b) })
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// load writes all into a new file and opens it.
func load(t *testing.T, all contents, other *bbolt.DB) *bbolt.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "loaded.db")
	l, err := kv.NewLoader(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, entries := range all {
		b := l.Bucket(name)
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			if err := b.Put([]byte(key), []byte(entries[key])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Finish(other); err != nil {
		t.Fatal(err)
	}
	db, err := kv.OpenBolt(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// someEntries are n, of sizes around the limits of pages.
func someEntries(rng *rand.Rand, n int) map[string]string {
	entries := map[string]string{}
	for i := range n {
		key := fmt.Sprintf("%08d", i*7)
		switch rng.IntN(60) {
		case 0:
			entries[key] = string(bytes.Repeat([]byte{byte(i)}, rng.IntN(20_000)))
		case 1:
			entries[key+string(bytes.Repeat([]byte{'k'}, rng.IntN(3000)))] = ""
		case 2:
			entries[key+string(bytes.Repeat([]byte{'k'}, rng.IntN(9000)))] = "x"
		default:
			entries[key] = string(bytes.Repeat([]byte{byte(i)}, rng.IntN(300)))
		}
	}
	return entries
}

// TestLoaderMakesWhatBboltReads holds files of many sizes to bbolt's own check, before
// and after bbolt changed and emptied them.
func TestLoaderMakesWhatBboltReads(t *testing.T) {
	for seed, n := range []int{0, 1, 2, 5, 30, 200, 1000, 6000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			want := contents{}
			if n > 0 {
				want = contents{"a": someEntries(rng, n), "b/c": someEntries(rng, n), "b/d": someEntries(rng, 1), "e/f/g": someEntries(rng, n/2+1)}
			}
			db := load(t, want, nil)
			if !maps.EqualFunc(want, readFile(t, db), maps.Equal) {
				t.Error("the file holds something else")
			}
			changeSome(t, db, rng, want)
			if !maps.EqualFunc(want, readFile(t, db), maps.Equal) {
				t.Error("after changes it holds something else")
			}
			emptyAll(t, db, want)
			if left := readFile(t, db); len(left) > 0 {
				t.Errorf("%d buckets are left", len(left))
			}
		})
	}
}

func inBucket(tx *bbolt.Tx, path string) *bbolt.Bucket {
	parts := bytes.Split([]byte(path), []byte("/"))
	b := tx.Bucket(parts[0])
	for _, name := range parts[1:] {
		b = b.Bucket(name)
	}
	return b
}

// changeSome deletes a third of all, and adds as many behind and between.
func changeSome(t *testing.T, db *bbolt.DB, rng *rand.Rand, all contents) {
	t.Helper()
	err := db.Update(func(tx *bbolt.Tx) error {
		for path, entries := range all {
			b := inBucket(tx, path)
			for _, key := range slices.Sorted(maps.Keys(entries)) {
				switch rng.IntN(3) {
				case 0:
					delete(entries, key)
					if err := b.Delete([]byte(key)); err != nil {
						return err
					}
				case 1:
					entries[key+"+"] = "new"
					if err := b.Put([]byte(key+"+"), []byte("new")); err != nil {
						return err
					}
				}
			}
			if len(entries) == 0 {
				delete(all, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func emptyAll(t *testing.T, db *bbolt.DB, all contents) {
	t.Helper()
	err := db.Update(func(tx *bbolt.Tx) error {
		for path, entries := range all {
			for key := range entries {
				if err := inBucket(tx, path).Delete([]byte(key)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLoaderCopies has beside what is loaded all that another file holds, buckets among keys too.
func TestLoaderCopies(t *testing.T) {
	other, err := kv.OpenBolt(filepath.Join(t.TempDir(), "other.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}()
	rng := rand.New(rand.NewPCG(1, 2))
	want := contents{"copied": someEntries(rng, 3000), "copied/0003": someEntries(rng, 2000), "copied/0003/deep": someEntries(rng, 2)}
	err = other.Update(func(tx *bbolt.Tx) error {
		for _, path := range slices.Sorted(maps.Keys(want)) {
			b, err := bucketAt(tx, path)
			if err != nil {
				return err
			}
			for key, value := range want[path] {
				if err := b.Put([]byte(key), []byte(value)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	loaded := contents{"a": someEntries(rng, 100), "z/y": someEntries(rng, 100)}
	db := load(t, loaded, other)
	maps.Copy(want, loaded)
	if !maps.EqualFunc(want, readFile(t, db), maps.Equal) {
		t.Error("the file holds something else")
	}
}

func bucketAt(tx *bbolt.Tx, path string) (*bbolt.Bucket, error) {
	parts := bytes.Split([]byte(path), []byte("/"))
	b, err := tx.CreateBucketIfNotExists(parts[0])
	for _, name := range parts[1:] {
		if err != nil {
			return nil, err
		}
		b, err = b.CreateBucketIfNotExists(name)
	}
	return b, err
}

func TestLoaderRefusesWhatIsOutOfOrder(t *testing.T) {
	l, err := kv.NewLoader(filepath.Join(t.TempDir(), "loaded.db"))
	if err != nil {
		t.Fatal(err)
	}
	b := l.Bucket("a").Bucket("b")
	for _, put := range []struct {
		key  string
		want error
	}{{"b", nil}, {"c", nil}, {"c", kv.ErrOrder}, {"a", kv.ErrOrder}, {"d", nil}} {
		if err := b.Put([]byte(put.key), nil); !errors.Is(err, put.want) {
			t.Errorf("put %s: %v, want %v", put.key, err, put.want)
		}
	}
	if err := b.Delete([]byte("d")); !errors.Is(err, kv.ErrReadOnly) {
		t.Errorf("delete: %v", err)
	}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
}
