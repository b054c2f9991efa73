package grpcapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"comanda.internal/domain"
)

// A resume token is URL-safe base64 of a version byte, the log's epoch, its
// identity and the filter's digest, each with its length before it, all numbers as
// varints, and the text of the position. Version 1 had no digest, and so stands for a
// subscription without a filter.
const (
	tokenVersion           = 2
	tokenVersionUnfiltered = 1
)

const tokenField = "resume_token"

// tokens makes and reads the resume tokens of one log and one filter.
type tokens struct {
	log    Lineage
	digest []byte // of the filter; empty: there is none
	prefix []byte
}

func newTokens(log Lineage, digest []byte) tokens {
	prefix := binary.AppendUvarint([]byte{tokenVersion}, log.Epoch())
	for _, part := range [][]byte{[]byte(log.Identity()), digest} {
		prefix = binary.AppendUvarint(prefix, uint64(len(part)))
		prefix = append(prefix, part...)
	}
	return tokens{log: log, digest: digest, prefix: prefix}
}

func (t *tokens) at(position domain.Position) string { return string(t.append(nil, position)) }

// append is at, appended to text.
func (t *tokens) append(text []byte, position domain.Position) []byte {
	var room [128]byte                                           // of a few partitions
	buf, _ := position.AppendText(append(room[:0], t.prefix...)) // never fails
	return base64.RawURLEncoding.AppendEncode(text, buf)
}

// token is what one says.
type token struct {
	epoch            uint64
	identity, digest []byte
	position         domain.Position
}

// parse is the position of a token of this log and filter. The error's kind is
// Invalid for a text that is no token, and Refused for the token of another log or
// filter, or of a place that this log, restored from a backup, does not have.
func (t *tokens) parse(text string) (domain.Position, error) {
	k, err := readToken(text)
	if err != nil {
		return domain.Position{}, err
	}
	switch {
	case string(k.identity) != t.log.Identity():
		return domain.Position{}, refusedToken("LOG", "is of another log; begin a new subscription")
	case !bytes.Equal(k.digest, t.digest):
		return domain.Position{}, refusedToken("FILTER", "is of another filter; give the filter of then, or begin a new subscription")
	case k.epoch != t.log.Epoch():
		return k.position, t.honour(k.epoch, k.position)
	default:
		return k.position, nil
	}
}

func readToken(text string) (token, error) {
	buf, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(buf) == 0 || buf[0] < tokenVersionUnfiltered || buf[0] > tokenVersion {
		return token{}, invalid(tokenField, "must be a token from a subscription to Comanda")
	}
	version, buf := buf[0], buf[1:]
	var k token
	var size int
	if k.epoch, size = binary.Uvarint(buf); size <= 0 {
		return token{}, invalid(tokenField, "is cut short")
	}
	buf = buf[size:]
	parts := []*[]byte{&k.identity, &k.digest}
	if version == tokenVersionUnfiltered {
		parts = parts[:1]
	}
	for _, part := range parts {
		length, size := binary.Uvarint(buf)
		if size <= 0 || length > uint64(len(buf)-size) { //nolint:gosec // not negative
			return token{}, invalid(tokenField, "is cut short")
		}
		end := size + int(length) //nolint:gosec // at most len(buf)
		*part, buf = buf[size:end], buf[end:]
	}
	if k.position, err = domain.ParsePosition(string(buf)); err != nil {
		return token{}, invalid(tokenField, "is cut short")
	}
	return k, nil
}

// honour accepts a position of an earlier epoch up to the head of the backup that
// ended it: up to there the log is the same.
func (t *tokens) honour(epoch uint64, position domain.Position) error {
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
