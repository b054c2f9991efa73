package customers

import (
	"context"
	"strings"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// entries goes through the entries, and finds those that the log did not give.
func (c *check) entries(ctx context.Context, tx *kv.Tx) error {
	var strange []claim
	settle := func() error {
		left, err := c.hold(ctx, strange)
		c.proof.LeftOver += left
		strange = strange[:0]
		return err
	}
	cursor, n := tx.Bucket(entriesBucket).Cursor(), 0
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if n++; n%checkAtOnce == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := c.derived[c.digest(k)]; ok {
			continue
		}
		if strange = append(strange, strangeEntry(k, v)); len(strange) == checkAtOnce {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

// strangeEntry is one that the log did not give. Only one that is whole may be left over.
func strangeEntry(k, v []byte) claim {
	id, whole := orderOf(k)
	if !whole {
		return claim{Problem: Problem{Rule: Extra, Detail: "the customer index has an entry that is none"}}
	}
	p := Problem{Rule: Extra, OrderID: id, Detail: "the customer index has an entry of this order that the log does not give"}
	if strings.Trim(string(v), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		p.Detail = "the customer index has an entry of this order that names no data key"
		return claim{Problem: p}
	}
	return claim{p, string(v)}
}

// orderOf is the order id in an entry's key.
func orderOf(key []byte) (id domain.OrderID, ok bool) {
	if len(key) == 0 || len(key) < 1+int(key[0])+subjectSize {
		return "", false
	}
	if id = domain.OrderID(key[1+int(key[0])+subjectSize:]); !id.Valid() {
		return "", false
	}
	return id, true
}
