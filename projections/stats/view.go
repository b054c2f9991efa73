package stats

import (
	"bytes"
	"fmt"

	"comanda.internal/projections"
	"comanda.internal/projections/kv"
)

const (
	name    = "stats"
	version = 1
)

// View is the projection and its reader. It is safe for concurrent use.
type View struct{ reader projections.Reader }

var _ projections.Projection = (*View)(nil)

// New is the view as reader gives it.
func New(reader projections.Reader) *View { return &View{reader: reader} }

// Name is the view's bucket.
func (v *View) Name() string { return name }

// Version of what Apply writes.
func (v *View) Version() uint32 { return version }

// Apply counts the changes' events, and their orders anew.
func (v *View) Apply(b *kv.Bucket, changes []projections.Change) error {
	t := NewTally()
	for i := range changes {
		c := &changes[i]
		for j := range c.Events {
			t.Event(&c.Events[j].Event)
		}
		if c.Before != nil && alike(c.Before, c.State) {
			continue
		}
		if c.Before != nil {
			t.Order(c.History, c.Before, -1)
		}
		t.Order(c.History, c.State, 1)
	}
	return t.write(b)
}

// write adds what was counted to the rows.
func (t *Tally) write(b *kv.Bucket) error {
	for _, k := range t.sorted() {
		delta := t.rows[string(k)]
		if delta.zero() {
			continue
		}
		rows, rowKey := b.Bucket(buckets[k[0]]), k[1:]
		row, err := decode(rows.Get(rowKey))
		if err != nil {
			return err
		}
		if value := row.sum(*delta).encode(); value == nil {
			err = rows.Delete(rowKey)
		} else {
			err = rows.Put(rowKey, value)
		}
		if err != nil {
			return fmt.Errorf("count in %s of stats: %w", buckets[k[0]], err)
		}
	}
	return nil
}

// Check reports every row that is not what was counted. t must have counted every
// event and every order of the state that v reads.
func (v *View) Check(t *Tally, report func(problem string)) error {
	return v.reader.View(func(tx *kv.Tx) error {
		found := 0
		for table, bucket := range buckets {
			err := tx.Bucket(name, bucket).ForEach(func(k, value []byte) error {
				full := append([]byte{byte(table)}, k...) //nolint:gosec // one of four
				var want []byte
				if row := t.rows[string(full)]; row != nil {
					want = row.encode()
				}
				if want != nil {
					found++
				}
				if !bytes.Equal(value, want) {
					report(differs(byte(table), k, value, want)) //nolint:gosec // likewise
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if missing := t.count() - found; missing > 0 {
			report(fmt.Sprintf("stats lack %d rows", missing))
		}
		return nil
	})
}

// count is the number of rows that are not all zero.
func (t *Tally) count() (n int) {
	for _, row := range t.rows {
		if !row.zero() {
			n++
		}
	}
	return n
}

func differs(table byte, k, value, want []byte) string {
	parsed, err := parseKey(k)
	if err != nil {
		return fmt.Sprintf("stats have a key of %d bytes in %s", len(k), buckets[table])
	}
	row := fmt.Sprintf("stats of %s, %s %s %s %s", buckets[table], parsed.tenant, startOf(parsed.hour).Format("2006-01-02T15"), parsed.source, parsed.method)
	if _, err := decode(value); err != nil {
		return row + ": not readable"
	}
	return fmt.Sprintf("%s: the view has %s, the facts give %s", row, written(value), written(want))
}

// written is a row's value for people.
func written(value []byte) string {
	c, err := decode(value)
	if err != nil || len(c) == 0 {
		return "nothing"
	}
	var b bytes.Buffer
	for i, x := range c {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%d:%d", x.slot, x.n)
	}
	return b.String()
}
