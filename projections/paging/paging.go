// Package paging reads an index of a view backwards, page by page: the keys of
// tenants, the last key of a range, and the token that stands for where a page ended.
//
// A token is URL-safe base64 of a version byte, a digest of the request's filter and
// the key that was looked at last. It is bound to its filter and holds nothing
// but a key of the view.
package paging

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

const (
	tokenVersion = 1
	digestSize   = 16
)

// Token is what continues after the key last a list whose filter is written so.
func Token(filter, last []byte) string {
	return base64.RawURLEncoding.EncodeToString(slices.Concat([]byte{tokenVersion}, digest(filter), last))
}

// Before is the key before which the page of a token begins; nil is the newest.
// The error's kind is Invalid for a token of another filter.
func Before(filter []byte, token string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	decoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(decoded) <= 1+digestSize || decoded[0] != tokenVersion {
		return nil, badToken("not a page token that Comanda gave out")
	}
	if !bytes.Equal(decoded[1:1+digestSize], digest(filter)) {
		return nil, badToken("it is of another request: all but page_size must be the same for every page")
	}
	return decoded[1+digestSize:], nil
}

func badToken(why string) error {
	err := domain.Errorf(domain.Invalid, "page_token: %s", why)
	err.Fields = map[string][]string{"page_token": {why}}
	return err
}

func digest(filter []byte) []byte {
	sum := sha256.Sum256(filter)
	return sum[:digestSize]
}

// TenantKey begins the keys of a tenant: its length and itself. It has room for most keys.
func TenantKey(tenant domain.TenantID) []byte {
	key := append(make([]byte, 0, 1+len(tenant)+keyRoom), byte(len(tenant))) //nolint:gosec // a tenant id has at most 40 bytes
	return append(key, tenant...)
}

// keyRoom is for a digest, a time and an order id.
const keyRoom = 16 + 8 + 30

// Tenants are those of a list that is of one tenant, "": of any, and of none but
// those of within, nil: of any; the one with the greatest key first. It must not be
// asked of a list that is of all.
func Tenants(tenant domain.TenantID, within []domain.TenantID) []domain.TenantID {
	if tenant == "" {
		tenants := slices.Clone(within)
		slices.SortFunc(tenants, func(a, b domain.TenantID) int { return bytes.Compare(TenantKey(b), TenantKey(a)) })
		return slices.Compact(tenants)
	}
	if within != nil && !slices.Contains(within, tenant) {
		return nil
	}
	return []domain.TenantID{tenant}
}

// Range is the keys with a prefix that are below Before; nil: all of them.
type Range struct{ Prefix, Before []byte }

// Ranges are what a page reads that begins before a key, nil: at the newest, of the
// tenants of [Tenants] or, with neither, of all; in the order in which it reads them.
func Ranges(tenant domain.TenantID, within []domain.TenantID, before []byte) []Range {
	if tenant == "" && within == nil {
		return []Range{{Before: before}}
	}
	var out []Range
	for _, tenant := range Tenants(tenant, within) {
		switch prefix := TenantKey(tenant); {
		case before == nil || bytes.HasPrefix(before, prefix):
			out = append(out, Range{Prefix: prefix, Before: before})
		case bytes.Compare(prefix, before) < 0:
			out = append(out, Range{Prefix: prefix})
		}
	}
	return out
}

// Start goes to the last key before one, or, when that is nil, to the last that
// begins with prefix or is before all such.
func Start(c *kv.Cursor, prefix, before []byte) (key, value []byte) {
	if before == nil {
		return Last(c, prefix)
	}
	if key, _ := c.Seek(before); key != nil {
		return c.Prev()
	}
	return c.Last()
}

// Last goes to the last key that begins with prefix or is before all such. No key
// may go on with more than 256 bytes of 0xff.
func Last(c *kv.Cursor, prefix []byte) (key, value []byte) {
	if len(prefix) == 0 {
		return c.Last()
	}
	if key, _ := c.Seek(append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 257)...)); key != nil {
		return c.Prev()
	}
	return c.Last()
}
