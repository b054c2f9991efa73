package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// isEncoded reports whether a Content-Encoding other than identity was applied.
func isEncoded(values []string) bool {
	for _, v := range values {
		if v = strings.TrimSpace(v); v != "" && !strings.EqualFold(v, "identity") {
			return true
		}
	}
	return false
}

// plainJSON is what is stored as the content type when none was sent.
const plainJSON = "application/json"

// jsonContentType is the content type to keep, and whether it is JSON's: none at
// all, application/json, text/json, or application/… with the suffix +json (RFC 6839).
func jsonContentType(values []string) (string, bool) {
	switch {
	case len(values) == 0:
		return plainJSON, true
	case len(values) > 1 || len(values[0]) > 256:
		return "", false
	case values[0] == plainJSON:
		return plainJSON, true
	}
	mediaType, _, _ := strings.Cut(values[0], ";")
	mediaType = strings.ToLower(strings.TrimSpace(mediaType))
	switch mediaType {
	case "":
		return plainJSON, true
	case plainJSON, "text/json":
		return values[0], true
	default:
		subtype, ok := strings.CutPrefix(mediaType, "application/")
		return values[0], ok && len(subtype) > len("+json") && strings.HasSuffix(subtype, "+json")
	}
}

var errTooLarge = errors.New("body too large")

// firstRead is how much is set aside for a body on its length's word alone.
const firstRead = 32 << 10

// readBody reads at most limit bytes. The error is errTooLarge, or the connection's.
func readBody(w http.ResponseWriter, r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		return nil, errTooLarge
	}
	if n := int(r.ContentLength); n >= 0 && n <= firstRead {
		body := make([]byte, n)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return nil, fmt.Errorf("read the body: %w", err)
		}
		return body, nil
	}
	// MaxBytesReader also has the connection closed after a body that is too
	// large, so that the rest of it is not read.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(limit)))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, errTooLarge
	}
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return body, nil
}
