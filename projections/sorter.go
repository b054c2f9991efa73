package projections

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Of sorters: what each may have in memory of keys and values, and the room in which all
// of the runs of one are read, and that for one at the most and at the least.
const (
	sorterBytes = 4 << 20
	mergeBytes  = 4 << 20
	mostBuffer  = 64 << 10
	leastBuffer = 4 << 10
)

// sorter sorts entries by their keys: in memory, and in sorted runs in a file
// without a name when there are more.
type sorter struct {
	path    string
	most    int // bytes in memory
	bytes   []byte
	entries []sortedEntry // in bytes
	first   []byte        // of all keys, what they have in common; nil: there is none yet
	file    *os.File
	size    int64
	runs    []int64 // where they begin
}

// sortedEntry is an entry of a sorter: where it is, and its word once it is sorted.
type sortedEntry struct {
	word           uint64
	from, key, end uint32 // its key ends at key, and its value behind that
}

// wordOf is the beginning of a key, by which most are told apart: of two keys, the one with
// the lesser word comes first.
func wordOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var word [8]byte
	copy(word[:], key)
	return binary.BigEndian.Uint64(word[:])
}

func (s *sorter) add(key, value []byte) error {
	if s.first == nil {
		s.first = bytes.Clone(key)
	}
	s.first = s.first[:inCommon(s.first, key)]
	if size := len(key) + len(value); len(s.bytes)+size > cap(s.bytes) { // fourfold: what is left behind is a third
		s.bytes = slices.Grow(s.bytes, max(min(3*cap(s.bytes), s.most-len(s.bytes)), size))
	}
	e := sortedEntry{from: uint32(len(s.bytes))} //nolint:gosec // little more than most
	s.bytes = append(s.bytes, key...)
	e.key = uint32(len(s.bytes)) //nolint:gosec // likewise
	s.bytes = append(s.bytes, value...)
	e.end = uint32(len(s.bytes)) //nolint:gosec // likewise
	s.entries = append(s.entries, e)
	if len(s.bytes) < s.most {
		return nil
	}
	return s.spill()
}

// inCommon is how many bytes x and y begin with alike.
func inCommon(x, y []byte) int {
	n := min(len(x), len(y))
	for i := range n {
		if x[i] != y[i] {
			return i
		}
	}
	return n
}

// sort sorts the entries in memory.
func (s *sorter) sort() {
	for i := range s.entries {
		e := &s.entries[i]
		e.word = wordOf(s.bytes[int(e.from)+len(s.first) : e.key])
	}
	slices.SortFunc(s.entries, func(x, y sortedEntry) int {
		if x.word != y.word {
			return cmp.Compare(x.word, y.word)
		}
		return bytes.Compare(s.bytes[x.from:x.key], s.bytes[y.from:y.key])
	})
}

// spill writes a run.
func (s *sorter) spill() error {
	if s.file == nil {
		var err error
		if s.file, err = unnamed(s.path); err != nil {
			return fmt.Errorf("sort entries: %w", err)
		}
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.size), 1<<16)
	s.runs = append(s.runs, s.size)
	var head []byte
	s.sort()
	for _, e := range s.entries {
		head = binary.AppendUvarint(head[:0], uint64(e.key-e.from))
		head = binary.AppendUvarint(head, uint64(e.end-e.key))
		s.size += int64(len(head)) + int64(e.end-e.from)
		for _, part := range [][]byte{head, s.bytes[e.from:e.end]} {
			if _, err := out.Write(part); err != nil {
				return fmt.Errorf("sort entries: %w", err)
			}
		}
	}
	s.bytes, s.entries = s.bytes[:0], s.entries[:0]
	if err := out.Flush(); err != nil {
		return fmt.Errorf("sort entries: %w", err)
	}
	return nil
}

// unnamed is a file of which nothing is left when the process ends.
func unnamed(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // beside the views
	if err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// each calls yield with all entries in ascending order of keys. They are valid until
// it returns.
func (s *sorter) each(yield func(key, value []byte) error) error {
	if len(s.runs) == 0 {
		s.sort()
		for _, e := range s.entries {
			if err := yield(s.bytes[e.from:e.key], s.bytes[e.key:e.end]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.bytes, s.entries = nil, nil
	buffer := max(min(mergeBytes/len(s.runs), mostBuffer), leastBuffer)
	var merged merge
	for i, from := range s.runs {
		to := s.size
		if i+1 < len(s.runs) {
			to = s.runs[i+1]
		}
		r := &run{in: bufio.NewReaderSize(io.NewSectionReader(s.file, from, to-from), buffer), common: len(s.first)}
		if err := merged.admit(r); err != nil {
			return err
		}
	}
	heap.Init(&merged)
	for len(merged) > 0 {
		r := merged[0]
		if err := yield(r.key, r.value); err != nil {
			return err
		}
		switch err := r.next(); {
		case err == nil:
			heap.Fix(&merged, 0)
		case errors.Is(err, io.EOF):
			heap.Pop(&merged)
		default:
			return fmt.Errorf("sort entries: %w", err)
		}
	}
	return nil
}

func (s *sorter) close() error {
	s.bytes, s.entries = nil, nil
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}

// run is a sorted run that is read, at its entry.
type run struct {
	in         *bufio.Reader
	common     int // of the sorter's keys
	bytes      []byte
	key, value []byte // in bytes
	word       uint64
}

// next goes to the next entry; io.EOF says that there is none.
func (r *run) next() error {
	key, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err //nolint:wrapcheck // io.EOF is the end
	}
	value, err := binary.ReadUvarint(r.in)
	if err != nil {
		return fmt.Errorf("an entry is cut off: %w", io.ErrUnexpectedEOF)
	}
	r.bytes = slices.Grow(r.bytes[:0], int(key+value))[:key+value] //nolint:gosec // as it was written
	if _, err := io.ReadFull(r.in, r.bytes); err != nil {
		return fmt.Errorf("an entry is cut off: %w", io.ErrUnexpectedEOF)
	}
	r.key, r.value = r.bytes[:key:key], r.bytes[key:]
	r.word = wordOf(r.key[r.common:])
	return nil
}

// merge is a heap of runs by their keys.
type merge []*run

// admit adds a run that is not empty.
func (m *merge) admit(r *run) error {
	switch err := r.next(); {
	case err == nil:
		*m = append(*m, r)
		return nil
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("sort entries: %w", err)
	}
}

func (m merge) Len() int      { return len(m) }
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Less is heap's.
func (m merge) Less(i, j int) bool {
	if m[i].word != m[j].word {
		return m[i].word < m[j].word
	}
	return bytes.Compare(m[i].key, m[j].key) < 0
}

// Push is heap's.
func (m *merge) Push(x any) { *m = append(*m, x.(*run)) } //nolint:forcetypeassert // only runs are pushed

// Pop is heap's.
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
