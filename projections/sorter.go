package projections

import (
	"bufio"
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// sorterBytes is what a sorter may have in memory of keys and values.
const sorterBytes = 8 << 20

// sorter sorts entries by their keys: in memory, and in sorted runs in a file
// without a name when there are more.
type sorter struct {
	path  string
	most  int // bytes in memory
	bytes []byte
	ends  []ends // of the entries in bytes
	file  *os.File
	size  int64
	runs  []int64 // where they begin
}

// ends are where the key of an entry ends, and its value behind it.
type ends struct{ key, value uint32 }

// sortedEntry is an entry of a sorter.
type sortedEntry struct{ key, value []byte }

func (s *sorter) add(key, value []byte) error {
	s.bytes = append(s.bytes, key...)
	end := ends{key: uint32(len(s.bytes))} //nolint:gosec // little more than most
	s.bytes = append(s.bytes, value...)
	end.value = uint32(len(s.bytes)) //nolint:gosec // likewise
	s.ends = append(s.ends, end)
	if len(s.bytes) < s.most {
		return nil
	}
	return s.spill()
}

// sorted are the entries in memory.
func (s *sorter) sorted() []sortedEntry {
	entries, from := make([]sortedEntry, len(s.ends)), uint32(0)
	for i, end := range s.ends {
		entries[i] = sortedEntry{key: s.bytes[from:end.key:end.key], value: s.bytes[end.key:end.value:end.value]}
		from = end.value
	}
	slices.SortFunc(entries, func(x, y sortedEntry) int { return bytes.Compare(x.key, y.key) })
	return entries
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
	for _, e := range s.sorted() {
		head = binary.AppendUvarint(head[:0], uint64(len(e.key)))
		head = binary.AppendUvarint(head, uint64(len(e.value)))
		s.size += int64(len(head) + len(e.key) + len(e.value))
		for _, part := range [][]byte{head, e.key, e.value} {
			if _, err := out.Write(part); err != nil {
				return fmt.Errorf("sort entries: %w", err)
			}
		}
	}
	s.bytes, s.ends = s.bytes[:0], s.ends[:0]
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
		for _, e := range s.sorted() {
			if err := yield(e.key, e.value); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.bytes, s.ends = nil, nil
	var merged merge
	for i, from := range s.runs {
		to := s.size
		if i+1 < len(s.runs) {
			to = s.runs[i+1]
		}
		r := &run{in: bufio.NewReaderSize(io.NewSectionReader(s.file, from, to-from), 1<<16)}
		if err := merged.admit(r); err != nil {
			return err
		}
	}
	heap.Init(&merged)
	for len(merged) > 0 {
		r := merged[0]
		if err := yield(r.entry.key, r.entry.value); err != nil {
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
	s.bytes, s.ends = nil, nil
	if s.file == nil {
		return nil
	}
	file := s.file
	s.file = nil
	return file.Close()
}

// run is a sorted run that is read, at its entry.
type run struct {
	in    *bufio.Reader
	bytes []byte // of the entry
	entry sortedEntry
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
	both := r.bytes
	if _, err := io.ReadFull(r.in, both); err != nil {
		return fmt.Errorf("an entry is cut off: %w", io.ErrUnexpectedEOF)
	}
	r.entry = sortedEntry{key: both[:key:key], value: both[key:]}
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

func (m merge) Len() int           { return len(m) }
func (m merge) Less(i, j int) bool { return bytes.Compare(m[i].entry.key, m[j].entry.key) < 0 }
func (m merge) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }

// Push is heap's.
func (m *merge) Push(x any) { *m = append(*m, x.(*run)) } //nolint:forcetypeassert // only runs are pushed

// Pop is heap's.
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
