package kv

import (
	"encoding/binary"
	"hash/fnv"
	"slices"
)

// Of bbolt's pages.
const (
	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10

	bucketFlag = 0x01 // of an element of a leaf that is a bucket

	pageHeader  = 16
	elementSize = 16 // of a leaf and of a branch

	magic       = 0xED0CDAED
	fileVersion = 2
)

// native is the order of bytes that bbolt's structures have in memory, and in files.
var native = binary.NativeEndian

// bucketHeader is the value of a bucket whose first page is root.
func bucketHeader(root uint64) []byte {
	return native.AppendUint64(native.AppendUint64(nil, root), 0) // no sequence
}

// page is one that is being filled.
type page struct {
	flags    uint16
	elements []byte // complete but for where their data is
	data     []byte // keys and values
	ends     []int  // in data, of each element
	firstEnd int    // of the first key
}

func (p *page) count() int { return len(p.ends) }
func (p *page) size() int  { return pageHeader + len(p.elements) + len(p.data) }

func (p *page) firstKey() []byte { return p.data[:p.firstEnd] }

func (p *page) addLeaf(flags uint32, key, value []byte) {
	p.elements = native.AppendUint32(p.elements, flags)
	p.elements = native.AppendUint32(p.elements, 0)
	p.elements = native.AppendUint32(p.elements, uint32(len(key)))   //nolint:gosec // as bbolt bounds them
	p.elements = native.AppendUint32(p.elements, uint32(len(value))) //nolint:gosec // likewise
	p.addData(key, value)
}

func (p *page) addBranch(key []byte, id uint64) {
	p.elements = native.AppendUint32(p.elements, 0)
	p.elements = native.AppendUint32(p.elements, uint32(len(key))) //nolint:gosec // as bbolt bounds them
	p.elements = native.AppendUint64(p.elements, id)
	p.addData(key, nil)
}

func (p *page) addData(key, value []byte) {
	if len(p.ends) == 0 {
		p.firstEnd = len(key)
	}
	p.data = append(append(p.data, key...), value...)
	p.ends = append(p.ends, len(p.data))
}

// writeTo fills into, which is of zeros, and empties the page.
func (p *page) writeTo(into []byte, id uint64, overflow int) {
	place := 4 // of where the data is, in an element of a leaf
	if p.flags == branchPage {
		place = 0
	}
	from := 0
	for i, end := range p.ends {
		at := i * elementSize
		native.PutUint32(p.elements[at+place:], uint32(len(p.elements)-at+from)) //nolint:gosec // within a page
		from = end
	}
	putHeader(into, id, p.flags, len(p.ends), overflow)
	copy(into[pageHeader+copy(into[pageHeader:], p.elements):], p.data)
	p.elements, p.data, p.ends = p.elements[:0], p.data[:0], p.ends[:0]
}

func putHeader(into []byte, id uint64, flags uint16, count, overflow int) {
	native.PutUint64(into, id)
	native.PutUint16(into[8:], flags)
	native.PutUint16(into[10:], uint16(count))    //nolint:gosec // some hundreds
	native.PutUint32(into[12:], uint32(overflow)) //nolint:gosec // likewise
}

// pageWriter writes the pages of one bucket, many at a time.
type pageWriter struct {
	loader *Loader
	first  uint64 // page of chunk
	count  int    // of pages in a chunk
	chunk  []byte // of count pages, filled so far
}

// The pages of a bucket's first chunk, and the most that one has: a small bucket
// leaves few of them free.
const (
	firstChunk = 4
	mostChunk  = 64
)

// write writes p, which is empty then, and answers where.
func (w *pageWriter) write(p *page) (id uint64, err error) {
	size := w.loader.pageSize
	pages := (p.size() + size - 1) / size
	if len(w.chunk)/size+pages > w.count {
		if err := w.finish(); err != nil {
			return 0, err
		}
		w.count = max(min(max(2*w.count, firstChunk), mostChunk), pages)
		w.first = w.loader.allocate(w.count)
	}
	at := len(w.chunk)
	id = w.first + uint64(at/size) //nolint:gosec // not negative
	w.chunk = slices.Grow(w.chunk, pages*size)[:at+pages*size]
	clear(w.chunk[at:])
	p.writeTo(w.chunk[at:], id, pages-1)
	return id, nil
}

// finish writes the chunk, and gives back the pages that it did not need.
func (w *pageWriter) finish() error {
	used := uint64(len(w.chunk) / w.loader.pageSize)        //nolint:gosec // not negative
	w.loader.release(w.first+used, w.first+uint64(w.count)) //nolint:gosec // likewise
	err := w.loader.writeAt(w.chunk, w.first)
	w.chunk = w.chunk[:0]
	return err
}

// branchWriter fills the branches of one level of a bucket. It holds back two pages,
// so that the last ones have two children at the least, as bbolt wants it.
type branchWriter struct {
	pages    *pageWriter
	above    *branchWriter
	children []child
	size     int // of a page with all of them
}

// child is a page, and its first key.
type child struct {
	key []byte
	id  uint64
}

func (c *child) size() int { return elementSize + len(c.key) }

func (w *branchWriter) add(key []byte, id uint64) error {
	c := child{key: key, id: id}
	w.children = append(w.children, c)
	w.size += c.size()
	if w.size < 2*w.pages.loader.pageSize || len(w.children) < 8 {
		return nil
	}
	return w.flush(w.fitting(w.pages.loader.pageSize))
}

// fitting is how many children a page of that size has room for, and two at the least.
func (w *branchWriter) fitting(size int) int {
	size -= pageHeader
	for n := range w.children {
		if size -= w.children[n].size(); size < 0 {
			return max(n, 2)
		}
	}
	return len(w.children)
}

// flush writes a page of the first n children.
func (w *branchWriter) flush(n int) error {
	if w.above == nil {
		w.above = &branchWriter{pages: w.pages}
	}
	key := w.children[0].key
	id, err := w.write(n)
	if err != nil {
		return err
	}
	return w.above.add(key, id)
}

func (w *branchWriter) write(n int) (id uint64, err error) {
	p := page{flags: branchPage}
	for i := range w.children[:n] {
		c := &w.children[i]
		p.addBranch(c.key, c.id)
		w.size -= c.size()
	}
	w.children = slices.Delete(w.children, 0, n)
	return w.pages.write(&p)
}

// finish writes what is left, and answers the page at the top.
func (w *branchWriter) finish() (root uint64, err error) {
	for len(w.children) > 3 && pageHeader+w.size > w.pages.loader.pageSize {
		n := min(w.fitting(w.pages.loader.pageSize), len(w.children)-2)
		if err := w.flush(n); err != nil {
			return 0, err
		}
	}
	if w.above == nil {
		return w.write(len(w.children))
	}
	if err := w.flush(len(w.children)); err != nil {
		return 0, err
	}
	return w.above.finish()
}

// writeMeta writes the list of free pages and what makes a file of it all.
func (l *Loader) writeMeta(root uint64) error {
	slices.Sort(l.free)
	size := pageHeader + 8*len(l.free)
	pages := (size + l.pageSize - 1) / l.pageSize
	list := l.allocate(pages)
	into := make([]byte, pages*l.pageSize)
	putHeader(into, list, freelistPage, len(l.free), pages-1)
	for i, id := range l.free {
		native.PutUint64(into[pageHeader+8*i:], id)
	}
	if err := l.writeAt(into, list); err != nil {
		return err
	}
	for n := range uint64(firstPage) {
		if err := l.writeAt(l.meta(n, root, list), n); err != nil {
			return err
		}
	}
	return nil
}

// meta is a meta page; of the two, bbolt reads the one with the greater transaction.
func (l *Loader) meta(n, root, list uint64) []byte {
	into := make([]byte, l.pageSize)
	putHeader(into, n, metaPage, 0, 0)
	m := native.AppendUint32(into[:pageHeader], magic)
	m = native.AppendUint32(m, fileVersion)
	m = native.AppendUint32(m, uint32(l.pageSize)) //nolint:gosec // a page
	m = native.AppendUint32(m, 0)
	for _, v := range []uint64{root, 0, list, l.next, n} {
		m = native.AppendUint64(m, v)
	}
	sum := fnv.New64a()
	_, _ = sum.Write(m[pageHeader:])
	native.AppendUint64(m, sum.Sum64())
	return into
}
