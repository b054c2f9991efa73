package purchases

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Past is how orders were.
type Past struct {
	// Until passes over the orders that were first recorded after it; zero: none.
	Until time.Time
	// Written tells one past from another: it binds page tokens.
	Written string
	// Order is an order as it was; nil when there was none yet.
	Order func(tx *kv.Tx, id domain.OrderID) (*order.State, error)
}

// GetPast is the purchase of a reference as it was, of the orders that had the
// reference then; false when none had. It asks past of every order that has the
// reference, or that a fact gave it once.
func (v *View) GetPast(tenant domain.TenantID, reference string, past Past) (*comandav1.Purchase, bool, error) {
	var p *comandav1.Purchase
	err := v.reader.View(func(tx *kv.Tx) error {
		var err error
		p, err = (&rewinder{tx: tx, b: tx.Bucket(name), past: past}).purchase(purchaseKey(tenant, reference), reference)
		return err
	})
	return p, p != nil && err == nil, err
}

// ListPast is a page of the purchases that matched then, as [View.List] is of those
// of now. No order that is recorded between two pages of a past moves anything in them.
func (v *View) ListPast(filter Filter, past Past, page Page) (found []*comandav1.Purchase, next string, err error) {
	bound := append(filter.written(), past.Written...)
	before, err := paging.Before(bound, page.Token)
	if err != nil {
		return nil, "", err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		r := rewinder{tx: tx, b: tx.Bucket(name), past: past, filter: filter}
		last, err := r.list(before, page.Size)
		if found = r.found; last != nil {
			next = paging.Token(bound, last)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// rewinder makes purchases as they were.
type rewinder struct {
	tx       *kv.Tx
	b        *kv.Bucket
	past     Past
	filter   Filter
	found    []*comandav1.Purchase
	examined int
	last     []byte // the entry that was looked at last
}

// purchase is the one whose members' keys begin so; nil when there was none.
func (r *rewinder) purchase(key []byte, reference string) (*comandav1.Purchase, error) {
	var roll rollup
	err := r.members(key, reference, func(member []byte, s *order.State) (bool, error) {
		return true, roll.add(member, encode(s))
	})
	if roll.purchase == nil {
		return nil, err
	}
	return roll.purchase, err
}

// members calls yield with every order that was in a purchase, the newest first, until
// it says that it wants no more.
func (r *rewinder) members(key []byte, reference string, yield func(member []byte, s *order.State) (more bool, err error)) error {
	w := backward{key: func(k, _ []byte) []byte { return bytes.Clone(k) }}
	w.cursors = [2]*kv.Cursor{r.b.Bucket(membersBucket).Cursor(), r.b.Bucket(formerBucket).Cursor()}
	for k := w.seek(key, r.end(key)); k != nil; k = w.back() {
		_, id := placeIn(k)
		s, err := r.state(id)
		if err != nil {
			return err
		}
		if s == nil || s.Reference != reference {
			continue
		}
		if more, err := yield(k, s); err != nil || !more {
			return err
		}
	}
	return nil
}

func (r *rewinder) state(id domain.OrderID) (*order.State, error) {
	r.examined++
	return r.past.Order(r.tx, id)
}

// end is behind every key of a prefix that the past does not pass over; nil when it
// passes over none.
func (r *rewinder) end(prefix []byte) []byte {
	if r.past.Until.IsZero() || !r.past.Until.Before(time.Unix(0, math.MaxInt64)) {
		return nil
	}
	nanos := uint64(max(r.past.Until.UnixNano(), 0))
	return binary.BigEndian.AppendUint64(bytes.Clone(prefix), nanos+1)
}

// list reads both indexes of lists backwards from an entry: of every order with
// each reference that it has or had. It answers the entry that it looked at last
// when there may be more.
func (r *rewinder) list(before []byte, size int) (last []byte, err error) {
	for _, part := range paging.Ranges(r.filter.Tenant, r.filter.Within, before) {
		if more, err := r.listRange(part, size); more || err != nil {
			return r.last, err
		}
	}
	return nil, nil
}

// listRange reads one range, and says whether it has more than the page.
func (r *rewinder) listRange(part paging.Range, size int) (more bool, err error) {
	w := backward{key: func(k, digest []byte) []byte { return slices.Concat(k, digest) }}
	w.cursors = [2]*kv.Cursor{r.b.Bucket(newestBucket).Cursor(), r.b.Bucket(formerNewestBucket).Cursor()}
	for k := w.seek(part.Prefix, part.Before); k != nil; {
		if len(r.found) == size || r.examined >= maxExamined {
			return true, nil
		}
		if len(k) < referenceSize || !wellFormed(k[:len(k)-referenceSize], k[len(k)-referenceSize:]) {
			return false, domain.Errorf(domain.Corrupt, "purchases: the index has an entry of %d bytes", len(k))
		}
		if end := r.end(k[:1+k[0]]); end != nil && bytes.Compare(k, end) >= 0 {
			k = w.seek(part.Prefix, end)
			continue
		}
		r.last = k
		if err := r.look(k[:len(k)-referenceSize], k[len(k)-referenceSize:]); err != nil {
			return false, err
		}
		k = w.back()
	}
	return false, nil
}

// look takes the purchase that an order was in by the reference of a digest, if it was
// its newest.
func (r *rewinder) look(newest, digest []byte) error {
	member := memberOf(newest, digest)
	purchase := member[:len(member)-placeSize]
	_, id := placeIn(member)
	s, err := r.state(id)
	if err != nil || s == nil || !bytes.Equal(purchase, purchaseKey(s.Identity.Tenant, s.Reference)) {
		return err
	}
	var first []byte
	err = r.members(purchase, s.Reference, func(member []byte, _ *order.State) (bool, error) {
		first = member
		return false, nil
	})
	if err != nil || !bytes.Equal(first, member) {
		return err
	}
	p, err := r.purchase(purchase, s.Reference)
	if err != nil || p == nil {
		return err
	}
	if status, _ := wire.FromStatus(p.GetStatus()); len(r.filter.Statuses) == 0 || slices.Contains(r.filter.Statuses, status) {
		p.Orders = nil
		r.found = append(r.found, p)
	}
	return nil
}

// backward goes through two buckets, the greatest entry of either first.
type backward struct {
	cursors [2]*kv.Cursor
	key     func(k, value []byte) []byte // by which entries are compared; a copy
	prefix  []byte
	at      [2][]byte // nil: at its end
}

// seek goes to the last entry below one, nil: of all, that begins with prefix; nil when
// there is none.
func (w *backward) seek(prefix, before []byte) []byte {
	w.prefix = prefix
	for i, c := range w.cursors {
		k, value := paging.Start(c, prefix, before)
		w.take(i, k, value)
		for before != nil && w.at[i] != nil && bytes.Compare(w.at[i], before) >= 0 {
			k, value = c.Prev()
			w.take(i, k, value)
		}
	}
	return w.at[w.greatest()]
}

// back goes to the entry before.
func (w *backward) back() []byte {
	i := w.greatest()
	k, value := w.cursors[i].Prev()
	w.take(i, k, value)
	return w.at[w.greatest()]
}

func (w *backward) take(i int, k, value []byte) {
	w.at[i] = nil
	if k != nil && bytes.HasPrefix(k, w.prefix) {
		w.at[i] = w.key(k, value)
	}
}

// greatest is the bucket that is at the greatest entry.
func (w *backward) greatest() int {
	if bytes.Compare(w.at[0], w.at[1]) >= 0 {
		return 0
	}
	return 1
}
