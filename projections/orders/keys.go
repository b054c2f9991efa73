package orders

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// orderIDSize is the length of every order id, which ends every index key.
const orderIDSize = 30

// placeSize is what follows the prefix of an index key: the time of recording as
// eight bytes of nanoseconds, big-endian, and the order id.
const placeSize = 8 + orderIDSize

// place is where an order stands in its range of an index.
type place [placeSize]byte

func placeOf(row *comandav1.Order) place { return placeAt(row.GetRecordedAt(), row.GetOrderId()) }

// firstPlaceOf never changes.
func firstPlaceOf(row *comandav1.Order) place {
	return placeAt(row.GetFirstRecordedAt(), row.GetOrderId())
}

func placeAt(at *timestamppb.Timestamp, id string) place {
	nanos := at.GetSeconds()*1e9 + int64(at.GetNanos())
	return placeOfNanos(uint64(nanos), id) //nolint:gosec // recorded after 1970
}

func placeOfNanos(nanos uint64, id string) place {
	var p place
	binary.BigEndian.PutUint64(p[:8], nanos)
	copy(p[8:], id)
	return p
}

// placeFrom is the first place of what is recorded at a time.
func placeFrom(at time.Time) *place {
	nanos := uint64(math.MaxUint64) // after what a place can say
	switch {
	case at.Before(time.Unix(0, 0)):
		nanos = 0
	case at.Before(time.Unix(0, math.MaxInt64)):
		nanos = uint64(at.UnixNano())
	}
	p := placeOfNanos(nanos, "")
	return &p
}

func (p place) orderID() domain.OrderID { return domain.OrderID(p[8:]) }

// longestPrefix is what follows the tenant in a prefix at most: the length of a
// source id and the id.
const longestPrefix = 1 + 40

// tenantPrefix begins the keys of tenant in every index, and has room for more of a prefix
// and a place.
func tenantPrefix(tenant string, more int) []byte {
	key := append(make([]byte, 0, 1+len(tenant)+more+placeSize), byte(len(tenant))) //nolint:gosec // a tenant id has at most 40 bytes
	return append(key, tenant...)
}

// statusPrefix begins the keys of a tenant's orders in one status.
func statusPrefix(tenant string, status comandav1.OrderStatus) []byte {
	return append(tenantPrefix(tenant, 1), byte(status)) //nolint:gosec // a small enum
}

// digestPrefix begins the keys of a tenant's orders with one reference, or one
// provider order id, which are foreign text of any length: its digest stands for it.
func digestPrefix(tenant, text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return append(tenantPrefix(tenant, 16), sum[:16]...)
}

// sourcePrefix begins the keys of a tenant's orders of one source.
func sourcePrefix(tenant, source string) []byte {
	return append(append(tenantPrefix(tenant, 1+len(source)), byte(len(source))), source...) //nolint:gosec // a source id has at most 40 bytes
}

// keyed makes of an order's state what keys of indexes are made of, and no more, in one
// message after the other.
type keyed struct {
	of              comandav1.Order
	recorded, first timestamppb.Timestamp
}

// row is valid until the next call.
func (k *keyed) row(id domain.OrderID, s *order.State) *comandav1.Order {
	row := &k.of
	row.OrderId, row.Tenant, row.Source = string(id), string(s.Identity.Tenant), string(s.Source)
	row.Reference, row.ProviderOrderId, row.Status = s.Reference, s.Identity.ProviderOrderID, wire.Status(s.Status)
	row.RecordedAt, row.FirstRecordedAt = setTime(&k.recorded, s.RecordedAt), setTime(&k.first, s.FirstRecordedAt)
	row.Conflicts, row.Attention = wire.EventIDs(s.Conflicts), attention(s.Attention)
	return row
}

// setTime is [wire.Time] in a message that is there.
func setTime(in *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	in.Seconds, in.Nanos = t.Unix(), int32(t.Nanosecond()) //nolint:gosec // below a second
	return in
}

// index is one way to find orders.
type index struct {
	name   string
	bucket string
	// key is a row's; nil is no entry.
	key func(row *comandav1.Order) []byte
}

// The indexes. Their buckets have keys only: see the package's documentation.
var indexes = []index{
	{"status", "by_status", func(row *comandav1.Order) []byte {
		return withPlace(statusPrefix(row.GetTenant(), row.GetStatus()), placeOf(row))
	}},
	{"reference", "by_reference", func(row *comandav1.Order) []byte {
		if row.GetReference() == "" {
			return nil
		}
		return withPlace(digestPrefix(row.GetTenant(), row.GetReference()), placeOf(row))
	}},
	{"source", "by_source", func(row *comandav1.Order) []byte {
		return withPlace(sourcePrefix(row.GetTenant(), row.GetSource()), placeOf(row))
	}},
	{"provider order id", "by_provider_order_id", func(row *comandav1.Order) []byte {
		return withPlace(digestPrefix(row.GetTenant(), row.GetProviderOrderId()), firstPlaceOf(row))
	}},
	{"attention", "by_attention", func(row *comandav1.Order) []byte {
		if !attended(row) {
			return nil
		}
		return withPlace(tenantPrefix(row.GetTenant(), 0), placeOf(row))
	}},
	{"first recording", "by_first", func(row *comandav1.Order) []byte {
		return withPlace(tenantPrefix(row.GetTenant(), 0), firstPlaceOf(row))
	}},
}

// Places in indexes.
const (
	indexStatus = iota
	indexReference
	indexSource
	indexProviderOrderID
	indexAttention
	indexFirst
)

func withPlace(prefix []byte, p place) []byte { return append(prefix, p[:]...) }

// attended reports whether an operator should see the order.
func attended(row *comandav1.Order) bool {
	return len(row.GetAttention()) > 0 || len(row.GetConflicts()) > 0
}
