package kv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/bbolt"
)

// Tx is one state: that of the file and the changes since. It is valid within
// the call that gave it, in one goroutine but for [Bucket.InHalves].
type Tx struct {
	file     *bbolt.Tx
	layers   []*memory           // newest first
	own      *memory             // the first of layers, of an Update; nil: read only
	appended map[string]struct{} // the DB's, of an Update
	load     bool                // what is put goes to the file
	loader   *Loader             // what is put goes to it; nil: there is a file

	epoch   uint64 // of the file, when it began
	buckets []*Bucket
}

// ErrReadOnly says that a Put or Delete was called outside an Update.
var ErrReadOnly = errors.New("kv: read only")

// Bucket is the bucket of that path: name and, for a bucket in it, more names.
// It may be empty, never nil.
func (tx *Tx) Bucket(path ...string) *Bucket {
	if known := tx.bucket(path); known != nil {
		return known
	}
	joined := strings.Join(path, pathSeparator)
	b := &Bucket{tx: tx, path: joined, prefix: joined + keySeparator, file: fileBucket(tx.file, path)}
	if !tx.load && len(tx.buckets) < knownBuckets { // loading makes buckets
		b.names = slices.Clone(path)
		tx.buckets = append(tx.buckets, b)
	}
	return b
}

// In memory a key is the path of its bucket, keySeparator and the key. Names
// hold neither separator, so one bucket's keys are a range of their own.
const (
	pathSeparator = "/"
	keySeparator  = "\x00"
	afterKeys     = "\x01"
)

// fileBucket is nil when the file does not have it.
func fileBucket(file *bbolt.Tx, path []string) *bbolt.Bucket {
	b := file.Bucket([]byte(path[0]))
	for _, name := range path[1:] {
		if b == nil {
			return nil
		}
		b = b.Bucket([]byte(name))
	}
	return b
}

// Bucket is keys and values. It is valid as long as its Tx.
type Bucket struct {
	tx     *Tx
	path   string
	prefix string
	file   *bbolt.Bucket // nil: not in the file

	names  []string      // the path; nil: the Tx does not know it
	cursor *bbolt.Cursor // for get; nil: not yet
	leaf   *leafWriter   // of a Loader; nil: not yet
}

// Bucket is the bucket of that name in b.
func (b *Bucket) Bucket(name string) *Bucket {
	path := b.path + pathSeparator + name
	inner := &Bucket{tx: b.tx, path: path, prefix: path + keySeparator}
	if b.file != nil {
		inner.file = b.file.Bucket([]byte(name))
	}
	return inner
}

// Get is the value of key, not to be changed; nil when there is none.
func (b *Bucket) Get(key []byte) []byte {
	if len(b.tx.layers) > 0 {
		k := b.prefix + string(key)
		for _, m := range b.tx.layers {
			if e, ok := m.tree.Get(k); ok {
				return e
			}
		}
	}
	if b.file == nil {
		return nil
	}
	return b.get(key)
}

// Put sets the value of key, which must not be changed afterwards. A nil value
// is an empty one.
func (b *Bucket) Put(key, value []byte) error {
	if len(key) == 0 {
		return errors.New("kv: an empty key")
	}
	if value == nil {
		value = []byte{}
	}
	return b.set(key, value)
}

// Delete removes key, which need not exist.
func (b *Bucket) Delete(key []byte) error { return b.set(key, nil) }

func (b *Bucket) set(key []byte, e entry) error {
	switch {
	case b.tx.load:
		return b.load(key, e)
	case b.tx.loader != nil:
		return b.tx.loader.put(b, key, e)
	}
	own := b.tx.own
	if own == nil {
		return ErrReadOnly
	}
	old, replaced := own.tree.Set(b.prefix+string(key), e)
	if replaced {
		own.size -= len(old)
	} else {
		own.size += len(b.prefix) + len(key)
	}
	own.size += len(e)
	return nil
}

// load writes to the file.
func (b *Bucket) load(key []byte, e entry) error {
	if b.file == nil {
		var err error
		if b.file, err = makeBucket(b.tx.file, b.path); err != nil {
			return err
		}
		if _, ok := b.tx.appended[b.path]; ok {
			b.file.FillPercent = appendedFill
		}
	}
	var err error
	if e == nil {
		err = b.file.Delete(key)
	} else {
		err = b.file.Put(key, e)
	}
	if err != nil {
		return fmt.Errorf("write to bucket %s: %w", b.path, err)
	}
	return nil
}

// Appended says that new keys of b come behind all that it holds, or nearly so,
// and that the file may fill its pages to the end.
func (b *Bucket) Appended() {
	if b.tx.own != nil || b.tx.load {
		b.tx.appended[b.path] = struct{}{}
	}
	if b.tx.load && b.file != nil {
		b.file.FillPercent = appendedFill
	}
}

// ForEach calls fn with every key and value, in the order of keys, until it errs.
func (b *Bucket) ForEach(fn func(key, value []byte) error) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}
