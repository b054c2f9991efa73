// Package mirror keeps a second copy of a log up to date from one that runs.
// [Open] compares the two and makes what the copy lacks; [Mirror.Pass] brings it to the
// source's head, [Mirror.Run] again and again; [Promote] makes a live log of it.
//
// # The copy
//
// A mirror reads the source through its JetStream API, as any client, and writes to
// a server of its own. A partition's events get the sequences that they have in the
// source, in atomic batches that name the sequence before them, so that one fsync is for
// many and none is stored twice or out of place. Of each event the mirror has the subject,
// the id, the type and the stored bytes; the time of storage and the expectation, which
// nobody reads, are its own. nats-server's own mirrors (server/stream.go, setupMirrorConsumer) would
// keep the times, but need a leaf node or gateway between the servers, go on silently when
// the source is another log, and cannot be stopped at a consistent head.
//
// # A pass
//
// What is beside the log comes first, then the heads, then the keys, then every
// partition up to its head: whatever the mirror holds, it has the keys of it, and nothing beside the
// log is newer than the log. INTAKE, QUARANTINE, RELAY, AUDIT and what the caller adds are kept as
// snapshots in files of the mirror's directory, those that changed with every tenth pass,
// and so are the places of the log's durable consumers. A file takes the place of an
// older one when the partitions have caught up with it; INTAKE comes last, since what it
// holds no more is elsewhere.
//
// A pass may end anywhere, by kill -9 too: the copy is always a beginning of the
// source, and how far it is can be read from its own streams.
//
// # What is refused
//
// A source that is another log or another epoch (Refused); one that holds less than the mirror, or
// another event where both have one (Corrupt, with the place); an event that does not
// follow its order's last one in the mirror; holes on either side. The last event of each partition is
// compared before anything is copied after it, and again after every lost connection. Nothing
// is ever overwritten or deleted but a file of the mirror's own.
//
// # Promotion
//
// Streams of a mirror say so in their metadata, and eventstore.Open refuses it, as does
// a backup; the directory's lock keeps everybody else off while it is copied into. Promote puts in place
// what is beside the log and the consumers, and begins a new epoch that honours
// the mirror's head, as a restore does. The first partition comes last: until then it is a mirror, and Promote can be called again.
//
// # Caveats
//
// What the source acknowledged after the last pass is not in the mirror. Deliveries
// that were made since are made again, with the ids that they had. The
// key-encryption key is not in it. A key that is destroyed in the source is destroyed in the mirror by the next pass.
package mirror
