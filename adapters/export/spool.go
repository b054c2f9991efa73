package export

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"comanda.internal/domain"
	"comanda.internal/proto/wire"
)

// spoolBytes are kept in memory for each of a spool's files.
const spoolBytes = 1 << 15

// spool parts bytes among files by name, in the order in which they came.
type spool struct {
	dir   string
	files map[string]*bytes.Buffer
}

func newSpool(dir string) (*spool, error) {
	return &spool{dir: dir, files: map[string]*bytes.Buffer{}}, os.MkdirAll(dir, 0o750) //nolint:wrapcheck // names the directory
}

// to is where name's bytes are added; flushed is called after.
func (s *spool) to(name string) *bytes.Buffer {
	b := s.files[name]
	if b == nil {
		b = new(bytes.Buffer)
		s.files[name] = b
	}
	return b
}

// flushed writes b when it is long.
func (s *spool) flushed(name string, b *bytes.Buffer) error {
	if b.Len() < spoolBytes {
		return nil
	}
	return s.flush(name, b)
}

func (s *spool) flush(name string, b *bytes.Buffer) error {
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err == nil {
		_, err = f.Write(b.Bytes())
		err = errors.Join(err, f.Close())
	}
	b.Reset()
	return err
}

func (s *spool) path(name string) string { return filepath.Join(s.dir, name) }

// names are those of all files, sorted; everything is in them after.
func (s *spool) names() ([]string, error) {
	for name, b := range s.files {
		if err := s.flush(name, b); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(s.files)), nil
}

// addEvent adds r to the bucket of its order. Buckets are sorted as order ids are.
func (s *spool) addEvent(r *domain.Recorded) error {
	encoded, err := wire.Encoded(r)
	if err != nil {
		return fmt.Errorf("encode the event %s: %w", r.Event.ID, err)
	}
	name := bucketOf(r.Event.OrderID)
	b := s.to(name)
	head := binary.AppendUvarint(b.AvailableBuffer(), uint64(r.Partition)) //nolint:gosec // at most 256
	head = binary.AppendUvarint(head, r.Sequence)
	head = binary.AppendUvarint(head, uint64(len(encoded)))
	_, _ = b.Write(head)
	_, _ = b.Write(encoded)
	return s.flushed(name, b)
}

// bucketOf is one of 256 or so: the first two characters of the id's random part,
// of which the second counts a quarter.
func bucketOf(id domain.OrderID) string {
	const ascending = "234567abcdefghijklmnopqrstuvwxyz"
	random := strings.TrimPrefix(string(id), "ord_")
	if len(random) < 2 {
		return "0"
	}
	return random[:1] + string("01234567"[max(strings.IndexByte(ascending, random[1]), 0)/4])
}

// readEvents decodes a bucket and removes its file: its orders, by id, each with
// its events in the order of the log.
func (s *spool) readEvents(name string) (map[domain.OrderID][]domain.Recorded, error) {
	in, err := os.ReadFile(s.path(name))
	if err == nil {
		err = os.Remove(s.path(name))
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	out := map[domain.OrderID][]domain.Recorded{}
	for len(in) > 0 {
		var head [3]uint64
		for i := range head {
			value, n := binary.Uvarint(in)
			if n <= 0 {
				return nil, domain.Errorf(domain.Corrupt, "%s was cut short", s.path(name))
			}
			head[i], in = value, in[n:]
		}
		if uint64(len(in)) < head[2] {
			return nil, domain.Errorf(domain.Corrupt, "%s was cut short", s.path(name))
		}
		e, err := wire.DecodeEvent(in[:head[2]:head[2]])
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path(name), err)
		}
		in = in[head[2]:]
		out[e.OrderID] = append(out[e.OrderID], domain.Recorded{Event: e, Partition: int(head[0]), Sequence: head[1]}) //nolint:gosec // at most 256
	}
	return out, nil
}
