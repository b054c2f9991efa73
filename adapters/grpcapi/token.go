package grpcapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"comanda.internal/domain"
)

// A resume token is URL-safe base64 of a version byte, the log's epoch, its
// identity with its length before it, both numbers as varints, and the text of
// the position. A later version will add the filter's digest.
const tokenVersion = 1

const tokenField = "resume_token"

// tokens makes and reads the resume tokens of one log.
type tokens struct {
	log    Lineage
	prefix []byte
}

func newTokens(log Lineage) tokens {
	identity := log.Identity()
	prefix := binary.AppendUvarint([]byte{tokenVersion}, log.Epoch())
	prefix = binary.AppendUvarint(prefix, uint64(len(identity)))
	return tokens{log: log, prefix: append(prefix, identity...)}
}

func (t tokens) at(position domain.Position) string {
	text := position.String()
	buf := make([]byte, 0, len(t.prefix)+len(text))
	buf = append(append(buf, t.prefix...), text...)
	return base64.RawURLEncoding.EncodeToString(buf)
}

// parse is the position of a token of this log. The error's kind is Invalid for
// a text that is no token, and Refused for the token of another log, or of a place
// that this one, restored from a backup, does not have.
func (t tokens) parse(token string) (domain.Position, error) {
	buf, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(buf) == 0 || buf[0] != tokenVersion {
		return domain.Position{}, invalid(tokenField, "must be a token from a subscription to Comanda")
	}
	epoch, epochSize := binary.Uvarint(buf[1:])
	if epochSize <= 0 {
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	size, sizeSize := binary.Uvarint(buf[1+epochSize:])
	identityAt := 1 + epochSize + sizeSize
	if sizeSize <= 0 || size > uint64(len(buf)-identityAt) { //nolint:gosec // not negative
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	end := identityAt + int(size) //nolint:gosec // at most len(buf)
	position, err := domain.ParsePosition(string(buf[end:]))
	if err != nil {
		return domain.Position{}, invalid(tokenField, "is cut short")
	}
	if bytes.Equal(buf[:end], t.prefix) {
		return position, nil
	}
	if string(buf[identityAt:end]) != t.log.Identity() {
		return domain.Position{}, refusedToken("LOG", "is of another log; begin a new subscription")
	}
	return position, t.honour(epoch, position)
}

// honour accepts a position of an earlier epoch up to the head of the backup that
// ended it: up to there the log is the same.
func (t tokens) honour(epoch uint64, position domain.Position) error {
	head, ok := t.log.Honoured(epoch)
	switch {
	case !ok:
		return refusedToken("EPOCH", "is of another life of this log, which was restored from a backup; begin a new subscription")
	case !head.Covers(position):
		return refusedToken("EPOCH", "is of events after the backup from which this log was restored, which it does not have; begin a new subscription")
	default:
		return nil
	}
}
