package provider

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

// InferredKeyPart is the last part of the key of a fact that the codec
// concluded from another's body.
const InferredKeyPart = "inferred"

// Key joins the parts of an idempotency key with "|"; a "|" or "\" inside a part
// is escaped with "\", so that no two lists of parts make one key.
func Key(parts ...string) string {
	size := len(parts)
	for _, p := range parts {
		size += len(p)
	}
	var b strings.Builder
	b.Grow(size)
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('|')
		}
		if strings.ContainsAny(p, `|\`) {
			p = keyEscaper.Replace(p)
		}
		b.WriteString(p)
	}
	return b.String()
}

var keyEscaper = strings.NewReplacer(`\`, `\\`, `|`, `\|`)

// KeyTime is a date as it stands in a key: UTC, RFC 3339; "" for the zero time.
func KeyTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// BodyHash is the SHA-256 of a body in hex, for platforms whose messages have
// neither id nor date.
func BodyHash(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}
