package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// maxCandidates bounds the tokens and signatures that one request may offer.
const maxCandidates = 8

// tokenVerifier compares digests, so that neither a token's bytes nor its
// length shows in the time taken.
type tokenVerifier struct {
	header  string // canonical; "" is none
	digests [][sha256.Size]byte
}

var _ verifier = (*tokenVerifier)(nil)

func newTokenVerifier(a *Auth) *tokenVerifier {
	v := &tokenVerifier{header: textproto.CanonicalMIMEHeaderKey(a.Header)}
	for _, t := range a.Tokens {
		v.digests = append(v.digests, sha256.Sum256([]byte(t.Reveal())))
	}
	return v
}

func (v *tokenVerifier) verify(r *http.Request, _ []byte, _ time.Time) bool {
	var buf [maxCandidates]string
	candidates := appendAuthorization(buf[:0], r.Header["Authorization"])
	if v.header != "" {
		candidates = append(candidates, r.Header[v.header]...)
	}
	candidates = appendQueryToken(candidates, r.URL.RawQuery)
	if len(candidates) == 0 {
		candidates = append(candidates, "") // the same work for nothing
	}
	ok := 0
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		sum := sha256.Sum256([]byte(c))
		for i := range v.digests {
			ok |= subtle.ConstantTimeCompare(sum[:], v.digests[i][:])
		}
	}
	return ok == 1
}

// appendAuthorization appends the tokens that Authorization headers may carry:
// a Bearer token (RFC 6750), or of HTTP Basic (RFC 7617) user:password, and the
// password, or the user name when there is no password.
func appendAuthorization(candidates, values []string) []string {
	for _, value := range values {
		scheme, rest, ok := strings.Cut(value, " ")
		if !ok {
			continue
		}
		rest = strings.TrimSpace(rest)
		switch {
		case strings.EqualFold(scheme, "Bearer"):
			candidates = append(candidates, rest)
		case strings.EqualFold(scheme, "Basic"):
			candidates = appendBasic(candidates, rest)
		}
	}
	return candidates
}

func appendBasic(candidates []string, encoded string) []string {
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return candidates
	}
	user, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return candidates
	}
	if password == "" {
		password = user
	}
	return append(candidates, string(decoded), password)
}

// appendQueryToken appends the values of token in a query. It reads the query
// itself: url.ParseQuery makes a map of everything that was sent.
func appendQueryToken(candidates []string, query string) []string {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		value, ok := strings.CutPrefix(pair, "token=")
		if !ok {
			continue
		}
		if token, err := url.QueryUnescape(value); err == nil {
			candidates = append(candidates, token)
		}
	}
	return candidates
}
