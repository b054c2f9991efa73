package kv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"go.etcd.io/bbolt"
)

// Loader writes a bbolt file from nothing, of keys that come in their order, page
// after page as they fill: several times faster than transactions that each look for the end
// of a bucket, and copy it. Only [Loader.Finish] makes a file of it that can be opened. Its buckets may
// be written by a goroutine each.
//
// Pages are as bbolt's version 2 has them (internal/common/page.go, meta.go and
// inode.go of the module). A file that is whole is bbolt's to change from then on.
type Loader struct {
	file     *os.File
	pageSize int

	mu     sync.Mutex
	next   uint64   // page that is not given to anyone
	free   []uint64 // pages that nobody wanted
	leaves map[string]*leafWriter
}

// firstPage is behind two meta pages.
const firstPage = 2

// NewLoader begins a file at path, which takes the place of what is there.
func NewLoader(path string) (*Loader, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // where views are to be
	if err != nil {
		return nil, err
	}
	return &Loader{file: file, pageSize: os.Getpagesize(), next: firstPage, leaves: map[string]*leafWriter{}}, nil
}

// Bucket is the bucket of that path, to be put to. What is put is copied, and cannot be
// read. A key that does not come behind those before it is [ErrOrder].
func (l *Loader) Bucket(path ...string) *Bucket {
	tx, joined := &Tx{loader: l}, strings.Join(path, pathSeparator)
	return &Bucket{tx: tx, path: joined, prefix: joined + keySeparator}
}

// Close gives up the file, which is not removed, unless it is finished.
func (l *Loader) Close() error {
	if l.file == nil {
		return nil
	}
	file := l.file
	l.file = nil
	return file.Close()
}

// ErrOrder says that a key was put that does not come behind those before it.
var ErrOrder = errors.New("kv: a key out of order")

func (l *Loader) put(b *Bucket, key []byte, e entry) error {
	if e == nil {
		return ErrReadOnly
	}
	if b.leaf == nil {
		b.leaf = l.leaf(b.path)
	}
	if err := b.leaf.add(0, key, e); err != nil {
		return fmt.Errorf("write to bucket %s: %w", b.path, err)
	}
	return nil
}

// leaf is what writes the bucket of a path.
func (l *Loader) leaf(path string) *leafWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	leaf := l.leaves[path]
	if leaf == nil {
		leaf = newLeafWriter(l)
		l.leaves[path] = leaf
	}
	return leaf
}

// Finish writes what is left, and all that other holds beside it, unless it is nil:
// no bucket at the top may be in both. The file is closed then, and not synced.
func (l *Loader) Finish(other *bbolt.DB) error {
	roots := map[string]uint64{}
	for _, name := range l.tops() {
		root, err := l.finishBucket(name)
		if err != nil {
			return err
		}
		roots[name] = root
	}
	if other != nil {
		err := other.View(func(tx *bbolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
				if _, both := roots[string(name)]; both {
					return fmt.Errorf("the bucket %s is loaded and copied", name)
				}
				var err error
				roots[string(name)], err = l.copyBucket(b)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	top := newLeafWriter(l)
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		if err := top.add(bucketFlag, []byte(name), bucketHeader(roots[name])); err != nil {
			return err
		}
	}
	root, err := top.finish()
	if err == nil {
		err = l.writeMeta(root)
	}
	return errors.Join(err, l.Close())
}

// tops are the buckets at the top that were put to, or that hold such.
func (l *Loader) tops() []string {
	var names []string
	for path := range l.leaves {
		name, _, _ := strings.Cut(path, pathSeparator)
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// finishBucket writes the rest of a bucket and of those in it, and answers its first
// page. Names of buckets come behind its keys, or it has none.
func (l *Loader) finishBucket(path string) (root uint64, err error) {
	leaf := l.leaves[path]
	if leaf == nil {
		leaf = newLeafWriter(l)
	}
	within := map[string]struct{}{}
	for other := range l.leaves {
		if rest, in := strings.CutPrefix(other, path+pathSeparator); in {
			name, _, _ := strings.Cut(rest, pathSeparator)
			within[name] = struct{}{}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(within)) {
		inner, err := l.finishBucket(path + pathSeparator + name)
		if err == nil {
			err = leaf.add(bucketFlag, []byte(name), bucketHeader(inner))
		}
		if err != nil {
			return 0, fmt.Errorf("write the bucket %s in %s: %w", name, path, err)
		}
	}
	return leaf.finish()
}

// copyBucket writes all that b holds.
func (l *Loader) copyBucket(b *bbolt.Bucket) (root uint64, err error) {
	leaf := newLeafWriter(l)
	err = b.ForEach(func(key, value []byte) error {
		if value != nil {
			return leaf.add(0, key, value)
		}
		inner, err := l.copyBucket(b.Bucket(key))
		if err != nil {
			return err
		}
		return leaf.add(bucketFlag, key, bucketHeader(inner))
	})
	if err != nil {
		return 0, err
	}
	return leaf.finish()
}

// allocate gives count pages in a row.
func (l *Loader) allocate(count int) (first uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = l.next
	l.next += uint64(count) //nolint:gosec // not negative
	return first
}

// release takes pages back that are not written.
func (l *Loader) release(first, end uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for page := first; page < end; page++ {
		l.free = append(l.free, page)
	}
}

func (l *Loader) writeAt(data []byte, page uint64) error {
	_, err := l.file.WriteAt(data, int64(page)*int64(l.pageSize)) //nolint:gosec // within a file
	return err
}

// leafWriter fills the leaves of one bucket.
type leafWriter struct {
	pages *pageWriter
	above *branchWriter // nil: there is one leaf at the most
	page  page
	last  []byte
}

func newLeafWriter(l *Loader) *leafWriter {
	return &leafWriter{pages: &pageWriter{loader: l}, page: page{flags: leafPage}}
}

func (w *leafWriter) add(flags uint32, key, value []byte) error {
	if w.last != nil && bytes.Compare(key, w.last) <= 0 {
		return ErrOrder
	}
	w.last = append(w.last[:0], key...)
	if most := int(appendedFill * float64(w.pages.loader.pageSize)); w.page.count() > 0 && w.page.size()+elementSize+len(key)+len(value) > most {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.page.addLeaf(flags, key, value)
	return nil
}

// flush writes the leaf, of which the branch above it knows then.
func (w *leafWriter) flush() error {
	if w.above == nil {
		w.above = &branchWriter{pages: w.pages}
	}
	first := bytes.Clone(w.page.firstKey())
	id, err := w.pages.write(&w.page)
	if err != nil {
		return err
	}
	return w.above.add(first, id)
}

// finish writes what is left, and answers the page at the top.
func (w *leafWriter) finish() (root uint64, err error) {
	if w.above == nil {
		root, err = w.pages.write(&w.page)
	} else if err = w.flush(); err == nil {
		root, err = w.above.finish()
	}
	if err != nil {
		return 0, err
	}
	return root, w.pages.finish()
}
