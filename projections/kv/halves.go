package kv

import (
	"bytes"
	"errors"
)

// InHalves goes through b in two goroutines: the caller's calls before with every key and
// value before the key at, another calls from with the others, each in the order of keys until it
// errs. Until InHalves returns, nothing else may use the Tx but cursors that were made earlier, each in
// one of the two. What panics in the other goroutine panics in the caller's.
func (b *Bucket) InHalves(at []byte, before, from func(key, value []byte) error) (err error) {
	first, second := b.Cursor(), b.Cursor()
	var failed error
	var panicked any
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() { panicked = recover() }()
		failed = survive(func() error {
			k, v := second.Seek(at)
			return second.each(k, v, nil, from)
		})
	}()
	defer func() {
		<-ended
		if panicked != nil {
			panic(panicked) //nolint:forbidigo // it is the callback's
		}
		err = errors.Join(err, failed)
	}()
	k, v := first.First()
	return first.each(k, v, at, before)
}

// each calls fn with the key and value where c stands and those behind it, before end;
// nil is the end of all.
func (c *Cursor) each(k, v, end []byte, fn func(key, value []byte) error) error {
	for ; k != nil && (end == nil || bytes.Compare(k, end) < 0); k, v = c.Next() {
		if err := fn(k, v); err != nil {
			return err
		}
	}
	return nil
}
