// Package snapshot is a stream as nats-server hands it out and takes it back:
// [Take] and [Put] speak the JetStream API ($JS.API.STREAM.SNAPSHOT and RESTORE, chunks
// with flow control), a [Reader] and a [Writer] know the archive inside.
//
// Since 2.15 the archive is S2-compressed entries: the stream's state, its
// consumers, every message up to the state's last sequence with subject, header, time
// and sequence, and an end mark (nats-server, server/stream_backup.go and server/archive).
// The server checks each message's own checksum while it reads it, so a broken record
// ends the snapshot with an error instead of going into it.
//
// Nothing here is held in memory beyond one message and the window of chunks on
// their way.
package snapshot
