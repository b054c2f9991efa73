package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

const (
	// hashSize is the size of an event's hash.
	hashSize = 32
)

// The buckets that belong to no projection.
const (
	metaBucket   = "meta"   // identity, versions, marks
	parkedBucket = "parked" // order id: why
	// skippedBucket is of the events that an operator left out: partition as two
	// bytes and sequence as eight, big-endian: order id, a space and the reason.
	skippedBucket = "skipped"
)

var (
	identityKey = []byte("identity")
	machineKey  = []byte("machine")
)

// File is a file of views and what it does not hold yet: see package kv. Its
// methods are safe for concurrent use; Close waits for open transactions.
type File struct {
	path   string
	open   atomic.Pointer[kv.DB]
	seen   *seen
	damage chan struct{} // of one: a reader came upon some
}

// Snapshot is a File at one moment. It is valid only within [File.Snapshot]'s
// callback and in one goroutine.
type Snapshot struct {
	tx       *kv.Tx
	position domain.Position
}

var (
	_ Reader = (*File)(nil)
	_ Reader = (*Snapshot)(nil)
)

// mark is how far a partition was read: the last event's sequence and hash. The
// zero value is the beginning.
type mark struct {
	sequence uint64
	hash     [hashSize]byte
}

// Open opens the file of views at path, creating an empty one with mode 0600.
// An error has kind Unavailable when another process has the file, and Corrupt
// when it is no file of views.
func Open(path string) (*File, error) {
	fresh := !exists(path)
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	f := newFile(path)
	if f.seen, err = openSeen(path, fresh); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	f.open.Store(kv.New(db))
	return f, nil
}

func newFile(path string) *File { return &File{path: path, damage: make(chan struct{}, 1)} }

func openDB(path string) (*bbolt.DB, error) {
	bolt, err := kv.OpenBolt(path)
	var system syscall.Errno // the file cannot be reached, whatever is in it
	switch {
	case err == nil:
		return bolt, nil
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, domain.Errorf(domain.Unavailable, "open the views %s: another process has the file: %w", path, err)
	case errors.As(err, &system):
		return nil, fmt.Errorf("open the views %s: %w", path, err)
	default:
		return nil, domain.Errorf(domain.Corrupt,
			"open the views %s: %w; delete the file and start again: it is rebuilt from the log", path, err)
	}
}

// Close writes what only memory holds, and closes the file. Nothing may be
// running on it.
func (f *File) Close() error {
	if err := errors.Join(f.db().Close(), f.seen.close()); err != nil {
		return fmt.Errorf("close the views %s: %w", f.path, err)
	}
	return nil
}

// Discard closes the file without what only memory holds: a kill leaves as much.
func (f *File) Discard() error {
	if err := errors.Join(f.db().Discard(), f.seen.close()); err != nil {
		return fmt.Errorf("close the views %s: %w", f.path, err)
	}
	return nil
}

// View calls fn with a read transaction of the newest state. What fn keeps of
// it must be copied.
func (f *File) View(fn func(tx *kv.Tx) error) error {
	for {
		db, began := f.db(), false
		err := db.View(func(tx *kv.Tx) error {
			began = true
			return fn(tx)
		})
		if began || f.db() == db || !errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
			return f.damaged(db, err)
		}
		// Another file took its place meanwhile.
	}
}

// damaged has the runner know of a damaged page of db, when that is what err is of, and
// says what to do.
func (f *File) damaged(db *kv.DB, err error) error {
	if errors.Is(err, kv.ErrDamaged) && f.db() == db {
		select {
		case f.damage <- struct{}{}:
		default:
		}
	}
	return f.advised(err)
}

// advised says what to do about a damaged page.
func (f *File) advised(err error) error {
	if !errors.Is(err, kv.ErrDamaged) || domain.KindOf(err) == domain.Corrupt {
		return err
	}
	return domain.Errorf(domain.Corrupt,
		"views %s: %w; a running server builds them anew beside it, as 'comanda views rebuild' does; when none can be started, delete the file", f.path, err)
}

// db is the file that is there now.
func (f *File) db() *kv.DB { return f.open.Load() }

// replace puts db, which is open at the path of another file, in the place of
// f's. Who reads the old one reads it to the end. renamed is called when
// the name is taken.
func (f *File) replace(path string, db *kv.DB, renamed func()) error {
	if err := os.Rename(path, f.path); err != nil {
		return fmt.Errorf("replace the views: %w", err)
	}
	renamed()
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		return fmt.Errorf("replace the views: %w", err)
	}
	_ = f.open.Swap(db).Discard() // waits for its readers; the file is gone, whatever it says
	return nil
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // that of the views
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Snapshot calls fn with the file as it is now. Changes made meanwhile are not
// seen, and their pages are not reused before fn returns.
func (f *File) Snapshot(fn func(*Snapshot) error) error {
	return f.View(func(tx *kv.Tx) error {
		var position domain.Position
		err := eachMark(tx, func(partition int, m mark) {
			position = position.With(partition, m.sequence)
		})
		if err != nil {
			return err
		}
		return fn(&Snapshot{tx: tx, position: position})
	})
}

// Dump writes everything the file holds, as [kv.DB.Dump] does. Two files that have read
// the same events give the same bytes, whatever the batches were and whether they were
// live or rebuilt.
func (f *File) Dump(w io.Writer) error {
	if err := f.db().Dump(w); err != nil {
		return fmt.Errorf("dump the views %s: %w", f.path, err)
	}
	return nil
}

// Position is what the snapshot's views have read.
func (s *Snapshot) Position() domain.Position { return s.position }

// Log is the identity of the log that the views are of; "" before they were
// ever made.
func (s *Snapshot) Log() string {
	return string(s.tx.Bucket(metaBucket).Get(identityKey))
}

// Marks calls yield with the newest event of each partition that the views have
// read: its sequence and its hash.
func (s *Snapshot) Marks(yield func(partition int, sequence uint64, hash [32]byte)) error {
	return eachMark(s.tx, func(partition int, m mark) { yield(partition, m.sequence, m.hash) })
}

// View calls fn with the snapshot's transaction.
func (s *Snapshot) View(fn func(tx *kv.Tx) error) error { return fn(s.tx) }

// Parked calls report for every order whose events reach no view, with the
// reason why.
func (s *Snapshot) Parked(report func(id domain.OrderID, why string)) error {
	return s.tx.Bucket(parkedBucket).ForEach(func(k, v []byte) error {
		report(domain.OrderID(k), string(v))
		return nil
	})
}

// reset makes an empty file of f. Nobody may be reading.
func (f *File) reset() error {
	if err := f.db().Discard(); err != nil {
		return fmt.Errorf("close the views %s: %w", f.path, err)
	}
	if err := os.Remove(f.path); err != nil {
		return fmt.Errorf("make the views anew: %w", err)
	}
	db, err := openDB(f.path)
	if err != nil {
		return err
	}
	f.open.Store(kv.New(db))
	return nil
}

// prepare writes the log's identity, and the versions of the machine that folds and
// of all projections.
func (f *File) prepare(identity string, machine uint32, all []Projection) error {
	return prepare(f.db(), identity, machine, all)
}

func prepare(db *kv.DB, identity string, machine uint32, all []Projection) error {
	err := db.Update(func(tx *kv.Tx) error {
		meta := tx.Bucket(metaBucket)
		if err := meta.Put(identityKey, []byte(identity)); err != nil {
			return err
		}
		if err := meta.Put(machineKey, binary.BigEndian.AppendUint32(nil, machine)); err != nil {
			return err
		}
		for _, p := range all {
			if err := meta.Put(versionKey(p), binary.BigEndian.AppendUint32(nil, p.Version())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return db.Flush()
}

// header is what a file says of itself.
type header struct {
	identity string            // of the log; "" of an empty file
	stale    []string          // names of the projections that have another version, or were folded by another machine
	versions map[string]uint32 // of the projections, as far as it has them
	legible  bool              // its rows can be read, whatever is stale
	marks    map[int]mark
	parked   map[domain.OrderID]struct{}
	skipped  map[place]string
}

func (f *File) header(machine uint32, all []Projection) (header, error) {
	h := header{versions: map[string]uint32{}, marks: map[int]mark{}, parked: map[domain.OrderID]struct{}{}, skipped: map[place]string{}}
	err := f.View(func(tx *kv.Tx) error {
		meta := tx.Bucket(metaBucket)
		h.identity = string(meta.Get(identityKey))
		folded, known := versionOf(meta.Get(machineKey))
		h.legible = known && folded <= machine
		for _, p := range all {
			stored, known := versionOf(meta.Get(versionKey(p)))
			if !known || stored != p.Version() || folded != machine {
				h.stale = append(h.stale, p.Name())
			}
			h.versions[p.Name()] = stored
			h.legible = h.legible && known && reads(p, stored)
		}
		if err := eachMark(tx, func(partition int, m mark) { h.marks[partition] = m }); err != nil {
			return err
		}
		if err := eachSkipped(tx, func(at place, entry string) { h.skipped[at] = entry }); err != nil {
			return err
		}
		return (&Snapshot{tx: tx}).Parked(func(id domain.OrderID, _ string) { h.parked[id] = struct{}{} })
	})
	return h, err
}

func versionKey(p Projection) []byte { return []byte("version/" + p.Name()) }

// markPrefix begins the keys of marks; the partition follows as two bytes
// big-endian. The value is the sequence as eight, and the hash.
const markPrefix = "mark/"

func putMark(tx *kv.Tx, partition int, m mark) error {
	key := binary.BigEndian.AppendUint16([]byte(markPrefix), uint16(partition)) //nolint:gosec // at most 256 partitions
	value := binary.BigEndian.AppendUint64(make([]byte, 0, 8+hashSize), m.sequence)
	return tx.Bucket(metaBucket).Put(key, append(value, m.hash[:]...))
}

func eachMark(tx *kv.Tx, fn func(partition int, m mark)) error {
	c := tx.Bucket(metaBucket).Cursor()
	for k, v := c.Seek([]byte(markPrefix)); len(k) == len(markPrefix)+2 && string(k[:len(markPrefix)]) == markPrefix; k, v = c.Next() {
		if len(v) != 8+hashSize {
			return domain.Errorf(domain.Corrupt, "views: a checkpoint of %d bytes", len(v))
		}
		m := mark{sequence: binary.BigEndian.Uint64(v)}
		copy(m.hash[:], v[8:])
		fn(int(binary.BigEndian.Uint16(k[len(markPrefix):])), m)
	}
	return nil
}
