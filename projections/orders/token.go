package orders

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"comanda.internal/domain"
)

// A page token is URL-safe base64 of a version byte, a digest of the filter and
// the place of the last order that was looked at.
const (
	tokenVersion = 1
	digestSize   = 16
	tokenSize    = 1 + digestSize + placeSize
)

// newToken ends a page of what bound tells from other lists.
func newToken(bound [digestSize]byte, last place) string {
	token := append([]byte{tokenVersion}, bound[:]...)
	return base64.RawURLEncoding.EncodeToString(append(token, last[:]...))
}

// parseToken is the place before which the page begins; nil is the newest order.
func parseToken(token string, bound [digestSize]byte) (*place, error) {
	if token == "" {
		return nil, nil //nolint:nilnil // the first page has no place
	}
	decoded, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(decoded) != tokenSize || decoded[0] != tokenVersion {
		return nil, badToken("not a page token that Comanda gave out")
	}
	if [digestSize]byte(decoded[1:1+digestSize]) != bound {
		return nil, badToken("it is of another request: all but page_size must be the same for every page")
	}
	p := place(decoded[1+digestSize:])
	return &p, nil
}

func badToken(why string) error {
	err := domain.Errorf(domain.Invalid, "page_token: %s", why)
	err.Fields = map[string][]string{"page_token": {why}}
	return err
}

// bound tells filters, and pasts, apart. Statuses must be sorted and without repeats.
func (f *Filter) bound(past string) [digestSize]byte {
	var buf []byte
	for _, part := range []string{string(f.Tenant), f.Reference, string(f.Source), f.ProviderOrderID, past, f.Written} {
		buf = binary.BigEndian.AppendUint64(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	if f.Among != nil {
		buf = binary.BigEndian.AppendUint64(append(buf, 0xfe), uint64(len(f.Among.Written)))
		buf = append(buf, f.Among.Written...)
	}
	buf = append(buf, byte(f.Sort.By), flag(f.Sort.Ascending), flag(f.Attention))
	for _, at := range []time.Time{f.Recorded.From, f.Recorded.Before, f.First.From, f.First.Before} {
		buf = binary.BigEndian.AppendUint64(buf, uint64(at.Unix()))       //nolint:gosec // bits to be hashed
		buf = binary.BigEndian.AppendUint32(buf, uint32(at.Nanosecond())) //nolint:gosec // below a billion
	}
	for _, s := range f.Statuses {
		buf = append(buf, byte(s))
	}
	sum := sha256.Sum256(buf)
	return [digestSize]byte(sum[:digestSize])
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
