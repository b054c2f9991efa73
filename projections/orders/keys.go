package orders

import (
	"crypto/sha256"
	"encoding/binary"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// orderIDSize is the length of every order id, which ends every index key.
const orderIDSize = 30

// placeSize is what follows the prefix of an index key: the time of recording as
// eight bytes of nanoseconds, big-endian, and the order id.
const placeSize = 8 + orderIDSize

// place is where an order stands in its range of an index.
type place [placeSize]byte

func placeOf(row *comandav1.Order) place {
	var p place
	at := row.GetRecordedAt()
	nanos := at.GetSeconds()*1e9 + int64(at.GetNanos())
	binary.BigEndian.PutUint64(p[:8], uint64(nanos)) //nolint:gosec // recorded after 1970
	copy(p[8:], row.GetOrderId())
	return p
}

func (p place) orderID() domain.OrderID { return domain.OrderID(p[8:]) }

// tenantPrefix begins the keys of tenant in every index.
func tenantPrefix(tenant string) []byte {
	return append([]byte{byte(len(tenant))}, tenant...) //nolint:gosec // a tenant id has at most 40 bytes
}

// statusPrefix begins the keys of a tenant's orders in one status.
func statusPrefix(tenant string, status comandav1.OrderStatus) []byte {
	return append(tenantPrefix(tenant), byte(status)) //nolint:gosec // a small enum
}

// referencePrefix begins the keys of a tenant's orders with one reference,
// which is foreign text of any length: its digest stands for it.
func referencePrefix(tenant, reference string) []byte {
	sum := sha256.Sum256([]byte(reference))
	return append(tenantPrefix(tenant), sum[:16]...)
}

// indexKeys are the keys of a row, by index. A nil key is no entry.
func indexKeys(row *comandav1.Order) (status, reference []byte) {
	p := placeOf(row)
	status = append(statusPrefix(row.GetTenant(), row.GetStatus()), p[:]...)
	if row.GetReference() != "" {
		reference = append(referencePrefix(row.GetTenant(), row.GetReference()), p[:]...)
	}
	return status, reference
}
