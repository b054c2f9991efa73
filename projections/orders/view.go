package orders

import (
	"bytes"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

const (
	name    = "orders"
	version = 4
)

// rowsBucket, below the view's own, is of order id: Order. Those of the indexes are
// in keys.go.
const rowsBucket = "rows"

// View is the projection and its reader. It is safe for concurrent use.
type View struct{ reader projections.Reader }

var _ projections.Bulk = (*View)(nil)

// New is the view as reader gives it.
func New(reader projections.Reader) *View { return &View{reader: reader} }

// Name is the view's bucket.
func (v *View) Name() string { return name }

// Version of what Apply writes.
func (v *View) Version() uint32 { return version }

// Apply writes the changed orders' rows and moves their index entries.
func (v *View) Apply(b *kv.Bucket, changes []projections.Change) error {
	rows := b.Bucket(rowsBucket)
	moved := make([]moves, len(indexes))
	var stored wire.Appender
	var now, then keyed
	for i := range changes {
		c := &changes[i]
		if err := putRow(rows, c, bytes.Clone(appendRow(&stored, c))); err != nil {
			return err
		}
		row := now.row(c.Order, c.State)
		var before *comandav1.Order
		if c.Before != nil {
			before = then.row(c.Order, c.Before)
		}
		for n := range indexes {
			var old []byte
			if before != nil {
				old = indexes[n].key(before)
			}
			moved[n].add(old, indexes[n].key(row))
		}
	}
	for n := range indexes {
		if err := moved[n].apply(b.Bucket(indexes[n].bucket)); err != nil {
			return fmt.Errorf("index orders by %s: %w", indexes[n].name, err)
		}
	}
	return nil
}

// appendRow is the order's row, valid until the next call for a.
func appendRow(a *wire.Appender, c *projections.Change) []byte {
	a.Bytes = a.Bytes[:0]
	AppendRow(a, c.Order, c.State.Source, c.State)
	return a.Bytes
}

func putRow(rows *kv.Bucket, c *projections.Change, row []byte) error {
	if err := rows.Put([]byte(c.Order), row); err != nil {
		return fmt.Errorf("put %s: %w", c.Order, err)
	}
	return nil
}

// BuildEvents writes nothing: a row is of all the order's events.
func (v *View) BuildEvents(*kv.Bucket, []domain.Stored) error { return nil }

// BuildOrders writes the rows, and hands on their index entries.
func (v *View) BuildOrders(b *kv.Bucket, changes []projections.Change, put projections.Put) error {
	rows := b.Bucket(rowsBucket)
	rows.Appended()
	var stored wire.Appender
	var now keyed
	for i := range changes {
		if err := putRow(rows, &changes[i], appendRow(&stored, &changes[i])); err != nil { // a Loader copies
			return err
		}
		row := now.row(changes[i].Order, changes[i].State)
		for n := range indexes {
			key := indexes[n].key(row)
			if key == nil {
				continue
			}
			if err := put(indexes[n].bucket, key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// moves are the changes of an index. They are made in the order of keys, which
// touches every page once.
type moves struct{ out, in [][]byte }

// add replaces an entry; a nil key is none.
func (m *moves) add(from, to []byte) {
	if bytes.Equal(from, to) {
		return
	}
	if from != nil {
		m.out = append(m.out, from)
	}
	if to != nil {
		m.in = append(m.in, to)
	}
}

func (m *moves) apply(b *kv.Bucket) error {
	slices.SortFunc(m.out, bytes.Compare)
	slices.SortFunc(m.in, bytes.Compare)
	for _, key := range m.out {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	for _, key := range m.in {
		if err := b.Put(key, nil); err != nil {
			return err
		}
	}
	return nil
}

// Get is the order's row; false when no fact of it was recorded.
func (v *View) Get(id domain.OrderID) (*comandav1.Order, bool, error) {
	var row *comandav1.Order
	err := v.reader.View(func(tx *kv.Tx) error {
		var err error
		row, err = rowIn(tx.Bucket(name, rowsBucket), id)
		return err
	})
	return row, row != nil, err
}

// rowIn is the row of id; nil when there is none.
func rowIn(rows *kv.Bucket, id domain.OrderID) (*comandav1.Order, error) {
	stored := rows.Get([]byte(id))
	if stored == nil {
		return nil, nil //nolint:nilnil // absence is no error
	}
	return decodeRow(id, stored)
}

func decodeRow(id domain.OrderID, stored []byte) (*comandav1.Order, error) {
	row, err := wire.DecodeOrder(stored)
	if err != nil {
		return nil, fmt.Errorf("decode the row of %s: %w", id, err)
	}
	return row, nil
}

// Basic cuts row to what ORDER_VIEW_BASIC shows.
func Basic(row *comandav1.Order) {
	row.Items, row.Utm, row.Shipping, row.Flags, row.CustomEvent, row.Path = nil, nil, nil, nil, "", nil
}

// Check compares the row of an order, whose first event came through source,
// with the fold of its facts, and says in words what differs; nothing when all
// is well. found is false when there is no row.
func (v *View) Check(id domain.OrderID, source domain.SourceID, state *order.State) (problems []string, found bool, err error) {
	row, found, err := v.Get(id)
	if err != nil || !found {
		return nil, false, err
	}
	problems = Compare(state, row)
	if row.GetOrderId() != string(id) {
		problems = append(problems, "order_id: the row of another order: "+row.GetOrderId())
	}
	if row.GetSource() != string(source) {
		problems = append(problems, fmt.Sprintf("source: the view has %s, the log %s", row.GetSource(), source))
	}
	return problems, true, nil
}

// Holds reports whether the view holds exactly the row of an order whose first
// event came through source, as state makes it.
func (v *View) Holds(id domain.OrderID, source domain.SourceID, state *order.State) (bool, error) {
	var want wire.Appender
	AppendRow(&want, id, source, state)
	same := false
	err := v.reader.View(func(tx *kv.Tx) error {
		if b := tx.Bucket(name); b != nil {
			same = bytes.Equal(b.Bucket(rowsBucket).Get([]byte(id)), want.Bytes)
		}
		return nil
	})
	return same, err
}

// Orders calls yield for every order of the view, by id, until it errs.
func (v *View) Orders(yield func(domain.OrderID) error) error {
	return v.reader.View(func(tx *kv.Tx) error {
		return tx.Bucket(name, rowsBucket).ForEach(func(k, _ []byte) error { return yield(domain.OrderID(k)) })
	})
}

// CheckIndexes reports every row that misses an index entry, and every entry
// that is not of its row.
//
// It goes through rows and entries once, and sums up a digest of the entries
// that there should be and of those that there are. Only where the sums differ does it look for
// each. A row that cannot be decoded should have none: that it cannot is found with its order.
//
// The two of each hear of the rows on the way, at once and each of one half of them, by order id.
func (v *View) CheckIndexes(each [2]RowFunc, report func(id domain.OrderID, problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		rows := b.Bucket(rowsBucket)
		same, err := sameSums(rows, b, each)
		if err != nil || same {
			return err
		}
		for n := range indexes {
			if err := checkEntries(rows, b.Bucket(indexes[n].bucket), &indexes[n], report); err != nil {
				return err
			}
		}
		return rows.ForEach(func(k, stored []byte) error {
			row, err := decodeRow(domain.OrderID(k), stored)
			if err != nil {
				return nil //nolint:nilerr // it should have no entry
			}
			for n := range indexes {
				key := indexes[n].key(row)
				if seen, _ := b.Bucket(indexes[n].bucket).Cursor().Seek(key); key != nil && !bytes.Equal(seen, key) {
					report(domain.OrderID(k), "is missing in the index by "+indexes[n].name)
				}
			}
			return nil
		})
	})
}

// RowFunc hears of a row: how it is stored, and of it what indexes and purchases are
// made of, valid until it returns; nil where it cannot be decoded.
type RowFunc func(id, stored []byte, row *comandav1.Order) error

// halfway has half of all orders before it, whose ids are digests.
const halfway = "ord_k"

// sameSums reports whether the indexes in b have exactly the entries of the rows,
// which each hear of.
func sameSums(rows, b *kv.Bucket, each [2]RowFunc) (bool, error) {
	var sums [2][]kv.Sum
	var adding [2]func(k, stored []byte) error
	for i := range sums {
		sums[i] = make([]kv.Sum, len(indexes))
		adding[i] = addTo(sums[i], each[i])
	}
	if err := rows.InHalves([]byte(halfway), adding[0], adding[1]); err != nil {
		return false, err
	}
	for n := range indexes {
		sum := sums[0][n]
		sum.Join(sums[1][n])
		same, err := sum.IsOf(b.Bucket(indexes[n].bucket))
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// addTo adds the entries that rows should have to sums, by index, and has each hear of them.
func addTo(sums []kv.Sum, each RowFunc) func(k, stored []byte) error {
	var s skimmer
	return func(k, stored []byte) error {
		row, ok := s.skim(stored)
		if !ok {
			row, _ = decodeRow(domain.OrderID(k), stored) // nil: it should have no entry
		}
		for n := range sums {
			if row == nil {
				break
			}
			if key := indexes[n].key(row); key != nil {
				sums[n].Add(key)
			}
		}
		return each(k, stored, row)
	}
}

func checkEntries(rows, entries *kv.Bucket, of *index, report func(domain.OrderID, string)) error {
	return entries.ForEach(func(k, _ []byte) error {
		if len(k) <= placeSize {
			report("", fmt.Sprintf("the index by %s has a key of %d bytes", of.name, len(k)))
			return nil
		}
		id := place(k[len(k)-placeSize:]).orderID()
		row, err := rowIn(rows, id)
		if err != nil || row == nil || !bytes.Equal(of.key(row), k) {
			report(id, "has a stray entry in the index by "+of.name)
		}
		return nil
	})
}
