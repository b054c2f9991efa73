package httpsink

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"comanda.internal/domain"
)

// The names of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com).
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"

	secretPrefix    = "whsec_"
	signaturePrefix = "v1,"

	leastSecret, mostSecret = 24, 64 // bytes, by the standard
)

// Key is the bytes of one signing secret. It does not print.
type Key struct{ bytes []byte }

// String hides the key.
func (Key) String() string { return "***" }

// GoString hides the key from %#v.
func (Key) GoString() string { return "***" }

// ParseKey reads a secret: "whsec_" and 24 to 64 bytes in base64. The error does
// not repeat it.
func ParseKey(secret domain.Secret) (Key, error) {
	text, ok := strings.CutPrefix(secret.Reveal(), secretPrefix)
	if !ok {
		return Key{}, domain.Errorf(domain.Invalid, "secrets: a secret does not begin with %s", secretPrefix)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Key{}, domain.Errorf(domain.Invalid, "secrets: a secret is not base64 after %s", secretPrefix)
	}
	if len(raw) < leastSecret || len(raw) > mostSecret {
		return Key{}, domain.Errorf(domain.Invalid, "secrets: a secret has %d bytes; %d to %d are allowed", len(raw), leastSecret, mostSecret)
	}
	return Key{bytes: raw}, nil
}

// Sign is the webhook-signature: one signature for each key, in their order.
func Sign(keys []Key, id string, at time.Time, body []byte) string {
	signatures := make([]string, len(keys))
	for i, k := range keys {
		mac := hmac.New(sha256.New, k.bytes)
		mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + "."))
		mac.Write(body)
		signatures[i] = signaturePrefix + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(signatures, " ")
}
