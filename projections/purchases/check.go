package purchases

import (
	"bytes"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Check says in words what of an order's member is not as its fold makes it;
// nothing when all is well. Members that it should not have are found by CheckAll.
func (v *View) Check(id domain.OrderID, state *order.State) (problems []string, err error) {
	want, value, err := memberOfState(id, state)
	former := formerKeys(id, state)
	if err != nil || want.member == nil && len(former) == 0 {
		return nil, err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		for _, k := range former {
			if b.Bucket(formerBucket).Get(k.member) == nil || b.Bucket(formerNewestBucket).Get(k.newest) == nil {
				problems = append(problems, "the order is missing in the index of former purchases")
			}
		}
		if want.member == nil {
			return nil
		}
		stored := b.Bucket(membersBucket).Get(want.member)
		switch {
		case stored == nil:
			problems = append(problems, "the order is missing in its purchase")
		case !bytes.Equal(stored, value):
			problems = append(problems, differs(want.member, stored, value))
		}
		if !bytes.Equal(b.Bucket(newestBucket).Get(want.newest), digestIn(want.member)) {
			problems = append(problems, "the order is missing in the index of purchases")
		}
		return nil
	})
	return problems, err
}

func differs(key, stored, value []byte) string {
	_, has, err := decode(key, stored)
	if err != nil {
		return err.Error()
	}
	_, want, err := decode(key, value)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("the purchase has the order as %s, the fold %s", describe(has), describe(want))
}

// kinds are the buckets, and which keys of theirs an order has.
var kinds = [...]struct {
	bucket, what string
	tail         int // bytes of the key behind its place
	keys         func(row *comandav1.Order) [][]byte
}{
	{membersBucket, "the view of purchases", 0, func(row *comandav1.Order) [][]byte { return some(keysOfRow(row).member) }},
	{newestBucket, "the index of purchases", 0, func(row *comandav1.Order) [][]byte { return some(keysOfRow(row).newest) }},
	{formerBucket, "the view of former purchases", 0, func(row *comandav1.Order) [][]byte {
		return each(formerKeysOfRow(row), func(k keys) []byte { return k.member })
	}},
	{formerNewestBucket, "the index of former purchases", referenceSize, func(row *comandav1.Order) [][]byte {
		return each(formerKeysOfRow(row), func(k keys) []byte { return k.newest })
	}},
}

// Sums are of the keys that orders should have.
type Sums [len(kinds)]kv.Sum

// Add adds an order as the view of orders has it, once.
func (s *Sums) Add(row *comandav1.Order) {
	for n := range kinds {
		for _, key := range kinds[n].keys(row) {
			s[n].Add(key)
		}
	}
}

// CheckAll reports every member, and every entry of the index, that is of no order
// or not of the reference that the order has; row gives orders as the view of
// orders has them, nil for one that it does not know, and sums are of all of them.
func (v *View) CheckAll(
	sums *Sums, row func(domain.OrderID) (*comandav1.Order, error), report func(id domain.OrderID, problem string),
) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		for n := range kinds {
			same, err := sums[n].IsOf(b.Bucket(kinds[n].bucket))
			if err == nil && !same {
				err = checkEntries(b, n, row, report)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func checkEntries(b *kv.Bucket, n int, row func(domain.OrderID) (*comandav1.Order, error), report func(id domain.OrderID, problem string)) error {
	of := &kinds[n]
	return b.Bucket(of.bucket).ForEach(func(k, _ []byte) error {
		if len(k) <= placeSize+of.tail {
			report("", fmt.Sprintf("%s has a key of %d bytes", of.what, len(k)))
			return nil
		}
		_, id := placeIn(k[:len(k)-of.tail])
		order, err := row(id)
		if err != nil {
			return err
		}
		if order == nil || !slices.ContainsFunc(of.keys(order), func(want []byte) bool { return bytes.Equal(want, k) }) {
			report(id, "has a stray entry in "+of.what)
		}
		return nil
	})
}

// some is key, or nothing when there is none.
func some(key []byte) [][]byte {
	if key == nil {
		return nil
	}
	return [][]byte{key}
}

func each(all []keys, one func(keys) []byte) [][]byte {
	out := make([][]byte, len(all))
	for i, k := range all {
		out[i] = one(k)
	}
	return out
}
