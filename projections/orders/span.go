package orders

import (
	"bytes"
	"container/heap"
	"slices"

	"comanda.internal/projections/kv"
	"comanda.internal/projections/paging"
)

// way is how the ranges of an index are read.
type way struct {
	up bool // else the newest first
	// from is the first place there may be, before the one behind the last; nil: no bound.
	from, before *place
	after        *place // going up: the place that was looked at last
}

// way is where to go on after the place that was looked at last, nil for none.
func (f *Filter) way(last *place) way {
	bounds := f.Recorded
	switch first := f.Sort.By == SortFirst || f.best() == indexProviderOrderID; {
	case first:
		bounds = f.First
	case f.First.From.After(bounds.From):
		bounds.From = f.First.From // nothing is recorded last before it is recorded first
	}
	w := way{up: f.Sort.Ascending && f.Sort.By != SortBest}
	if !bounds.From.IsZero() {
		w.from = placeFrom(bounds.From)
	}
	if !bounds.Before.IsZero() {
		w.before = placeFrom(bounds.Before)
	}
	switch {
	case last != nil && w.up:
		w.after = last
	case last != nil && (w.before == nil || bytes.Compare(last[:], w.before[:]) < 0):
		w.before = last
	}
	return w
}

// between reports whether p is within the bounds of both ends.
func (w *way) between(p *place) bool {
	return (w.from == nil || bytes.Compare(p[:], w.from[:]) >= 0) && (w.before == nil || bytes.Compare(p[:], w.before[:]) < 0)
}

// holds reports whether p is still to come.
func (w *way) holds(p *place) bool {
	return w.between(p) && (w.after == nil || bytes.Compare(p[:], w.after[:]) > 0)
}

// span is a range of an index.
type span struct {
	way

	prefix []byte
	cursor *kv.Cursor
	at     place
}

// seek goes to the first entry on the way; false when there is none.
func (s *span) seek() bool {
	if s.up {
		return s.seekUp()
	}
	end := append(slices.Clone(s.prefix), bytes.Repeat([]byte{0xff}, placeSize+1)...)
	if s.before != nil {
		end = append(slices.Clone(s.prefix), s.before[:]...)
	}
	key, _ := s.cursor.Seek(end)
	if key == nil {
		key, _ = s.cursor.Last()
	} else {
		key, _ = s.cursor.Prev()
	}
	return s.take(key)
}

func (s *span) seekUp() bool {
	start := slices.Clone(s.prefix)
	switch {
	case s.after != nil:
		start = append(append(start, s.after[:]...), 0) // the key behind it
	case s.from != nil:
		start = append(start, s.from[:]...)
	}
	key, _ := s.cursor.Seek(start)
	return s.take(key)
}

// step goes to the next entry on the way; false when there is none.
func (s *span) step() bool {
	var key []byte
	if s.up {
		key, _ = s.cursor.Next()
	} else {
		key, _ = s.cursor.Prev()
	}
	return s.take(key)
}

func (s *span) take(key []byte) bool {
	rest, ok := bytes.CutPrefix(key, s.prefix)
	if !ok || len(rest) != placeSize {
		return false
	}
	s.at = place(rest)
	return s.between(&s.at)
}

// spans is a heap of ranges, the one whose entry comes next first.
type spans struct {
	up   bool
	open []*span
}

func (s *spans) Len() int { return len(s.open) }

func (s *spans) Less(i, j int) bool {
	return bytes.Compare(s.open[i].at[:], s.open[j].at[:]) < 0 == s.up
}

func (s *spans) Swap(i, j int) { s.open[i], s.open[j] = s.open[j], s.open[i] }

// Push implements [heap.Interface]; ranges are never added.
func (s *spans) Push(x any) { s.open = append(s.open, x.(*span)) }

// Pop implements [heap.Interface].
func (s *spans) Pop() any {
	last := s.open[len(s.open)-1]
	s.open = s.open[:len(s.open)-1]
	return last
}

// openRanges are the ranges of the tenants of f, each at its first entry on the way.
func openRanges(
	b *kv.Bucket, ranges func() (index int, prefixes func(tenant string) [][]byte), f *Filter, on way,
) spans {
	n, prefixes := ranges()
	index := b.Bucket(indexes[n].bucket)
	all := spans{up: on.up}
	for _, tenant := range f.tenants(index) {
		for _, prefix := range prefixes(tenant) {
			s := &span{way: on, prefix: prefix, cursor: index.Cursor()}
			if s.seek() {
				all.open = append(all.open, s)
			}
		}
	}
	heap.Init(&all)
	return all
}

// tenants are those of f, of all those in an index.
func (f *Filter) tenants(index *kv.Bucket) []string {
	if f.Tenant == "" && f.Within == nil {
		return tenantsIn(index)
	}
	var out []string
	for _, tenant := range paging.Tenants(f.Tenant, f.Within) {
		out = append(out, string(tenant))
	}
	return out
}

// tenantsIn are the tenants that have entries in an index.
func tenantsIn(index *kv.Bucket) []string {
	var tenants []string
	c := index.Cursor()
	for key, _ := c.First(); len(key) > 0 && len(key) > int(key[0]); {
		prefix := slices.Clone(key[:1+key[0]])
		tenants = append(tenants, string(prefix[1:]))
		key, _ = c.Seek(append(prefix, bytes.Repeat([]byte{0xff}, longestPrefix+placeSize+1)...))
	}
	return tenants
}
