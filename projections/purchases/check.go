package purchases

import (
	"bytes"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Check says in words what of an order's member is not as its fold makes it;
// nothing when all is well. Members that it should not have are found by CheckAll.
func (v *View) Check(id domain.OrderID, state *order.State) (problems []string, err error) {
	want, value, err := memberOfState(id, state)
	if err != nil || want.member == nil {
		return nil, err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
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

// CheckAll reports every member, and every entry of the index, that is of no order
// or not of the reference that the order has; row gives orders as the view of
// orders has them, nil for one that it does not know.
func (v *View) CheckAll(row func(domain.OrderID) (*comandav1.Order, error), report func(id domain.OrderID, problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		check := func(bucket, what string, keyOf func(keys) []byte) error {
			return b.Bucket(bucket).ForEach(func(k, _ []byte) error {
				if len(k) <= placeSize {
					report("", fmt.Sprintf("%s has a key of %d bytes", what, len(k)))
					return nil
				}
				_, id := placeIn(k)
				order, err := row(id)
				if err != nil {
					return err
				}
				if order == nil || !bytes.Equal(keyOf(keysOfRow(order)), k) {
					report(id, "has a stray entry in "+what)
				}
				return nil
			})
		}
		if err := check(membersBucket, "the view of purchases", func(k keys) []byte { return k.member }); err != nil {
			return err
		}
		return check(newestBucket, "the index of purchases", func(k keys) []byte { return k.newest })
	})
}
