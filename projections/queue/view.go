package queue

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
)

// Item is one thing of an order, with the event that caused it.
type Item struct {
	Kind  string // a word
	Event domain.EventID
}

// View is the projection and its reader. It is safe for concurrent use.
type View struct {
	reader  projections.Reader
	name    string
	version uint32
	items   func(*order.State) []Item
}

var _ projections.Bulk = (*View)(nil)

// New is the view with a bucket and a version as reader gives it; items are what
// an order has.
func New(reader projections.Reader, name string, version uint32, items func(*order.State) []Item) *View {
	return &View{reader: reader, name: name, version: version, items: items}
}

// Name is the view's bucket.
func (v *View) Name() string { return v.name }

// Version of what Apply writes.
func (v *View) Version() uint32 { return v.version }

// entry is an item as it is stored.
type entry struct {
	key      []byte
	revision uint64
}

// entries are an order's, whose history holds every event that they name.
func (v *View) entries(h *order.History, s *order.State) ([]entry, error) {
	if s == nil {
		return nil, nil
	}
	var out []entry
	for _, item := range v.items(s) {
		at, known := h.Recorded(item.Event)
		revision, _ := h.Event(item.Event)
		if !known {
			return nil, domain.Errorf(domain.Corrupt, "%s of %s: event %s is not in its history", v.name, h.OrderID(), item.Event)
		}
		out = append(out, entry{key: keyOf(s.Identity.Tenant, at, h.OrderID(), item), revision: revision})
	}
	return out, nil
}

// Apply takes out what was settled and puts in what came up.
func (v *View) Apply(b *kv.Bucket, changes []projections.Change) error {
	for i := range changes {
		c := &changes[i]
		before, err := v.entries(c.History, c.Before)
		if err != nil {
			return err
		}
		now, err := v.entries(c.History, c.State)
		if err != nil {
			return err
		}
		if err := move(b, before, now); err != nil {
			return fmt.Errorf("put %s of %s: %w", v.name, c.Order, err)
		}
	}
	return nil
}

// BuildEvents writes nothing: an item is of all the order's events.
func (v *View) BuildEvents(*kv.Bucket, []domain.Stored) error { return nil }

// BuildOrders hands on what each order has.
func (v *View) BuildOrders(_ *kv.Bucket, changes []projections.Change, put projections.Put) error {
	for i := range changes {
		entries, err := v.entries(changes[i].History, changes[i].State)
		if err != nil {
			return err
		}
		for n := range entries {
			if slices.ContainsFunc(entries[:n], func(e entry) bool { return bytes.Equal(e.key, entries[n].key) }) {
				continue
			}
			if err := put("", entries[n].key, binary.AppendUvarint(nil, entries[n].revision)); err != nil {
				return err
			}
		}
	}
	return nil
}

func move(b *kv.Bucket, before, now []entry) error {
	same := func(key []byte) func(entry) bool { return func(e entry) bool { return bytes.Equal(e.key, key) } }
	for _, e := range before {
		if slices.ContainsFunc(now, same(e.key)) {
			continue
		}
		if err := b.Delete(e.key); err != nil {
			return err
		}
	}
	for _, e := range now {
		if slices.ContainsFunc(before, same(e.key)) {
			continue
		}
		if err := b.Put(e.key, binary.AppendUvarint(nil, e.revision)); err != nil {
			return err
		}
	}
	return nil
}

const orderIDSize = 30

func keyOf(tenant domain.TenantID, at time.Time, id domain.OrderID, item Item) []byte {
	key := binary.BigEndian.AppendUint64(paging.TenantKey(tenant), uint64(at.UnixNano()))
	key = append(key, id...)
	key = append(key, item.Event...)
	key = append(key, '/')
	return append(key, item.Kind...)
}

// parse reads a key; false for one that is none.
func parse(key []byte) (tenant domain.TenantID, id domain.OrderID, item Item, ok bool) {
	if len(key) == 0 || len(key) < 1+int(key[0])+8+orderIDSize {
		return "", "", Item{}, false
	}
	tenant, rest := domain.TenantID(key[1:1+key[0]]), key[1+int(key[0])+8:]
	event, kind, ok := bytes.Cut(rest[orderIDSize:], []byte{'/'})
	return tenant, domain.OrderID(rest[:orderIDSize]), Item{Kind: string(kind), Event: domain.EventID(event)}, ok
}
