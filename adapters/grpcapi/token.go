package grpcapi

import (
	"encoding/base64"
	"encoding/binary"

	"comanda.internal/domain"
)

// A resume token is URL-safe base64 of a version byte, the log's epoch, its
// identity with its length before it, both numbers as varints, and the text of
// the position. A later version will add the filter's digest.
const (
	tokenVersion = 1
	// logEpoch is raised by a restore, which there is none of yet.
	logEpoch = 1
)

const tokenField = "resume_token"

// tokens makes and reads the resume tokens of one log.
type tokens struct{ prefix []byte }

func newTokens(identity string) tokens {
	prefix := binary.AppendUvarint([]byte{tokenVersion}, logEpoch)
	prefix = binary.AppendUvarint(prefix, uint64(len(identity)))
	return tokens{prefix: append(prefix, identity...)}
}

func (t tokens) at(position domain.Position) string {
	text := position.String()
	buf := make([]byte, 0, len(t.prefix)+len(text))
	buf = append(append(buf, t.prefix...), text...)
	return base64.RawURLEncoding.EncodeToString(buf)
}

// parse is the position of a token of this log. The error's kind is Invalid for
// a text that is no token, and Refused for the token of another log.
func (t tokens) parse(token string) (domain.Position, error) {
	buf, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(buf) == 0 || buf[0] != tokenVersion {
		return domain.Position{}, invalid(tokenField, "must be a token from a subscription to Comanda")
	}
	epoch, rest, ok := uvarint(buf[1:])
	if !ok {
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	size, rest, ok := uvarint(rest)
	if !ok || size > uint64(len(rest)) {
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	position, err := domain.ParsePosition(string(rest[size:]))
	if err != nil {
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	if mine := string(t.prefix); epoch != logEpoch || string(buf[:len(buf)-len(rest)+int(size)]) != mine { //nolint:gosec // at most len(rest)
		return domain.Position{}, precondition("LOG", tokenField, "is of another log; begin a new subscription")
	}
	return position, nil
}

func uvarint(buf []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(buf)
	if n <= 0 {
		return 0, nil, false
	}
	return v, buf[n:], true
}
