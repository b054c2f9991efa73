package webhook

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // platforms sign with HMAC-SHA1, which collisions do not break
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hmacVerifier checks a keyed hash of a template in a header. Several values
// of the header, and a "sha256=" before each, are accepted.
type hmacVerifier struct {
	header          string // canonical
	timestampHeader string // canonical; "" is none
	tolerance       time.Duration
	prefix          string // the hash's name and "="
	decode          func(string) ([]byte, error)
	template        []segment
	keys            []*sync.Pool // of hash.Hash, one pool a secret
}

var _ verifier = (*hmacVerifier)(nil)

func newHMACVerifier(a *Auth) (*hmacVerifier, error) {
	template, err := parseTemplate(a.Template)
	if err != nil {
		return nil, err
	}
	v := &hmacVerifier{
		header:          textproto.CanonicalMIMEHeaderKey(a.Header),
		timestampHeader: textproto.CanonicalMIMEHeaderKey(a.TimestampHeader),
		tolerance:       a.Tolerance,
		prefix:          a.Hash + "=",
		decode:          decodeHex,
		template:        template,
	}
	if a.Encoding == "base64" {
		v.decode = decodeBase64
	}
	for _, s := range a.Secrets {
		v.keys = append(v.keys, macPool(newHash(a.Hash), []byte(s.Reveal())))
	}
	return v, nil
}

// macPool keeps keyed hashes: keying one costs more than hashing a small body.
func macPool(newHash func() hash.Hash, key []byte) *sync.Pool {
	return &sync.Pool{New: func() any { return hmac.New(newHash, key) }}
}

// newHash is the hash of a configuration's name; nil when there is none.
func newHash(name string) func() hash.Hash {
	switch name {
	case "sha256":
		return sha256.New
	case "sha1":
		return sha1.New
	case "sha512":
		return sha512.New
	default:
		return nil
	}
}

func (v *hmacVerifier) verify(r *http.Request, body []byte, now time.Time) bool {
	timestamp, fresh := "", true
	if v.timestampHeader != "" {
		timestamp = r.Header.Get(v.timestampHeader)
		fresh = freshUnix(timestamp, now, v.tolerance)
	}
	signatures := r.Header[v.header]
	signatures = signatures[:min(len(signatures), maxCandidates)]
	ok := false
	for _, pool := range v.keys {
		var buf [sha512.Size]byte
		mac := pool.Get().(hash.Hash)
		sum := sumTemplate(mac, v.template, timestamp, body, buf[:0])
		pool.Put(mac)
		for _, s := range signatures {
			given, err := v.decode(strings.TrimPrefix(strings.TrimSpace(s), v.prefix))
			ok = err == nil && hmac.Equal(given, sum) || ok
		}
	}
	return ok && fresh
}

func sumTemplate(mac hash.Hash, template []segment, timestamp string, body, into []byte) []byte {
	mac.Reset()
	for i := range template {
		switch s := &template[i]; s.kind {
		case segmentBody:
			mac.Write(body)
		case segmentTimestamp:
			mac.Write([]byte(timestamp))
		case segmentText:
			mac.Write(s.text)
		}
	}
	return mac.Sum(into)
}

func decodeHex(s string) ([]byte, error) { return hex.DecodeString(s) }

// decodeBase64 reads both alphabets, padded or not.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "-_") {
		return base64.RawURLEncoding.DecodeString(s)
	}
	return base64.RawStdEncoding.DecodeString(s)
}

// freshUnix reports whether text is a Unix time in seconds, or milliseconds,
// within tolerance of now.
func freshUnix(text string, now time.Time, tolerance time.Duration) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > maxMillis {
		return false
	}
	at := time.Unix(n, 0)
	if n >= firstMillis {
		at = time.UnixMilli(n)
	}
	return now.Sub(at).Abs() <= tolerance
}

// As seconds firstMillis is the year 5138, as milliseconds 1973; maxMillis is 5138.
const (
	firstMillis = 100_000_000_000
	maxMillis   = 100_000_000_000_000
)

// segment is a piece of a template.
type segment struct {
	kind segmentKind
	text []byte // of segmentText
}

type segmentKind uint8

const (
	segmentText segmentKind = iota
	segmentBody
	segmentTimestamp
)

var errNoBody = errors.New("has no {body}, so the signature would hold for any body")

// parseTemplate reads text with {body} and {timestamp} in it. No other braces
// are allowed, so that a misspelt name is a mistake and not text.
func parseTemplate(text string) ([]segment, error) {
	var template []segment
	hasBody := false
	for text != "" {
		open := strings.IndexAny(text, "{}")
		if open < 0 {
			open = len(text)
		}
		if open > 0 {
			template = append(template, segment{kind: segmentText, text: []byte(text[:open])})
			text = text[open:]
			continue
		}
		if rest, ok := strings.CutPrefix(text, "{body}"); ok {
			template, text, hasBody = append(template, segment{kind: segmentBody}), rest, true
			continue
		}
		rest, ok := strings.CutPrefix(text, "{timestamp}")
		if !ok {
			return nil, fmt.Errorf("%q: only {body} and {timestamp} may stand in braces", text)
		}
		template, text = append(template, segment{kind: segmentTimestamp}), rest
	}
	if !hasBody {
		return nil, errNoBody
	}
	return template, nil
}
