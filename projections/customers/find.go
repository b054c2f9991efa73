package customers

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// mostOrders bounds the orders of one look-up.
const mostOrders = 5_000

// Orders are the orders of a tenant, or of all for "", to whose customer any of the names
// was ever given, by id. The error's kind is Unavailable before Ready, and Refused when
// there are more than 5,000.
func (x *Index) Orders(ctx context.Context, tenant domain.TenantID, names []Name) ([]domain.OrderID, error) {
	if err := x.made(); err != nil {
		return nil, err
	}
	keys := map[domain.OrderID]string{} // of the orders that were found
	err := x.survive(func(db *kv.DB) error {
		return db.View(func(tx *kv.Tx) error {
			entries := tx.Bucket(entriesBucket)
			ids, tenants := x.subjects(), []domain.TenantID{tenant}
			if tenant == "" {
				tenants = tenantsIn(entries)
			}
			for _, t := range tenants {
				for _, n := range names {
					if err := find(entries, prefix(t, ids.of(t, n)), keys); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look up a customer: %w", err)
	}
	return x.held(ctx, keys)
}

// Written tells one look-up from another, to whoever has the key only.
func (x *Index) Written(names []Name) string {
	ids := x.subjects()
	var written []byte
	for _, n := range names {
		subject := ids.of("", n)
		written = append(written, subject[:]...)
	}
	return string(written)
}

func find(entries *kv.Bucket, prefix []byte, keys map[domain.OrderID]string) error {
	c := entries.Cursor()
	for k, v := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, v = c.Next() {
		if keys[domain.OrderID(k[len(prefix):])] = string(v); len(keys) > mostOrders {
			return domain.Errorf(domain.Refused, "this customer has more than %d orders", mostOrders)
		}
	}
	return nil
}

// held are the orders whose data key is still there.
func (x *Index) held(ctx context.Context, keys map[domain.OrderID]string) ([]domain.OrderID, error) {
	ids := slices.Sorted(maps.Values(keys))
	if ids = slices.Compact(ids); len(ids) > 0 && ids[0] == "" {
		ids = ids[1:]
	}
	held, err := x.deps.Vault.Held(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up a customer: %w", err)
	}
	maps.DeleteFunc(keys, func(_ domain.OrderID, key string) bool { return key != "" && !held[key] })
	return slices.Sorted(maps.Keys(keys)), nil
}

// prefix begins the keys of a person's entries, and has room for an order id.
func prefix(tenant domain.TenantID, subject [subjectSize]byte) []byte {
	key := append(make([]byte, 0, 1+len(tenant)+subjectSize+orderIDSize), byte(len(tenant))) //nolint:gosec // a tenant id has at most 40 bytes
	return append(append(key, tenant...), subject[:]...)
}

// orderIDSize is the length of every order id.
const orderIDSize = 30

// tenantsIn are the tenants that have entries.
func tenantsIn(entries *kv.Bucket) []domain.TenantID {
	var tenants []domain.TenantID
	c := entries.Cursor()
	for key, _ := c.First(); len(key) > 0 && len(key) > int(key[0]); {
		head := slices.Clone(key[:1+key[0]])
		tenants = append(tenants, domain.TenantID(head[1:]))
		key, _ = c.Seek(append(head, bytes.Repeat([]byte{0xff}, subjectSize+1)...))
	}
	return tenants
}
