package purchases

import (
	"bytes"
	"fmt"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	name    = "purchases"
	version = 2
)

// The buckets below the view's own.
const (
	membersBucket = "members" // see keys.go: see member.go
	newestBucket  = "newest"  // see keys.go: digest of the reference

	formerBucket       = "former"        // key of a member: nothing
	formerNewestBucket = "former_newest" // key in newest, and digest of the reference: nothing
)

// View is the projection and its reader. It is safe for concurrent use.
type View struct{ reader projections.Reader }

var _ projections.Bulk = (*View)(nil)

// New is the view as reader gives it.
func New(reader projections.Reader) *View { return &View{reader: reader} }

// Name is the view's bucket.
func (v *View) Name() string { return name }

// Version of what Apply writes.
func (v *View) Version() uint32 { return version }

// put is a key's new value; nil deletes it.
type put struct{ key, value []byte }

// Apply writes the members that changed.
func (v *View) Apply(b *kv.Bucket, changes []projections.Change) error {
	w := writesOf(changes)
	for _, of := range w.buckets() {
		if err := apply(b.Bucket(of.bucket), of.puts); err != nil {
			return fmt.Errorf("put %s of purchases: %w", of.bucket, err)
		}
	}
	return nil
}

// BuildEvents writes nothing: a member is of all the order's events.
func (v *View) BuildEvents(*kv.Bucket, []domain.Stored) error { return nil }

// BuildOrders hands on the members.
func (v *View) BuildOrders(_ *kv.Bucket, changes []projections.Change, keep projections.Put) error {
	w := writesOf(changes)
	for _, of := range w.buckets() {
		for _, p := range of.puts {
			if err := keep(of.bucket, p.key, p.value); err != nil {
				return err
			}
		}
	}
	return nil
}

// writes are what changes do to each bucket.
type writes struct{ members, newest, former, formerNewest []put }

func writesOf(changes []projections.Change) *writes {
	w := new(writes)
	for i := range changes {
		w.member(&changes[i])
		w.formerly(&changes[i])
	}
	return w
}

// bucketPuts are what is put into one bucket.
type bucketPuts struct {
	bucket string
	puts   []put
}

func (w *writes) buckets() []bucketPuts {
	return []bucketPuts{{formerBucket, w.former}, {formerNewestBucket, w.formerNewest}, {membersBucket, w.members}, {newestBucket, w.newest}}
}

// member moves an order to where it is now.
func (w *writes) member(c *projections.Change) {
	old, oldValue := memberOfState(c.Order, c.Before)
	now, value := memberOfState(c.Order, c.State)
	moved := !bytes.Equal(old.member, now.member)
	if moved && old.member != nil {
		w.members = append(w.members, put{key: old.member})
	}
	if now.member != nil && (moved || !bytes.Equal(oldValue, value)) {
		w.members = append(w.members, put{now.member, value})
	}
	if moved && now.member == nil {
		w.newest = append(w.newest, put{key: old.newest})
	}
	if moved && now.member != nil {
		w.newest = append(w.newest, put{now.newest, digestIn(now.member)})
	}
}

// formerly writes the references that an order had.
func (w *writes) formerly(c *projections.Change) {
	for _, k := range formerKeys(c.Order, c.Before) {
		w.former, w.formerNewest = append(w.former, put{key: k.member}), append(w.formerNewest, put{key: k.newest})
	}
	for _, k := range formerKeys(c.Order, c.State) {
		w.former, w.formerNewest = append(w.former, put{k.member, []byte{}}), append(w.formerNewest, put{k.newest, []byte{}})
	}
}

// memberOfState is the member of an order; no keys when it is in no purchase.
func memberOfState(id domain.OrderID, s *order.State) (keys, []byte) {
	if s == nil || s.Reference == "" {
		return keys{}, nil
	}
	return keysOf(s.Identity.Tenant, s.Reference, s.FirstRecordedAt, id), encode(s)
}

// formerKeys are where an order stands in the buckets of former references, whose
// keys in newest end with the digest.
func formerKeys(id domain.OrderID, s *order.State) []keys {
	if s == nil || len(s.FormerReferences) == 0 {
		return nil
	}
	out := make([]keys, len(s.FormerReferences))
	for i, reference := range s.FormerReferences {
		out[i] = keysOf(s.Identity.Tenant, reference, s.FirstRecordedAt, id).former()
	}
	return out
}

func digestIn(member []byte) []byte {
	return member[len(member)-placeSize-referenceSize:][:referenceSize]
}

// apply makes the changes in the order of keys, which touches every page once; of
// those of one key the last one holds.
func apply(b *kv.Bucket, puts []put) error {
	slices.SortStableFunc(puts, func(x, y put) int { return bytes.Compare(x.key, y.key) })
	for _, p := range puts {
		var err error
		if p.value == nil {
			err = b.Delete(p.key)
		} else {
			err = b.Put(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Get is the purchase of a reference, with its orders; false when no order has it.
func (v *View) Get(tenant domain.TenantID, reference string) (*comandav1.Purchase, bool, error) {
	var r rollup
	err := v.reader.View(func(tx *kv.Tx) error {
		b := tx.Bucket(name)
		_, err := r.read(b.Bucket(membersBucket).Cursor(), purchaseKey(tenant, reference))
		return err
	})
	return r.purchase, r.purchase != nil && err == nil, err
}

// read adds every member of a purchase, and answers how many there are.
func (r *rollup) read(c *kv.Cursor, purchase []byte) (n int, err error) {
	for k, value := paging.Last(c, purchase); bytes.HasPrefix(k, purchase); k, value = c.Prev() {
		if err := r.add(k, value); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
