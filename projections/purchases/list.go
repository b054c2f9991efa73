package purchases

import (
	"bytes"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Filter says which purchases. The zero value is all of them.
type Filter struct {
	Tenant   domain.TenantID   // "": of all
	Within   []domain.TenantID // of no others than these, whatever Tenant is; nil: of any
	Statuses []domain.Status   // none: in any; order and repeats do not matter
}

// Page says which part of a list.
type Page struct {
	Size  int    // at least 1
	Token string // of the page before; "" is the first page
}

// maxExamined bounds the members that one page reads, but for those of its last purchase.
const maxExamined = 5_000

// List is a page of the purchases that match, without their orders: by tenant, the
// one with the newest order first. next is the token of the next page, "" on the
// last. A page may be shorter than asked, even empty, and yet have a next one. A
// purchase that gets an order between two pages moves to the front and may be
// missed. The error's kind is Invalid for a token of another filter.
func (v *View) List(filter Filter, page Page) (found []*comandav1.Purchase, next string, err error) {
	before, err := paging.Before(filter.written(), page.Token)
	if err != nil {
		return nil, "", err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		l := lister{filter: filter, members: b.Bucket(membersBucket).Cursor()}
		last, err := l.list(b.Bucket(newestBucket).Cursor(), before, page.Size)
		found = l.found
		if last != nil {
			next = paging.Token(filter.written(), last)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// lister gathers a page.
type lister struct {
	filter   Filter
	members  *kv.Cursor
	found    []*comandav1.Purchase
	examined int
	last     []byte // the key that was looked at last
}

// list reads newest backwards from a key. It answers the key that it looked at
// last when there may be more.
func (l *lister) list(c *kv.Cursor, before []byte, size int) (last []byte, err error) {
	for _, r := range paging.Ranges(l.filter.Tenant, l.filter.Within, before) {
		if more, err := l.listRange(c, r, size); more || err != nil {
			return l.last, err
		}
	}
	return nil, nil
}

// listRange reads one range, and says whether it has more than the page.
func (l *lister) listRange(c *kv.Cursor, r paging.Range, size int) (more bool, err error) {
	for k, digest := paging.Start(c, r.Prefix, r.Before); k != nil && bytes.HasPrefix(k, r.Prefix); k, digest = c.Prev() {
		if len(l.found) == size || l.examined >= maxExamined {
			return true, nil
		}
		l.last = bytes.Clone(k)
		if err := l.look(k, digest); err != nil {
			return false, err
		}
	}
	return false, nil
}

// look takes the purchase of an order, if the order is its newest.
func (l *lister) look(k, digest []byte) error {
	l.examined++
	if !wellFormed(k, digest) {
		return domain.Errorf(domain.Corrupt, "purchases: the index has a key of %d bytes", len(k))
	}
	member := memberOf(k, digest)
	purchase := member[:len(member)-placeSize]
	if newest, _ := paging.Last(l.members, purchase); !bytes.Equal(newest, member) {
		return nil // the purchase was, or will be, seen at its newest order
	}
	var r rollup
	n, err := r.read(l.members, purchase)
	if err != nil {
		return err
	}
	l.examined += n - 1
	if status, _ := wire.FromStatus(r.purchase.GetStatus()); len(l.filter.Statuses) == 0 || slices.Contains(l.filter.Statuses, status) {
		r.purchase.Orders = nil
		l.found = append(l.found, r.purchase)
	}
	return nil
}

// written tells filters apart.
func (f *Filter) written() []byte {
	buf := paging.TenantKey(f.Tenant)
	for s := range domain.StatusCount {
		if slices.Contains(f.Statuses, s) {
			buf = append(buf, byte(s))
		}
	}
	return buf
}
