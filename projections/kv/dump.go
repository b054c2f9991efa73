package kv

import (
	"bufio"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Dump flushes and writes everything the file holds, one key a line, in the order of keys:
// the path of buckets, the key and the value, the last two in hexadecimal.
func (db *DB) Dump(w io.Writer) error {
	out := bufio.NewWriter(w)
	err := db.File(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			return dumpBucket(out, string(name), b)
		})
	})
	if err != nil {
		return err
	}
	return out.Flush()
}

func dumpBucket(out *bufio.Writer, path string, b *bbolt.Bucket) error {
	return b.ForEach(func(k, v []byte) error {
		if v == nil {
			if nested := b.Bucket(k); nested != nil {
				return dumpBucket(out, path+"/"+string(k), nested)
			}
		}
		_, err := fmt.Fprintf(out, "%s\t%x\t%x\n", path, k, v)
		return err
	})
}
