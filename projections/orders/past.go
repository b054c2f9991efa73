package orders

import (
	"math"
	"time"

	"comanda.internal/projections/kv"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Past is how orders were.
type Past struct {
	// Until passes over the orders that were first recorded after it; zero: none.
	Until time.Time
	// Written tells one past from another: it binds page tokens.
	Written string
	// Order is an order as it was, of its row as it is; nil when there was none yet.
	Order func(tx *kv.Tx, now *comandav1.Order) (*comandav1.Order, error)
}

// ListPast is a page of the orders that matched then, and the token of the next page,
// "" on the last: by the time of their first recording, the last first, which nothing
// changes, so that the pages of one past fit together whatever is recorded between
// them. A page may be shorter than asked, even empty, and yet have a next one: it asks past of at most
// 5,000 orders.
//
// What an order's first event settles, tenant, source and provider order id, is asked of
// its row; all else, of the order as it was.
func (v *View) ListPast(filter Filter, past Past, page Page) (rows []*comandav1.Order, next string, err error) {
	filter.normalize()
	bound := filter.bound(past.Written)
	before, err := parseToken(page.Token, bound)
	if err != nil {
		return nil, "", err
	}
	on := way{before: before}
	if before == nil && !past.Until.IsZero() {
		on.before = afterAll(past.Until)
	}
	err = v.reader.View(func(tx *kv.Tx) error {
		l := lister{filter: filter, size: page.Size, rows: tx.Bucket(name, rowsBucket)}
		l.as = func(row *comandav1.Order) (*comandav1.Order, error) {
			if !filter.matchesFirst(row) {
				return nil, nil //nolint:nilnil // not one of them
			}
			return past.Order(tx, row)
		}
		last, more, err := l.page(firstPlaceOf, on, func() spans {
			return openRanges(tx.Bucket(name), filter.pastRanges, &filter, on)
		})
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

// afterAll is the place behind every order that was recorded at a time or before.
func afterAll(at time.Time) *place {
	if at.Before(time.Unix(0, math.MaxInt64)) {
		at = at.Add(time.Nanosecond)
	}
	return placeFrom(at)
}

// matchesFirst decides what the first event of an order settles.
func (f *Filter) matchesFirst(row *comandav1.Order) bool {
	return (f.Tenant == "" || row.GetTenant() == string(f.Tenant)) &&
		(f.Source == "" || row.GetSource() == string(f.Source)) &&
		(f.ProviderOrderID == "" || row.GetProviderOrderId() == f.ProviderOrderID)
}

// pastRanges are those of the indexes whose entries never move.
func (f *Filter) pastRanges() (index int, prefixes func(tenant string) [][]byte) {
	if f.ProviderOrderID != "" {
		return indexProviderOrderID, func(tenant string) [][]byte { return [][]byte{digestPrefix(tenant, f.ProviderOrderID)} }
	}
	return indexFirst, func(tenant string) [][]byte { return [][]byte{tenantPrefix(tenant, 0)} }
}
