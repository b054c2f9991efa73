package orders

import (
	"container/heap"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Filter says which orders. The zero value is all of them.
type Filter struct {
	Tenant    domain.TenantID   // "": of all
	Within    []domain.TenantID // of no others than these, whatever Tenant is; nil: of any
	Statuses  []domain.Status   // none: in any; order and repeats do not matter
	Source    domain.SourceID   // of the first event; "": of any
	Reference string            // "": with any or none
	// ProviderOrderID is the provider's own id, in any account of any provider; "": any.
	ProviderOrderID string
	// Attention: only orders that an operator should see.
	Attention bool
	// Recorded and First bound the last and the first recording of an order.
	Recorded, First Span
	// Where is any other condition on the row, nil for none, and Written its text, which
	// binds page tokens. An error ends the list.
	Where   func(row *comandav1.Order) (bool, error)
	Written string
	// Sort is in which order the list comes.
	Sort Sort
	// Among: only these; nil: any.
	Among *Among
}

// Span is a range of time: from From, before Before; zero is no bound.
type Span struct{ From, Before time.Time }

func (s *Span) holds(at time.Time) bool {
	return (s.From.IsZero() || !at.Before(s.From)) && (s.Before.IsZero() || at.Before(s.Before))
}

// Sort is the order of a list.
type Sort struct {
	By SortBy
	// Ascending: the first recorded first. Of SortBest it means nothing.
	Ascending bool
}

// SortBy is what a list comes by.
type SortBy uint8

// The orders that the indexes have.
const (
	// SortBest: the last recorded first; of one provider order id the one that was known last.
	SortBest SortBy = iota
	// SortRecorded: by the last recording.
	SortRecorded
	// SortFirst: by the first recording.
	SortFirst
)

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
		on := filter.way(before)
		last, more, err := l.page(filter.placeOf(), on, func() spans { return openRanges(b, filter.ranges, &filter, on) })
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

// list reads the matching orders of the ranges; last is the last place it looked
// at, more whether there are others.
func (l *lister) list(ranges spans) (last place, more bool, err error) {
	for examined := 0; len(ranges.open) > 0; examined++ {
		if len(l.found) == l.size || examined == maxExamined {
			return last, true, nil
		}
		nearest := ranges.open[0]
		last = nearest.at
		if err := l.look(last.orderID()); err != nil {
			return last, false, err
		}
		if nearest.step() {
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
	if row, err = l.as(row); err != nil || row == nil || !l.filter.matches(row) {
		return err
	}
	matches := true
	if l.filter.Where != nil {
		matches, err = l.filter.Where(row)
	}
	if matches {
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
		f.Attention && !attended(row),
		!f.Recorded.holds(row.GetRecordedAt().AsTime()),
		!f.First.holds(row.GetFirstRecordedAt().AsTime()):
		return false
	}
	status, ok := wire.FromStatus(row.GetStatus())
	return len(f.Statuses) == 0 || ok && slices.Contains(f.Statuses, status)
}

// best is the index that has the fewest entries for f, of those that have its order.
func (f *Filter) best() int {
	switch {
	case f.ProviderOrderID != "" && f.Sort.By != SortRecorded:
		return indexProviderOrderID
	case f.Sort.By == SortFirst:
		return indexFirst
	case f.Reference != "":
		return indexReference
	case f.Attention:
		return indexAttention
	case f.Source != "":
		return indexSource
	default:
		return indexStatus
	}
}

// ranges are the index to read, and its prefixes for a tenant.
func (f *Filter) ranges() (index int, prefixes func(tenant string) [][]byte) {
	index = f.best()
	return index, func(tenant string) (out [][]byte) {
		switch index {
		case indexProviderOrderID:
			return [][]byte{digestPrefix(tenant, f.ProviderOrderID)}
		case indexReference:
			return [][]byte{digestPrefix(tenant, f.Reference)}
		case indexSource:
			return [][]byte{sourcePrefix(tenant, string(f.Source))}
		case indexAttention, indexFirst:
			return [][]byte{tenantPrefix(tenant, 0)}
		}
		for s := range domain.StatusCount {
			if len(f.Statuses) == 0 || slices.Contains(f.Statuses, s) {
				out = append(out, statusPrefix(tenant, wire.Status(s)))
			}
		}
		return out
	}
}
