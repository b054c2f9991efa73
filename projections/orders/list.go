package orders

import (
	"bytes"
	"container/heap"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Filter says which orders. The zero value is all of them.
type Filter struct {
	Tenant    domain.TenantID // "": of all
	Statuses  []domain.Status // none: in any; order and repeats do not matter
	Source    domain.SourceID // of the first event; "": of any
	Reference string          // "": with any or none
	// ProviderOrderID is the provider's own id, in any account of any provider; "": any.
	ProviderOrderID string
	// Attention: only orders that an operator should see.
	Attention bool
	// Among: only these; nil: any. The tenant does not filter them.
	Among *Among
}

// Among are orders that something else has found, as those of one customer.
type Among struct {
	Orders []domain.OrderID // in any order; what the view does not hold is left out
	// Written tells one search from another: it binds page tokens.
	Written string
}

// Page says which part of a list.
type Page struct {
	Size  int    // at least 1
	Token string // of the page before; "" is the first page
}

// maxExamined bounds the rows that one page reads to find those that match.
const maxExamined = 5_000

// List is a page of the orders that match, the last recorded first (of one provider
// order id the one that was known last), and the
// token of the next page, "" on the last. A page may be shorter than asked, even
// empty, and yet have a next one. An order that changes between two pages moves
// to the front and may be missed; none is given twice at one revision. The
// error's kind is Invalid for a token of another filter.
func (v *View) List(filter Filter, page Page) (rows []*comandav1.Order, next string, err error) {
	filter.normalize()
	bound := filter.bound("")
	before, err := parseToken(page.Token, bound)
	if err != nil {
		return nil, "", err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		l := lister{filter: filter, size: page.Size, rows: b.Bucket(rowsBucket), as: asItIs}
		last, more, err := l.page(placeOf, before, func() spans { return openRanges(b, filter.ranges, filter.Tenant, before) })
		if rows = l.found; more {
			next = newToken(bound, last)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return rows, next, nil
}

func asItIs(row *comandav1.Order) (*comandav1.Order, error) { return row, nil }

// normalize sorts the statuses and leaves out repeats.
func (f *Filter) normalize() {
	f.Statuses = slices.Clone(f.Statuses)
	slices.Sort(f.Statuses)
	f.Statuses = slices.Compact(f.Statuses)
}

// lister gathers a page.
type lister struct {
	filter Filter
	size   int
	rows   *kv.Bucket
	as     func(row *comandav1.Order) (*comandav1.Order, error) // the order to look at; nil for none
	found  []*comandav1.Order
}

// page reads the matching orders before a place: of those that were found already, whose
// places are at, or of the ranges.
func (l *lister) page(at func(*comandav1.Order) place, before *place, ranges func() spans) (last place, more bool, err error) {
	if l.filter.Among == nil {
		return l.list(ranges())
	}
	var places []place
	for _, id := range l.filter.Among.Orders {
		row, err := rowIn(l.rows, id)
		if err != nil {
			return last, false, err
		}
		if row == nil {
			continue // the view has not read it yet, or never will: it is parked
		}
		if p := at(row); before == nil || bytes.Compare(p[:], before[:]) < 0 {
			places = append(places, p)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return bytes.Compare(b[:], a[:]) })
	for _, p := range places {
		if len(l.found) == l.size {
			return last, true, nil
		}
		last = p
		if err := l.look(p.orderID()); err != nil {
			return last, false, err
		}
	}
	return last, false, nil
}

// list reads the matching orders of the ranges; last is the last place it looked
// at, more whether there are others.
func (l *lister) list(ranges spans) (last place, more bool, err error) {
	for examined := 0; len(ranges) > 0; examined++ {
		if len(l.found) == l.size || examined == maxExamined {
			return last, true, nil
		}
		last = ranges[0].at
		if err := l.look(last.orderID()); err != nil {
			return last, false, err
		}
		if ranges[0].back() {
			heap.Fix(&ranges, 0)
		} else {
			heap.Pop(&ranges)
		}
	}
	return last, false, nil
}

func (l *lister) look(id domain.OrderID) error {
	row, err := rowIn(l.rows, id)
	if err != nil {
		return err
	}
	if row == nil {
		return domain.Errorf(domain.Corrupt, "orders: the index names %s, which has no row", id)
	}
	if row, err = l.as(row); err == nil && row != nil && l.filter.matches(row) {
		l.found = append(l.found, row)
	}
	return err
}

// matches decides what the ranges do not.
func (f *Filter) matches(row *comandav1.Order) bool {
	switch {
	case f.Source != "" && row.GetSource() != string(f.Source),
		f.Reference != "" && row.GetReference() != f.Reference,
		f.ProviderOrderID != "" && row.GetProviderOrderId() != f.ProviderOrderID,
		f.Attention && !attended(row):
		return false
	}
	status, ok := wire.FromStatus(row.GetStatus())
	return len(f.Statuses) == 0 || ok && slices.Contains(f.Statuses, status)
}

// span is a range of an index, read backwards.
type span struct {
	prefix []byte
	cursor *kv.Cursor
	at     place
}

// seek goes to the last entry before a place, or to the last of all; false when
// there is none.
func (s *span) seek(before *place) bool {
	end := append(slices.Clone(s.prefix), bytes.Repeat([]byte{0xff}, placeSize+1)...)
	if before != nil {
		end = append(slices.Clone(s.prefix), before[:]...)
	}
	key, _ := s.cursor.Seek(end)
	if key == nil {
		key, _ = s.cursor.Last()
	} else {
		key, _ = s.cursor.Prev()
	}
	return s.take(key)
}

// back goes to the entry before; false when there is none.
func (s *span) back() bool {
	key, _ := s.cursor.Prev()
	return s.take(key)
}

func (s *span) take(key []byte) bool {
	rest, ok := bytes.CutPrefix(key, s.prefix)
	if !ok || len(rest) != placeSize {
		return false
	}
	s.at = place(rest)
	return true
}

// spans is a heap of ranges, the one with the newest entry first.
type spans []*span

func (s spans) Len() int           { return len(s) }
func (s spans) Less(i, j int) bool { return bytes.Compare(s[i].at[:], s[j].at[:]) > 0 }
func (s spans) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements [heap.Interface]; ranges are never added.
func (s *spans) Push(x any) { *s = append(*s, x.(*span)) }

// Pop implements [heap.Interface].
func (s *spans) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// openRanges are the ranges of a tenant, or of all, each at its newest entry before
// a place.
func openRanges(
	b *kv.Bucket, ranges func() (index int, prefixes func(tenant string) [][]byte), tenant domain.TenantID, before *place,
) spans {
	n, prefixes := ranges()
	index := b.Bucket(indexes[n].bucket)
	tenants := []string{string(tenant)}
	if tenant == "" {
		tenants = tenantsIn(index)
	}
	var open spans
	for _, tenant := range tenants {
		for _, prefix := range prefixes(tenant) {
			s := &span{prefix: prefix, cursor: index.Cursor()}
			if s.seek(before) {
				open = append(open, s)
			}
		}
	}
	heap.Init(&open)
	return open
}

// ranges are the index that has the fewest entries for f, and its prefixes for a tenant.
func (f *Filter) ranges() (index int, prefixes func(tenant string) [][]byte) {
	one := func(prefix func(tenant string) []byte) func(string) [][]byte {
		return func(tenant string) [][]byte { return [][]byte{prefix(tenant)} }
	}
	switch {
	case f.ProviderOrderID != "":
		return indexProviderOrderID, one(func(tenant string) []byte { return digestPrefix(tenant, f.ProviderOrderID) })
	case f.Reference != "":
		return indexReference, one(func(tenant string) []byte { return digestPrefix(tenant, f.Reference) })
	case f.Attention:
		return indexAttention, one(tenantPrefix)
	case f.Source != "":
		return indexSource, one(func(tenant string) []byte { return sourcePrefix(tenant, string(f.Source)) })
	}
	return indexStatus, func(tenant string) (out [][]byte) {
		for s := range domain.StatusCount {
			if len(f.Statuses) == 0 || slices.Contains(f.Statuses, s) {
				out = append(out, statusPrefix(tenant, wire.Status(s)))
			}
		}
		return out
	}
}

// tenantsIn are the tenants that have entries in an index.
func tenantsIn(index *kv.Bucket) []string {
	var tenants []string
	c := index.Cursor()
	for key, _ := c.First(); len(key) > 0 && len(key) > int(key[0]); {
		prefix := slices.Clone(key[:1+key[0]])
		tenants = append(tenants, string(prefix[1:]))
		key, _ = c.Seek(append(prefix, bytes.Repeat([]byte{0xff}, longestPrefix+placeSize+1)...))
	}
	return tenants
}
