package kv

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// idleReaders are how many read transactions wait for the next who reads, and
// knownBuckets how many buckets each of them knows.
const (
	idleReaders  = 16
	knownBuckets = 32
)

// readers are read transactions of the file that are open and not in use. To begin one and
// to find a bucket in it costs as much as to read a row. None waits while the file is
// written: it would hold back pages, and bbolt when it maps a file that grew.
type readers struct {
	mu    sync.Mutex
	idle  []*Tx
	epoch uint64 // of the file; even: nobody writes it
}

// take is a transaction that nobody uses, of the file as it is; nil when there is none.
// epoch is for one that is begun after.
func (r *readers) take() (tx *Tx, epoch uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n > 0 {
		tx, r.idle = r.idle[n-1], r.idle[:n-1]
	}
	return tx, r.epoch
}

// give takes tx back, or ends it when it is of an older file, or one that is written.
func (r *readers) give(tx *Tx) {
	r.mu.Lock()
	fits := tx.epoch == r.epoch && r.epoch%2 == 0 && len(r.idle) < idleReaders
	if fits {
		r.idle = append(r.idle, tx)
	}
	r.mu.Unlock()
	if !fits {
		_ = tx.file.Rollback() // of a read transaction: nothing to say
	}
}

// stop ends those that wait, and has none wait before [readers.resume].
func (r *readers) stop() {
	r.mu.Lock()
	idle := r.idle
	r.idle, r.epoch = nil, r.epoch+1
	r.mu.Unlock()
	for _, tx := range idle {
		_ = tx.file.Rollback()
	}
}

func (r *readers) resume() {
	r.mu.Lock()
	r.epoch++
	r.mu.Unlock()
}

// write changes the file. It is called by who holds flushing; memory is changed by then,
// before a reader waits again.
func (db *DB) write(fn func(*bbolt.Tx) error, then func()) error {
	db.readers.stop()
	defer db.readers.resume()
	if db.broken.Load() {
		return ErrDamaged
	}
	err := survive(func() error { return db.bolt.Update(fn) })
	switch {
	case errors.Is(err, ErrDamaged):
		db.broken.Store(true)
		return err
	case errors.Is(err, bbolterrors.ErrIncompatibleValue): // a key that is a bucket, or the other way round
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case err != nil:
		return err
	}
	then()
	return nil
}

// bucket is one that was looked up before in this transaction; nil: it was not.
func (tx *Tx) bucket(path []string) *Bucket {
	for _, b := range tx.buckets {
		if slices.Equal(b.names, path) {
			return b
		}
	}
	return nil
}

// get is a value of the file.
func (b *Bucket) get(key []byte) []byte {
	if b.tx.load { // the file changes
		return b.file.Get(key)
	}
	if b.cursor == nil {
		b.cursor = b.file.Cursor()
	}
	k, v := b.cursor.Seek(key)
	if string(k) != string(key) {
		return nil
	}
	return v
}
