package queue

import (
	"bytes"
	"encoding/binary"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/paging"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Filter says which items. The zero value is all of them.
type Filter struct {
	Tenant domain.TenantID   // "": of all
	Within []domain.TenantID // of no others than these, whatever Tenant is; nil: of any
	Kinds  []string          // none: of any; order and repeats do not matter
}

// Page says which part of a list.
type Page struct {
	Size  int    // at least 1
	Token string // of the page before; "" is the first page
}

// maxExamined bounds the items that one page looks at to find those that match.
const maxExamined = 50_000

// List is a page of the items that match: by tenant, the last recorded first. next
// is the token of the next page, "" on the last. A page may be shorter than
// asked, even empty, and yet have a next one. The error's kind is Invalid for a
// token of another filter.
func (v *View) List(filter Filter, page Page) (found []*comandav1.QueueItem, next string, err error) {
	written := filter.written()
	before, err := paging.Before(written, page.Token)
	if err != nil {
		return nil, "", err
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		l := lister{view: v, tx: tx, filter: filter, size: page.Size}
		for _, r := range paging.Ranges(filter.Tenant, filter.Within, before) {
			more, err := l.listRange(tx.Bucket(v.name).Cursor(), r)
			if err != nil {
				return err
			}
			if more {
				next = paging.Token(written, l.last)
				break
			}
		}
		found = l.found
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return found, next, nil
}

// lister gathers a page.
type lister struct {
	view     *View
	tx       *kv.Tx
	filter   Filter
	size     int
	found    []*comandav1.QueueItem
	examined int
	last     []byte // the key that was looked at last
}

// listRange reads one range, and says whether it has more than the page.
func (l *lister) listRange(c *kv.Cursor, r paging.Range) (more bool, err error) {
	for k, value := paging.Start(c, r.Prefix, r.Before); k != nil && bytes.HasPrefix(k, r.Prefix); k, value = c.Prev() {
		if len(l.found) == l.size || l.examined == maxExamined {
			return true, nil
		}
		l.examined++
		l.last = k
		item, err := l.view.join(l.tx, l.filter, k, value)
		if err != nil {
			return false, err
		}
		if item != nil {
			l.found = append(l.found, item)
		}
	}
	return false, nil
}

// within reads other views in a transaction.
type within struct{ tx *kv.Tx }

// View implements [projections.Reader].
func (w within) View(fn func(*kv.Tx) error) error { return fn(w.tx) }

// join is the item of an entry as a reader sees it; nil when it does not match.
func (v *View) join(tx *kv.Tx, filter Filter, key, value []byte) (*comandav1.QueueItem, error) {
	tenant, id, item, ok := parse(key)
	revision, n := binary.Uvarint(value)
	if !ok || n <= 0 {
		return nil, domain.Errorf(domain.Corrupt, "%s: an entry of %d and %d bytes", v.name, len(key), len(value))
	}
	if len(filter.Kinds) > 0 && !slices.Contains(filter.Kinds, item.Kind) {
		return nil, nil //nolint:nilnil // no match is no error
	}
	row, found, err := orders.New(within{tx}).Get(id)
	if err != nil {
		return nil, err
	}
	event, err := timeline.New(within{tx}).Event(id, revision)
	if err != nil {
		return nil, err
	}
	if !found || event == nil {
		return nil, domain.Errorf(domain.Corrupt, "%s names event %s of %s, which the views do not have", v.name, item.Event, id)
	}
	return &comandav1.QueueItem{
		Kind: item.Kind, OrderId: string(id), EventId: string(item.Event), Tenant: string(tenant),
		RecordedAt: event.GetRecordedAt(), FactKind: event.GetKind(), Verdict: event.GetVerdict(),
		EffectiveAt: event.GetEffectiveAt(), Status: row.GetStatus(), Source: row.GetSource(),
		ProviderOrderId: row.GetProviderOrderId(), Reference: row.GetReference(),
	}, nil
}

// written tells filters apart.
func (f *Filter) written() []byte {
	kinds := slices.Sorted(slices.Values(f.Kinds))
	buf := paging.TenantKey(f.Tenant)
	for _, kind := range slices.Compact(kinds) {
		buf = append(append(buf, kind...), 0)
	}
	return buf
}
