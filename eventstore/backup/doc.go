// Package backup copies a log while it runs, and makes a new one from the copy.
// [Create] writes a backup; [Open] checks one; [Backup.Restore] makes its streams on a
// server that has none of them; [Backup.Repartition] rewrites it for another number of partitions.
//
// # What is copied
//
// The partitions ORDERS-nn, the wrapped data keys, quarantine, intake, relay and audit,
// and whatever streams the caller adds. Each is a file with the server's own snapshot
// (package snapshot): subjects, sequences, headers, message ids, times, stored
// bytes and consumers are exactly those of the stream. A copy made by reading and publishing
// again would lose the times, by which undated facts of the intake are ordered and
// quarantine expires, and the places of the endpoints' consumers.
//
// A backup is a directory. Its manifest is written last: who the log is (identity,
// epoch), its head, and of every file the stream's configuration, counts, size and
// SHA-256; it carries its own checksum. Without a manifest a backup was not finished.
//
// # Consistency
//
// Every stream is copied as it is at one moment, and the order of the moments makes
// the whole consistent. Intake comes first: what it holds no more was recorded, and
// is in a later copy. Then quarantine, the partitions, and what the caller adds (what
// endpoints wait for is stored before their consumers move on). Keys come last, since an
// event's key is stored before the event: the backup has the key of every event in
// it, unless it was destroyed. Each partition ends at its own head.
//
// # A restored log
//
// It keeps its identity and starts a new epoch, and remembers the backup's head: positions
// of the earlier epoch hold up to there and no further. No two restores have the same
// epoch. A repartitioned log has the same events in other places, so that no
// position of the old one means anything in it: it is a new log, with a new
// identity, and remembers the old one's as its origin. Stored bytes are not changed, so
// revisions and hash chains are what they were; partitions are merged by the time of storage.
//
// # Caveats
//
// The key-encryption key is not in a backup: whoever holds both can read everything. A
// person who is erased is erased from a backup only when the backup is gone. The
// intake's messages are as they were received, unsealed. Streams that are restored to a
// server of yours are as durable as that server makes them; an embedded one's files are synced by the caller.
package backup
