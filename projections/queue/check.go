package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
)

// Check says in words which of an order's items are missing. Items that it should
// not have are found by CheckAll.
func (v *View) Check(h *order.History, s *order.State) (problems []string, err error) {
	want, err := v.entries(h, s)
	if err != nil || len(want) == 0 {
		return nil, err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(v.name)
		for _, e := range want {
			if !bytes.Equal(b.Get(e.key), binary.AppendUvarint(nil, e.revision)) {
				_, _, item, _ := parse(e.key)
				problems = append(problems, fmt.Sprintf("%s lacks %s of event %s", v.name, item.Kind, item.Event))
			}
		}
		return nil
	})
	return problems, err
}

// CheckAll reports every entry that is not of its order as it is; fold gives an
// order's history and state, nil for one that is not known.
func (v *View) CheckAll(
	fold func(domain.OrderID) (*order.History, *order.State, error), report func(id domain.OrderID, problem string),
) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(v.name)
		return b.ForEach(func(k, _ []byte) error {
			_, id, item, ok := parse(k)
			if !ok {
				report("", fmt.Sprintf("%s has a key of %d bytes", v.name, len(k)))
				return nil
			}
			h, s, err := fold(id)
			if err != nil {
				return err
			}
			want, err := v.entries(h, s)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(want, func(e entry) bool { return bytes.Equal(e.key, k) }) {
				report(id, fmt.Sprintf("%s has %s of event %s, which the order has not", v.name, item.Kind, item.Event))
			}
			return nil
		})
	})
}
