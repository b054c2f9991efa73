package domain

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
)

// Position is a place in the log: a vector with one sequence for each
// partition, 0 where it says nothing. Outside this type it is one opaque value.
// Positions are immutable; the zero value is the beginning.
type Position struct {
	sequences []uint64 // index is the partition; no trailing zeros
}

// maxPartitions bounds what a position from outside may claim: one partition a slot.
const maxPartitions = 256

// PositionOf is the place with one sequence for each partition, which it copies.
func PositionOf(sequences []uint64) Position {
	return Position{sequences: slices.Clone(trimZeros(sequences))}
}

// At is the sequence in partition; 0 when p says nothing of it.
func (p Position) At(partition int) uint64 {
	if partition < 0 || partition >= len(p.sequences) {
		return 0
	}
	return p.sequences[partition]
}

// Partitions is one more than the greatest partition that p speaks of.
func (p Position) Partitions() int { return len(p.sequences) }

// With is p with its component for partition set to sequence.
func (p Position) With(partition int, sequence uint64) Position {
	out := make([]uint64, max(len(p.sequences), partition+1))
	copy(out, p.sequences)
	out[partition] = sequence
	return Position{sequences: trimZeros(out)}
}

// Merge is the componentwise maximum of p and q.
func (p Position) Merge(q Position) Position {
	out := make([]uint64, max(len(p.sequences), len(q.sequences)))
	for i := range out {
		out[i] = max(p.At(i), q.At(i))
	}
	return Position{sequences: out}
}

// Covers reports whether p is at or after q in every partition.
func (p Position) Covers(q Position) bool {
	for i, s := range q.sequences {
		if p.At(i) < s {
			return false
		}
	}
	return true
}

// Equal reports whether p and q are the same place.
func (p Position) Equal(q Position) bool { return slices.Equal(p.sequences, q.sequences) }

// IsZero reports whether p is the beginning.
func (p Position) IsZero() bool { return len(p.sequences) == 0 }

// String is p's opaque text: URL-safe base64 of a version byte and pairs of
// (partition, sequence) as varints; "" is the beginning.
func (p Position) String() string { return string(p.append(nil)) }

func (p Position) append(text []byte) []byte {
	if p.IsZero() {
		return text
	}
	var room [32]byte // of a few partitions
	buf := append(room[:0], positionVersion)
	for i, s := range p.sequences {
		if s > 0 {
			buf = binary.AppendUvarint(buf, uint64(i))
			buf = binary.AppendUvarint(buf, s)
		}
	}
	return base64.RawURLEncoding.AppendEncode(text, buf)
}

// AppendText appends what String gives.
func (p Position) AppendText(text []byte) ([]byte, error) { return p.append(text), nil }

const positionVersion = 1

// ParsePosition reads what String wrote. A text that String cannot have written
// is an error of kind Invalid.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	buf, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(buf) == 0 || buf[0] != positionVersion {
		return Position{}, Errorf(Invalid, "position %q: not one that Comanda gave out", s)
	}
	var p Position
	for buf = buf[1:]; len(buf) > 0; {
		var pair [2]uint64
		for i := range pair {
			v, n := binary.Uvarint(buf)
			if n <= 0 {
				return Position{}, Errorf(Invalid, "position %q: cut short", s)
			}
			pair[i], buf = v, buf[n:]
		}
		if pair[0] >= maxPartitions {
			return Position{}, Errorf(Invalid, "position %q: partition %d", s, pair[0])
		}
		p = p.With(int(pair[0]), pair[1]) //nolint:gosec // below maxPartitions
	}
	return p, nil
}

// MarshalText writes p as String does.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads p as ParsePosition does.
func (p *Position) UnmarshalText(text []byte) error {
	q, err := ParsePosition(string(text))
	if err != nil {
		return fmt.Errorf("read a position: %w", err)
	}
	*p = q
	return nil
}

func trimZeros(s []uint64) []uint64 {
	for len(s) > 0 && s[len(s)-1] == 0 {
		s = s[:len(s)-1]
	}
	return s
}
