package stats

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"time"

	"comanda.internal/domain"
)

// counter is one number of a row. What a slot stands for depends on the bucket.
type counter struct {
	slot uint64
	n    int64
}

// counters are a row's, by slot, each slot once.
type counters []counter

// plus is c with n more in a slot; c is used up.
func (c counters) plus(slot uint64, n int64) counters {
	at, found := slices.BinarySearchFunc(c, slot, func(x counter, slot uint64) int { return cmp.Compare(x.slot, slot) })
	if found {
		c[at].n += n
		return c
	}
	return slices.Insert(c, at, counter{slot, n})
}

// sum adds what is in d; c is used up.
func (c counters) sum(d counters) counters {
	for _, x := range d {
		c = c.plus(x.slot, x.n)
	}
	return c
}

func (c counters) zero() bool {
	return !slices.ContainsFunc(c, func(x counter) bool { return x.n != 0 })
}

// at is the number in a slot.
func (c counters) at(slot uint64) int64 {
	i, found := slices.BinarySearchFunc(c, slot, func(x counter, slot uint64) int { return cmp.Compare(x.slot, slot) })
	if !found {
		return 0
	}
	return c[i].n
}

// encode is a row's value: slot and number of each counter that is not zero, as
// varints; nil when there is none.
func (c counters) encode() []byte {
	var value []byte
	for _, x := range c {
		if x.n != 0 {
			value = binary.AppendVarint(binary.AppendUvarint(value, x.slot), x.n)
		}
	}
	return value
}

func decode(value []byte) (counters, error) {
	var c counters
	for len(value) > 0 {
		slot, n := binary.Uvarint(value)
		if n <= 0 {
			return nil, errRow
		}
		number, m := binary.Varint(value[n:])
		if m <= 0 || number == 0 || (len(c) > 0 && c[len(c)-1].slot >= slot) {
			return nil, errRow
		}
		c = append(c, counter{slot, number})
		value = value[n+m:]
	}
	return c, nil
}

var errRow = domain.Errorf(domain.Corrupt, "stats: a row that does not hold together")

// key is what a row counts.
type key struct {
	tenant   domain.TenantID
	hour     int64 // since 1970, of UTC
	source   domain.SourceID
	method   string // "" is unknown
	currency string // of money only; "" is unknown
}

// hourOf is the hour that t is in.
func hourOf(t time.Time) int64 {
	seconds := t.Unix()
	hour := seconds / 3600
	if seconds%3600 < 0 {
		hour--
	}
	return hour
}

// startOf is when an hour begins.
func startOf(hour int64) time.Time { return time.Unix(hour*3600, 0).UTC() }

// hourSize is the length of an hour in a key: big-endian, so shifted that hours
// before 1970 come before those after it.
const hourSize = 4

func appendHour(b []byte, hour int64) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(int32(hour))^(1<<31)) //nolint:gosec // years up to 9999 are some 70 million hours
}

// append adds the key to b.
func (k *key) append(b []byte) []byte {
	b = append(append(b, byte(len(k.tenant))), k.tenant...) //nolint:gosec // as paging.TenantKey
	b = appendHour(b, k.hour)
	b = appendWord(b, string(k.source))
	b = appendWord(b, k.method)
	return appendWord(b, k.currency)
}

// mostWord bounds the words of a key. Sources, methods and currencies are shorter:
// what is longer is cut, so that no fact can make a key which bbolt refuses.
const mostWord = 64

func appendWord(b []byte, word string) []byte {
	word = word[:min(len(word), mostWord)]
	return append(append(b, byte(len(word))), word...) //nolint:gosec // at most mostWord
}

// parseKey reads a key.
func parseKey(b []byte) (key, error) {
	tenant, rest, ok := word(b)
	if !ok || len(rest) < hourSize {
		return key{}, errRow
	}
	k := key{tenant: domain.TenantID(tenant)}
	k.hour = int64(int32(binary.BigEndian.Uint32(rest) ^ (1 << 31))) //nolint:gosec // as it was written
	source, rest, ok := word(rest[hourSize:])
	if !ok {
		return key{}, errRow
	}
	k.source = domain.SourceID(source)
	if k.method, rest, ok = word(rest); !ok {
		return key{}, errRow
	}
	if k.currency, rest, ok = word(rest); !ok || len(rest) > 0 {
		return key{}, errRow
	}
	return k, nil
}

func word(b []byte) (text string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	return string(b[1:][:b[0]]), b[1+int(b[0]):], true
}

// Tally counts in memory, as the view does in its file.
type Tally struct {
	rows    map[string]*counters // by bucket and key
	scratch []byte
}

// NewTally counts nothing yet.
func NewTally() *Tally { return &Tally{rows: map[string]*counters{}} }

// add counts n in a slot of k's row.
func (t *Tally) add(bucket byte, k *key, counted ...counter) {
	t.scratch = k.append(append(t.scratch[:0], bucket))
	row := t.rows[string(t.scratch)]
	if row == nil {
		row = new(counters)
		t.rows[string(t.scratch)] = row
	}
	*row = row.sum(counted)
}

// Merge adds what u counted, which is not used any more.
func (t *Tally) Merge(u *Tally) {
	for k, counted := range u.rows {
		if row := t.rows[k]; row != nil {
			*row = row.sum(*counted)
		} else {
			t.rows[k] = counted
		}
	}
}

// sorted are the rows' keys in order, those of one bucket after those of another.
func (t *Tally) sorted() [][]byte {
	keys := make([][]byte, 0, len(t.rows))
	for k := range t.rows {
		keys = append(keys, []byte(k))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}
