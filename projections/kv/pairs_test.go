package kv_test

import (
	"testing"

	"comanda.internal/projections/kv"
)

func pairs(of ...string) (s kv.Sum) {
	for i := 0; i < len(of); i += 2 {
		s.AddPair([]byte(of[i]), []byte(of[i+1]))
	}
	return s
}

func TestASumOfPairsKnowsWhoseAValueIs(t *testing.T) {
	of := pairs("a", "1", "b", "2", "c", "")
	if of != pairs("c", "", "b", "2", "a", "1") {
		t.Error("the order counts")
	}
	for name, other := range map[string]kv.Sum{
		"values exchanged": pairs("a", "2", "b", "1", "c", ""), "key and value exchanged": pairs("1", "a", "b", "2", "c", ""),
		"moved from value to key": pairs("a", "1", "b2", "", "c", ""), "another value": pairs("a", "1", "b", "3", "c", ""),
		"one less": pairs("a", "1", "b", "2"), "one more": pairs("a", "1", "b", "2", "c", "", "d", ""),
		"twice the same": pairs("a", "1", "a", "1", "c", ""),
	} {
		if other == of {
			t.Errorf("%s: the same sum", name)
		}
	}
}

func TestASumOfPairsIsOfABucket(t *testing.T) {
	db := open(t, t.TempDir()+"/db")
	defer func() { must(t, db.Close()) }()
	must(t, db.Update(func(tx *kv.Tx) error {
		must(t, tx.Bucket("a").Put([]byte("k"), []byte("v")))
		return tx.Bucket("a").Put([]byte("l"), nil)
	}))
	must(t, db.View(func(tx *kv.Tx) error {
		for of, want := range map[kv.Sum]bool{pairs("k", "v", "l", ""): true, pairs("k", "v"): false, pairs("k", "w", "l", ""): false} {
			if same, err := of.IsOfPairs(tx.Bucket("a")); err != nil || same != want {
				t.Errorf("is of the bucket: %v, %v", same, err)
			}
		}
		return nil
	}))
}
