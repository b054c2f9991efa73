package kv_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"comanda.internal/projections/kv"
)

func TestInHalvesGoesThroughEachKeyOnce(t *testing.T) {
	db := open(t, t.TempDir()+"/db")
	defer func() { must(t, db.Close()) }()
	put := func(from, to int) {
		must(t, db.Update(func(tx *kv.Tx) error {
			for n := from; n < to; n++ {
				must(t, tx.Bucket("a").Put(fmt.Appendf(nil, "%04d", n), fmt.Append(nil, n)))
			}
			return nil
		}))
	}
	put(0, 3000)
	must(t, db.Flush())
	put(2000, 5000) // half of it in memory
	must(t, db.View(func(tx *kv.Tx) error {
		b := tx.Bucket("a")
		var want []string
		must(t, b.ForEach(func(k, v []byte) error {
			want = append(want, string(k)+"="+string(v))
			return nil
		}))
		for _, at := range []string{"", "0000", "2500", "25005", "4999", "9"} {
			var got [2][]string
			add := func(n int) func(k, v []byte) error {
				return func(k, v []byte) error {
					if (string(k) >= at) != (n == 1) {
						t.Errorf("at %q: %s in half %d", at, k, n)
					}
					got[n] = append(got[n], string(k)+"="+string(v))
					return nil
				}
			}
			must(t, b.InHalves([]byte(at), add(0), add(1)))
			if !slices.Equal(append(got[0], got[1]...), want) {
				t.Errorf("at %q: %d and %d of %d", at, len(got[0]), len(got[1]), len(want))
			}
		}
		return nil
	}))
}

func TestInHalvesEndsWithWhatEitherSays(t *testing.T) {
	db := open(t, t.TempDir()+"/db")
	defer func() { must(t, db.Close()) }()
	must(t, db.Update(func(tx *kv.Tx) error {
		must(t, tx.Bucket("a").Put([]byte("k"), nil))
		return tx.Bucket("a").Put([]byte("l"), nil)
	}))
	errFirst, errSecond := errors.New("first"), errors.New("second")
	fail := func(with error) func(k, v []byte) error { return func(_, _ []byte) error { return with } }
	must(t, db.View(func(tx *kv.Tx) error {
		err := tx.Bucket("a").InHalves([]byte("l"), fail(errFirst), fail(errSecond))
		if !errors.Is(err, errFirst) || !errors.Is(err, errSecond) {
			t.Errorf("error = %v", err)
		}
		for n, halves := range [][2]func(k, v []byte) error{
			{func(_, _ []byte) error { panic("of the test") }, fail(nil)}, {fail(nil), func(_, _ []byte) error { panic("of the test") }},
		} {
			func() {
				defer func() {
					if r := recover(); r != "of the test" {
						t.Errorf("half %d: panic %v did not come", n, r)
					}
				}()
				_ = tx.Bucket("a").InHalves([]byte("l"), halves[0], halves[1])
			}()
		}
		return nil
	}))
}
