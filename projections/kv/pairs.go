package kv

import (
	"hash/maphash"
	"math/bits"
)

// notKey tells a value from a key of the same bytes: any large odd number will do.
const notKey = 0x9e3779b97f4a7c15

// AddPair adds a key with its value. A sum of pairs is of no keys alone.
func (s *Sum) AddPair(key, value []byte) {
	for i, seed := range sumSeeds() {
		// A product of both: were they only added, two keys could change their values.
		high, low := bits.Mul64(maphash.Bytes(seed, key), maphash.Bytes(seed, value)+notKey)
		s[i] += high ^ low
	}
}

// IsOfPairs reports whether the keys of b with their values are those of s.
func (s *Sum) IsOfPairs(b *Bucket) (bool, error) {
	var all Sum
	err := b.ForEach(func(key, value []byte) error {
		all.AddPair(key, value)
		return nil
	})
	return all == *s, err
}
