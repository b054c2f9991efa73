package eventstore

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
)

// contentID is prefix and 26 characters that depend on the parts alone, each
// prefixed by its length, so that the same content has the same id.
func contentID(prefix string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(p)))
		h.Write(length[:])
		h.Write([]byte(p))
	}
	encoded := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:16])
	return prefix + strings.ToLower(encoded)
}

// validToken reports whether s may stand in a subject: words of [a-z0-9_-],
// with dots between.
func validToken(s string) bool {
	if s == "" || len(s) > 100 {
		return false
	}
	for word := range strings.SplitSeq(s, ".") {
		if word == "" || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			return false
		}
	}
	return true
}
