package kv

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
	"go.etcd.io/bbolt"
)

// DB is a bbolt file with what it does not hold yet. Its methods are safe for
// concurrent use.
type DB struct {
	bolt *bbolt.DB

	writing  sync.Mutex          // held by an Update, and while memory is handed to a flush
	flushing sync.Mutex          // held by a Flush
	appended map[string]struct{} // buckets that grow at their end; under writing

	mu     sync.RWMutex
	recent *memory // changed by Update, always by replacing it
	frozen *memory // being flushed; nil: nothing is

	readers readers
	// broken says that a write came upon a damaged page. bbolt's rollback may have, too
	// (tx.go, rollback), and holds its lock for ever then: such a file is left open.
	broken atomic.Bool
}

// memory is keys by bucket path and key. What is published is never changed.
type memory struct {
	tree *btree.Map[string, entry]
	size int // bytes of keys and values, as they were put
}

// entry is a value; nil says that the key is gone.
type entry []byte

// degree bounds the keys of a node in memory to 31: an Update copies each node that it
// changes, and of smaller ones there are more to allocate and to pass on the way.
const degree = 16

func newMemory() *memory { return &memory{tree: btree.NewMap[string, entry](degree)} }

// New is a DB on bolt, which is the DB's from now on.
func New(bolt *bbolt.DB) *DB {
	return &DB{bolt: bolt, recent: newMemory(), appended: map[string]struct{}{}}
}

// Close flushes and closes the file, also when the flush failed. It waits for
// open transactions.
func (db *DB) Close() error {
	err := db.Flush()
	db.flushing.Lock()
	defer db.flushing.Unlock()
	db.readers.stop()
	if db.broken.Load() {
		return err
	}
	return errors.Join(err, db.bolt.Close())
}

// File flushes and calls fn with the file alone.
func (db *DB) File(fn func(*bbolt.Tx) error) error {
	if err := db.Flush(); err != nil {
		return err
	}
	return survive(func() error { return db.bolt.View(fn) })
}

// Handed flushes and calls fn with the file, which it must not close.
func (db *DB) Handed(fn func(*bbolt.DB) error) error {
	if err := db.Flush(); err != nil {
		return err
	}
	return fn(db.bolt)
}

// Discard closes the file without what it does not hold yet.
func (db *DB) Discard() error {
	db.flushing.Lock()
	defer db.flushing.Unlock()
	db.readers.stop()
	if db.broken.Load() {
		return nil
	}
	return db.bolt.Close()
}

// View calls fn with the newest state. What fn reads is valid until it returns.
func (db *DB) View(fn func(*Tx) error) error {
	tx, err := db.begin(true)
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		if ended {
			db.readers.give(tx)
		} else { // fn panics, or came upon a damaged page
			_ = tx.file.Rollback()
		}
	}()
	return survive(func() error {
		err := fn(tx)
		ended = true
		return err
	})
}

// begin takes memory and file at one moment: a flush between the two would
// show the file further than the memory. One that is kept is given to readers at its end.
func (db *DB) begin(kept bool) (tx *Tx, err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	var epoch uint64
	if kept {
		tx, epoch = db.readers.take()
	}
	if tx == nil {
		file, err := db.bolt.Begin(false)
		if err != nil {
			return nil, err
		}
		tx = &Tx{file: file, epoch: epoch}
	}
	tx.layers = tx.layers[:0]
	if db.recent.tree.Len() > 0 {
		tx.layers = append(tx.layers, db.recent)
	}
	if db.frozen != nil {
		tx.layers = append(tx.layers, db.frozen)
	}
	return tx, nil
}

// Update calls fn with the newest state, which it may change; when fn errs,
// nothing was changed. One Update runs at a time.
func (db *DB) Update(fn func(*Tx) error) error {
	db.writing.Lock()
	defer db.writing.Unlock()
	tx, err := db.begin(false)
	if err != nil {
		return err
	}
	defer tx.file.Rollback() //nolint:errcheck // when fn panics: else Close waits for ever
	err = survive(func() error { return db.change(tx, fn) })
	// Before the lock: a flush that grows the file waits in bbolt for this read
	// transaction, behind it wait those that begin, and they hold the lock
	// (bbolt db.go, mmap and beginTx).
	_ = tx.file.Rollback()
	if err != nil {
		return err
	}
	db.mu.Lock()
	db.recent = tx.own
	db.mu.Unlock()
	return nil
}

// change calls fn with tx made writable.
func (db *DB) change(tx *Tx, fn func(*Tx) error) error {
	tx.own = &memory{tree: db.recent.tree.Copy(), size: db.recent.size}
	tx.appended = db.appended
	if len(tx.layers) > 0 && tx.layers[0] == db.recent {
		tx.layers[0] = tx.own
	} else {
		tx.layers = append([]*memory{tx.own}, tx.layers...)
	}
	return fn(tx)
}

// Load is an Update that is written to the file before it returns, key by key as
// fn puts them: for a file that nobody else reads and keys that come in order.
func (db *DB) Load(fn func(*Tx) error) error {
	db.flushing.Lock() // before the others, as a flush takes them
	defer db.flushing.Unlock()
	if err := db.flush(); err != nil {
		return err
	}
	db.writing.Lock()
	defer db.writing.Unlock()
	return db.write(func(file *bbolt.Tx) error {
		return fn(&Tx{file: file, appended: db.appended, load: true})
	}, func() {})
}

// Unflushed is how many bytes of keys and values only memory holds.
func (db *DB) Unflushed() int {
	db.mu.RLock()
	defer db.mu.RUnlock()
	n := db.recent.size
	if db.frozen != nil {
		n += db.frozen.size
	}
	return n
}

// Flush writes everything that was updated before the call to the file, as
// durable as bbolt makes it. One Flush runs at a time; reads and updates go on.
func (db *DB) Flush() error {
	db.flushing.Lock()
	defer db.flushing.Unlock()
	return db.flush()
}

func (db *DB) flush() error {
	if db.frozen != nil { // left by a flush that failed; only a Flush changes it
		if err := db.flushFrozen(); err != nil {
			return err
		}
	}
	db.freeze()
	if db.frozen == nil {
		return nil
	}
	return db.flushFrozen()
}

// freeze hands the memory to the flush.
func (db *DB) freeze() {
	db.writing.Lock()
	defer db.writing.Unlock()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.recent.tree.Len() > 0 {
		db.frozen, db.recent = db.recent, newMemory()
	}
}

func (db *DB) flushFrozen() error {
	return db.write(func(file *bbolt.Tx) error { return write(file, db.frozen, db.isAppended) }, func() {
		db.mu.Lock()
		db.frozen = nil
		db.mu.Unlock()
	})
}

func (db *DB) isAppended(path string) bool {
	db.writing.Lock()
	defer db.writing.Unlock()
	_, ok := db.appended[path]
	return ok
}
