package kv

import (
	"hash/maphash"
	"sync"
)

// Sum is a digest of a set of keys, whatever their order: two hashes with seeds of
// their own, each summed up, so that no other set is likely to have it. The zero
// value is of no keys.
type Sum [2]uint64

var sumSeeds = sync.OnceValue(func() [2]maphash.Seed { return [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()} })

// Add adds a key that is not in it yet.
func (s *Sum) Add(key []byte) {
	for i, seed := range sumSeeds() {
		s[i] += maphash.Bytes(seed, key)
	}
}

// Join adds the keys of another that has none of these.
func (s *Sum) Join(other Sum) {
	s[0] += other[0]
	s[1] += other[1]
}

// IsOf reports whether the keys of b are those of s.
func (s *Sum) IsOf(b *Bucket) (bool, error) {
	var all Sum
	err := b.ForEach(func(key, _ []byte) error {
		all.Add(key)
		return nil
	})
	return all == *s, err
}
