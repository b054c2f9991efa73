package kv_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"comanda.internal/projections/kv"
)

// A file that grows is mapped anew, for which bbolt waits until no read
// transaction is open and lets none begin: readers, updates and flushes at once
// must get past each other each time. The file doubles up to 16 MiB, ten times over.
func TestTheFileGrowsUnderReadersAndUpdates(t *testing.T) {
	for range 10 {
		db := open(t, filepath.Join(t.TempDir(), "db"))
		done := make(chan struct{})
		var others sync.WaitGroup
		forever := func(fn func() error) {
			others.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
						must(t, fn())
					}
				}
			})
		}
		forever(db.Flush)
		for range 2 {
			forever(func() error { return db.View(func(*kv.Tx) error { return nil }) })
		}
		for n := range 256 {
			must(t, db.Update(func(tx *kv.Tx) error {
				return tx.Bucket("a").Put(fmt.Appendf(nil, "%08d", n), make([]byte, 64<<10))
			}))
		}
		close(done)
		others.Wait()
		must(t, db.Close())
	}
}
