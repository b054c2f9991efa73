package domain

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// OrderID names an order: "ord_" and 26 lower-case base32 characters, as
// "ord_3q7a5zk2v6w4mbd2xn5hjyqkcu". It is a pure function of the order's
// [Identity], so every instance computes the same one without asking.
type OrderID string

// EventID names an event: 26 lower-case base32 characters. It is a pure
// function of source, order, kind and idempotency key, so a message that comes
// twice names the same event twice.
type EventID string

// SourceID names one configured way in, as "loja-aprovei": [a-z0-9-]{1,40}.
type SourceID string

// SourceAPI is the source of facts that operators and services record through
// Comanda's own interface. No configured source has its name: the ids of their facts
// and of requests never meet.
const SourceAPI SourceID = "comanda-api"

// TenantID names a merchant, as "loja": [a-z0-9-]{1,40}.
type TenantID string

// orderPrefix tells an order id from every other id at a glance.
const orderPrefix = "ord_"

// idEncoding is lower-case unpadded base32 (RFC 4648, section 6, in lower case).
var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Identity is what makes an order that order: one charge at one provider for
// one tenant. Provider is the canonical name (vega is a shape of aprovei).
type Identity struct {
	Tenant          TenantID
	Provider        string
	Account         string
	ProviderOrderID string
}

// OrderID is the id of the order that i identifies.
func (i Identity) OrderID() OrderID {
	return OrderID(digestID(orderPrefix, string(i.Tenant), i.Provider, i.Account, i.ProviderOrderID))
}

// NewEventID is the id of the event for a fact of the given kind and
// idempotency key, received through source, about order. It holds order and
// kind because JetStream's dedupe is stream-wide and one body may hold several
// facts.
func NewEventID(source SourceID, order OrderID, kind Kind, key string) EventID {
	return EventID(digestID("", string(source), string(order), kind.String(), key))
}

// Slot is the order's slot, 0 to 255: the first byte of the SHA-256 of its id.
func (id OrderID) Slot() byte {
	return sha256Of(string(id))[0]
}

// Valid reports whether id has the form of an order id.
func (id OrderID) Valid() bool {
	rest, ok := strings.CutPrefix(string(id), orderPrefix)
	return ok && validDigestID(rest)
}

// Digest is what the characters of an order id encode, half as long; false when it
// has not the form of one.
func (id OrderID) Digest() (d [digestBytes]byte, ok bool) {
	rest, ok := strings.CutPrefix(string(id), orderPrefix)
	if !ok || len(rest) != digestSize {
		return d, false
	}
	n, err := idEncoding.Decode(d[:], []byte(rest))
	return d, err == nil && n == len(d) && OrderIDOf(d) == id // see validDigestID
}

// OrderIDOf is the order id with this digest.
func OrderIDOf(d [digestBytes]byte) OrderID {
	id := make([]byte, 0, len(orderPrefix)+digestSize)
	return OrderID(idEncoding.AppendEncode(append(id, orderPrefix...), d[:]))
}

// Valid reports whether id has the form of an event id.
func (id EventID) Valid() bool { return validDigestID(string(id)) }

// Valid reports whether id may stand in a path and a subject.
func (id SourceID) Valid() bool { return validName(string(id)) }

// Valid reports whether id may stand in a subject.
func (id TenantID) Valid() bool { return validName(string(id)) }

func validName(s string) bool {
	if len(s) < 1 || len(s) > 40 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

func validDigestID(s string) bool {
	decoded, err := idEncoding.DecodeString(s)
	// The last character carries 3 of its 5 bits; re-encoding refuses the
	// spellings that differ only in the other two.
	return err == nil && len(decoded) == 16 && idEncoding.EncodeToString(decoded) == s
}

// A digest has so many bytes, and characters.
const (
	digestBytes = 16
	digestSize  = 26
)

// digestID is prefix and base32(SHA-256(parts)[:16]), each part prefixed by its
// length as 8 bytes big-endian, so that no two lists of parts look alike.
func digestID(prefix string, parts ...string) string {
	buf := make([]byte, 0, 256) // on the stack, and enough for most
	for _, p := range parts {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	sum := sha256.Sum256(buf)
	id := make([]byte, 0, len(orderPrefix)+digestSize)
	return string(idEncoding.AppendEncode(append(id, prefix...), sum[:16]))
}

func sha256Of(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }
