package kv

import (
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
)

// appendedFill is how full the pages of a bucket get that grows at its end.
const appendedFill = 0.95

// write puts everything of m into the file, bucket after bucket and key after
// key, which touches every page once.
func write(file *bbolt.Tx, m *memory, appended func(path string) bool) (err error) {
	var path string
	var bucket *bbolt.Bucket
	var room []byte // bbolt copies keys, not values
	m.tree.Scan(func(k string, e entry) bool {
		at, name, _ := strings.Cut(k, keySeparator)
		if bucket == nil || at != path {
			if bucket, err = makeBucket(file, at); err != nil {
				return false
			}
			path = at
			if appended(path) {
				bucket.FillPercent = appendedFill
			}
		}
		room = append(room[:0], name...)
		if e == nil {
			err = bucket.Delete(room)
		} else {
			err = bucket.Put(room, e)
		}
		if err != nil {
			err = fmt.Errorf("write to bucket %s: %w", path, err)
		}
		return err == nil
	})
	return err
}

func makeBucket(file *bbolt.Tx, path string) (*bbolt.Bucket, error) {
	names := strings.Split(path, pathSeparator)
	b, err := file.CreateBucketIfNotExists([]byte(names[0]))
	for _, name := range names[1:] {
		if err != nil {
			break
		}
		b, err = b.CreateBucketIfNotExists([]byte(name))
	}
	if err != nil {
		return nil, fmt.Errorf("make bucket %s: %w", path, err)
	}
	return b, nil
}
