package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"sync"
	"time"

	"comanda.internal/domain"
)

// standardVerifier checks a signature by Standard Webhooks
// (github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md): what is
// signed is "<webhook-id>.<webhook-timestamp>.<body>", and webhook-signature
// lists signatures by version, with spaces between.
type standardVerifier struct {
	tolerance time.Duration
	keys      []standardKey
}

var _ verifier = (*standardVerifier)(nil)

// standardKey is one live secret: symmetric (v1), or public (v1a).
type standardKey struct {
	macs   *sync.Pool // nil for v1a
	public ed25519.PublicKey
}

func newStandardVerifier(a *Auth) (*standardVerifier, error) {
	v := &standardVerifier{tolerance: a.Tolerance}
	for _, s := range a.Secrets {
		key, err := parseStandardKey(s)
		if err != nil {
			return nil, err
		}
		v.keys = append(v.keys, key)
	}
	return v, nil
}

// The prefixes of secrets; a symmetric one may come without.
const (
	symmetricPrefix = "whsec_"
	publicPrefix    = "whpk_"
	privatePrefix   = "whsk_"
)

var (
	errNotBase64  = errors.New("want whsec_ or whpk_ and base64")
	errPrivateKey = errors.New("is a private key; we need its public one, whpk_…")
	errShortKey   = errors.New("a symmetric secret has 24 to 64 bytes")
)

// The specification's bounds for symmetric secrets, in bytes.
const minSymmetric, maxSymmetric = 24, 64

// parseStandardKey reads a secret. The error never quotes it.
func parseStandardKey(s domain.Secret) (standardKey, error) {
	text := s.Reveal()
	if strings.HasPrefix(text, privatePrefix) {
		return standardKey{}, errPrivateKey
	}
	encoded, isPublic := strings.CutPrefix(text, publicPrefix)
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(encoded, symmetricPrefix))
	if err != nil {
		return standardKey{}, errNotBase64
	}
	if isPublic {
		if len(raw) != ed25519.PublicKeySize {
			return standardKey{}, fmt.Errorf("a public key has %d bytes", ed25519.PublicKeySize)
		}
		return standardKey{public: raw}, nil
	}
	if len(raw) < minSymmetric || len(raw) > maxSymmetric {
		return standardKey{}, errShortKey
	}
	return standardKey{macs: macPool(sha256.New, raw)}, nil
}

func (v *standardVerifier) verify(r *http.Request, body []byte, now time.Time) bool {
	id, timestamp := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
	fresh := freshSeconds(timestamp, now, v.tolerance)
	var buf [maxCandidates]string
	signatures := appendFields(buf[:0], r.Header.Get("Webhook-Signature"))
	ok := false
	for i := range v.keys {
		ok = v.keys[i].verify(id, timestamp, body, signatures) || ok
	}
	return ok && fresh && id != ""
}

// freshSeconds is freshUnix for seconds alone, as the specification has it.
func freshSeconds(text string, now time.Time, tolerance time.Duration) bool {
	return len(text) < len("100000000000") && freshUnix(text, now, tolerance)
}

// appendFields appends the first words of list, as many as there is room for.
func appendFields(words []string, list string) []string {
	for word := range strings.FieldsSeq(list) {
		if len(words) == cap(words) {
			break
		}
		words = append(words, word)
	}
	return words
}

func (k *standardKey) verify(id, timestamp string, body []byte, signatures []string) bool {
	if k.macs == nil {
		return k.verifyPublic(id, timestamp, body, signatures)
	}
	mac := k.macs.Get().(hash.Hash)
	defer k.macs.Put(mac)
	mac.Reset()
	mac.Write([]byte(id))
	mac.Write([]byte{'.'})
	mac.Write([]byte(timestamp))
	mac.Write([]byte{'.'})
	mac.Write(body)
	var buf [sha256.Size]byte
	sum := mac.Sum(buf[:0])
	ok := false
	for _, s := range signatures {
		given, found := signatureOf(s, "v1,")
		ok = found && hmac.Equal(given, sum) || ok
	}
	return ok
}

// verifyPublic needs no constant time: nothing in it is secret.
func (k *standardKey) verifyPublic(id, timestamp string, body []byte, signatures []string) bool {
	content := make([]byte, 0, len(id)+len(timestamp)+len(body)+2)
	content = append(content, id...)
	content = append(content, '.')
	content = append(content, timestamp...)
	content = append(content, '.')
	content = append(content, body...)
	ok := false
	for _, s := range signatures {
		given, found := signatureOf(s, "v1a,")
		ok = found && ed25519.Verify(k.public, content, given) || ok
	}
	return ok
}

// signatureOf is the bytes of one listed signature of a version.
func signatureOf(word, version string) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(word, version)
	if !ok {
		return nil, false
	}
	given, err := base64.StdEncoding.DecodeString(encoded)
	return given, err == nil
}
