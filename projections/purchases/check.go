package purchases

import (
	"bytes"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Check says in words what of an order's member is not as its fold makes it;
// nothing when all is well. Members that it should not have are found by CheckAll.
func (v *View) Check(id domain.OrderID, state *order.State) (problems []string, err error) {
	want, value := memberOfState(id, state)
	former := formerKeys(id, state)
	if want.member == nil && len(former) == 0 {
		return nil, nil
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

// Sums are of the entries that orders should have. The zero value is of no order.
type Sums struct {
	of       [len(kinds)]kv.Sum
	appender wire.Appender
}

// Add adds an order as the view of orders has it, once.
func (s *Sums) Add(row *comandav1.Order) {
	if k := keysOfRow(row); k.member != nil {
		s.of[0].AddPair(k.member, encodeRow(&s.appender, row))
		s.of[1].AddPair(k.newest, digestIn(k.member))
	}
	if len(row.GetFormerReferences()) == 0 {
		return
	}
	for _, k := range formerKeysOfRow(row) {
		s.of[2].AddPair(k.member, nil)
		s.of[3].AddPair(k.newest, nil)
	}
}

// Join adds the orders of another that has none of these.
func (s *Sums) Join(other *Sums) {
	for n := range s.of {
		s.of[n].Join(other.of[n])
	}
}

// Same reports whether the view has exactly the entries of the orders that were added.
func (v *View) Same(sums *Sums) (same bool, err error) {
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		for n := range kinds {
			if same, err = sums.of[n].IsOfPairs(b.Bucket(kinds[n].bucket)); err != nil || !same {
				return err
			}
		}
		return nil
	})
	return same, err
}

// CheckRow is Check of an order as the view of orders has it.
func (v *View) CheckRow(row *comandav1.Order) (problems []string, err error) {
	state := &order.State{
		Identity: domain.Identity{Tenant: domain.TenantID(row.GetTenant())}, FirstRecordedAt: row.GetFirstRecordedAt().AsTime(),
		Reference: row.GetReference(), FormerReferences: row.GetFormerReferences(), Currency: row.GetCurrency(), Dispute: row.GetDispute(),
		Paid: wire.FromAmount(row.Paid), Refunded: wire.FromAmount(row.Refunded),
	}
	var ok bool
	if state.Status, ok = wire.FromStatus(row.GetStatus()); !ok {
		return nil, domain.Errorf(domain.Corrupt, "the row of %s has the status %d", row.GetOrderId(), row.GetStatus())
	}
	for _, item := range row.GetItems() {
		state.Items = append(state.Items, domain.Item{Code: item.GetCode(), Title: item.GetTitle()})
	}
	return v.Check(domain.OrderID(row.GetOrderId()), state)
}

// CheckAll reports every member, and every entry of the index, that is of no order
// or not of the reference that the order has; row gives orders as the view of
// orders has them, nil for one that it does not know.
func (v *View) CheckAll(row func(domain.OrderID) (*comandav1.Order, error), report func(id domain.OrderID, problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		for n := range kinds {
			if err := checkEntries(b, n, row, report); err != nil {
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
