package kv

import (
	"bytes"
	"strings"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// Cursor walks a bucket in the order of keys. It is valid as long as its Tx,
// and as long as the bucket is not changed.
//
// Each source stands at its entry next to the cursor's: at or behind it while the
// cursor goes forward, at or before it while it goes back. The first source that
// has a key hides the others.
type Cursor struct {
	sources []source // newest first
	key     []byte   // nil: before the first or behind the last
	back    bool     // the way the sources stand
}

// source is one layer of a bucket.
type source interface {
	first()
	last()
	seek(key []byte) // at key or the next one behind it
	next()
	prev()
	// at is where it stands; the key is nil when that is nowhere.
	at() (key []byte, e entry)
}

// Cursor is a new cursor, which stands nowhere.
func (b *Bucket) Cursor() *Cursor {
	c := &Cursor{}
	for _, m := range b.tx.layers {
		c.sources = append(c.sources, &memorySource{iter: m.tree.Iter(), prefix: b.prefix, end: b.path + afterKeys})
	}
	if b.file != nil {
		c.sources = append(c.sources, &fileSource{cursor: b.file.Cursor()})
	}
	return c
}

// First goes to the least key. Like all moves it gives nil when there is none.
func (c *Cursor) First() (key, value []byte) {
	c.back = false
	for _, s := range c.sources {
		s.first()
	}
	return c.settle()
}

// Last goes to the greatest key.
func (c *Cursor) Last() (key, value []byte) { return c.seekBack(nil) }

// Seek goes to key, or the next one behind it.
func (c *Cursor) Seek(key []byte) (k, value []byte) {
	c.back = false
	for _, s := range c.sources {
		s.seek(key)
	}
	return c.settle()
}

// seekBack goes to the greatest key before end; nil is the end of all.
func (c *Cursor) seekBack(end []byte) (key, value []byte) {
	c.back = true
	for _, s := range c.sources {
		seekBefore(s, end)
	}
	return c.settle()
}

func seekBefore(s source, end []byte) {
	if end == nil {
		s.last()
		return
	}
	s.seek(end)
	if k, _ := s.at(); k == nil {
		s.last()
		return
	}
	s.prev()
}

// Next goes one key on. It stays nowhere when it stands nowhere.
func (c *Cursor) Next() (key, value []byte) {
	if c.key == nil {
		return nil, nil
	}
	if c.back {
		c.back = false
		for _, s := range c.sources {
			s.seek(c.key)
		}
	}
	c.step()
	return c.settle()
}

// Prev goes one key back.
func (c *Cursor) Prev() (key, value []byte) {
	if c.key == nil {
		return nil, nil
	}
	if !c.back {
		return c.seekBack(c.key)
	}
	c.step()
	return c.settle()
}

// step moves the sources that stand at the cursor's key.
func (c *Cursor) step() {
	for _, s := range c.sources {
		if k, _ := s.at(); k == nil || !bytes.Equal(k, c.key) {
			continue
		}
		if c.back {
			s.prev()
		} else {
			s.next()
		}
	}
}

// settle takes the nearest entry of all sources that is not gone.
func (c *Cursor) settle() (key, value []byte) {
	for {
		var found entry
		c.key = nil
		for _, s := range c.sources {
			k, e := s.at()
			if k == nil || (c.key != nil && !c.nearer(k)) {
				continue
			}
			c.key, found = k, e
		}
		if c.key == nil {
			return nil, nil
		}
		if found != nil {
			return c.key, found
		}
		c.step()
	}
}

func (c *Cursor) nearer(k []byte) bool {
	order := bytes.Compare(k, c.key)
	return order < 0 && !c.back || order > 0 && c.back
}

// memorySource is a bucket's range of a memory.
type memorySource struct {
	iter   btree.MapIter[string, entry]
	prefix string
	end    string
	key    []byte
	entry  entry
}

var _ source = (*memorySource)(nil)

func (s *memorySource) first() { s.take(s.iter.Seek(s.prefix)) }

func (s *memorySource) last() {
	if s.iter.Seek(s.end) {
		s.take(s.iter.Prev())
	} else {
		s.take(s.iter.Last())
	}
}

func (s *memorySource) seek(key []byte) { s.take(s.iter.Seek(s.prefix + string(key))) }
func (s *memorySource) next()           { s.take(s.iter.Next()) }
func (s *memorySource) prev()           { s.take(s.iter.Prev()) }

func (s *memorySource) take(ok bool) {
	s.key, s.entry = nil, nil
	if !ok {
		return
	}
	if key, own := strings.CutPrefix(s.iter.Key(), s.prefix); own {
		s.key, s.entry = []byte(key), s.iter.Value()
	}
}

func (s *memorySource) at() ([]byte, entry) { return s.key, s.entry }

// fileSource is a bucket of the file. Buckets in it, which bbolt gives as keys
// without a value, are passed over.
type fileSource struct {
	cursor     *bbolt.Cursor
	key, value []byte
}

var _ source = (*fileSource)(nil)

func (s *fileSource) first()          { s.forward(s.cursor.First()) }
func (s *fileSource) last()           { s.backward(s.cursor.Last()) }
func (s *fileSource) seek(key []byte) { s.forward(s.cursor.Seek(key)) }
func (s *fileSource) next()           { s.forward(s.cursor.Next()) }
func (s *fileSource) prev()           { s.backward(s.cursor.Prev()) }

func (s *fileSource) forward(key, value []byte) {
	for key != nil && value == nil {
		key, value = s.cursor.Next()
	}
	s.key, s.value = key, value
}

func (s *fileSource) backward(key, value []byte) {
	for key != nil && value == nil {
		key, value = s.cursor.Prev()
	}
	s.key, s.value = key, value
}

func (s *fileSource) at() ([]byte, entry) { return s.key, s.value }
