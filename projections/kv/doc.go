// Package kv is ordered keys and values in nested buckets: a bbolt file, and in
// memory what the file does not hold yet.
//
// A [DB] is the file and its memory. [DB.Update] changes the memory only, in
// microseconds; [DB.Flush] writes what is there to the file in one bbolt
// transaction, sorted, so that a page which changed a hundred times since the
// last flush is written once. A [Tx] sees both as one state, a [Bucket] reads and
// a [Cursor] walks it, as bbolt's of the same names do.
//
// A [Loader] writes such a file from nothing, of keys that come in their order, without
// the transactions: for who can begin again when it is cut off. What it made is bbolt's to
// read and to change, as its test has bbolt check.
//
// Invariants:
//
//   - An Update is seen whole or not at all, by every Tx that begins after it
//     returned, and by none that began before.
//   - The file holds the state after some Update, never half of one: what an
//     Update wrote together, such as rows and the checkpoint they are right
//     for, is lost together when the process ends before the next flush. It is
//     for what can be made again, as views are from the log.
//   - A View may go on with a read transaction of the file that another ended, when the
//     file was not written since.
//   - A Flush that fails changes nothing that is seen, and is tried again by the
//     next one.
//
// A page that is damaged, as far as bbolt notices, is [ErrDamaged] to who reads or writes
// it, and the end of nothing else.
//
// Caveats. Memory holds every key that changed since the last flush and, while a
// flush runs, those of that flush too: see [DB.Unflushed]. Keys and values that
// were handed to Put belong to the DB. Buckets need not be created; an empty one
// is one that holds nothing.
package kv
