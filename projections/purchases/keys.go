package purchases

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/projections/paging"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Sizes of the parts of keys.
const (
	orderIDSize   = 30
	referenceSize = 16              // of a reference's digest
	placeSize     = 8 + orderIDSize // nanoseconds of the first recording, big-endian, and the order id
)

// keys are where an order stands in both buckets; nil: it is in no purchase.
type keys struct{ member, newest []byte }

func keysOf(tenant domain.TenantID, reference string, first time.Time, id domain.OrderID) keys {
	if reference == "" {
		return keys{}
	}
	var room [placeSize]byte
	place := append(binary.BigEndian.AppendUint64(room[:0], uint64(first.UnixNano())), id...)
	return keys{
		member: append(purchaseKey(tenant, reference), place...),
		newest: append(paging.TenantKey(tenant), place...),
	}
}

// former are k in the buckets of former references.
func (k keys) former() keys {
	return keys{member: k.member, newest: append(k.newest, digestIn(k.member)...)}
}

// keysOfRow are those of an order as the view of orders has it.
func keysOfRow(row *comandav1.Order) keys {
	return keysOf(domain.TenantID(row.GetTenant()), row.GetReference(), row.GetFirstRecordedAt().AsTime(), domain.OrderID(row.GetOrderId()))
}

// formerKeysOfRow are its former ones.
func formerKeysOfRow(row *comandav1.Order) []keys {
	out := make([]keys, len(row.GetFormerReferences()))
	for i, reference := range row.GetFormerReferences() {
		out[i] = keysOf(domain.TenantID(row.GetTenant()), reference, row.GetFirstRecordedAt().AsTime(), domain.OrderID(row.GetOrderId())).former()
	}
	return out
}

// purchaseKey begins the keys of a purchase's members. A reference is foreign text
// of any length: its digest stands for it.
func purchaseKey(tenant domain.TenantID, reference string) []byte {
	sum := sha256.Sum256([]byte(reference))
	return append(paging.TenantKey(tenant), sum[:referenceSize]...)
}

// memberOf is the key of a member whose key in newest is given, with the digest
// that is its value.
func memberOf(newest, digest []byte) []byte {
	at := len(newest) - placeSize
	return append(append(bytes.Clone(newest[:at]), digest...), newest[at:]...)
}

// wellFormed reports whether a key of newest can be read.
func wellFormed(newest, digest []byte) bool {
	return len(newest) > 0 && len(newest) == 1+int(newest[0])+placeSize && len(digest) == referenceSize
}

func tenantIn(key []byte) string { return string(key[1 : 1+key[0]]) }

func placeIn(key []byte) (first *timestamppb.Timestamp, id domain.OrderID) {
	place := key[len(key)-placeSize:]
	nanos := int64(binary.BigEndian.Uint64(place)) //nolint:gosec // as it was written
	return timestamppb.New(time.Unix(0, nanos)), domain.OrderID(place[8:])
}
