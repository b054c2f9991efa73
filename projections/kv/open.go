package kv

import (
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

const (
	// lockWait is how long OpenBolt waits for another process to close the file.
	lockWait = time.Second
	// mapSize is the address space mapped at first: below it, growing the file
	// never waits for readers (bbolt's Options.InitialMmapSize). It is no memory.
	mapSize = min(1<<34, math.MaxInt>>1)
)

// OpenBolt opens the bbolt file at path, creating one with mode 0600, as views need
// it. It survives a damaged one: where pages are missing or hold something else bbolt
// panics, or reads behind the end of the file. The error is then bbolt's ErrInvalid, and
// ErrTimeout when another process has the file.
func OpenBolt(path string) (db *bbolt.DB, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("%w: %v", bbolterrors.ErrInvalid, r)
		}
	}()
	return bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         lockWait,
		FreelistType:    bbolt.FreelistMapType,
		InitialMmapSize: mapSize,
	})
}
