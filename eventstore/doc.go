// Package eventstore is the log on NATS JetStream. [Open] finds or makes its
// streams; a [Recorder] reads, decides, seals, appends and decides again;
// [Log.Follow] and [Log.Order] read back; [Log.Verify] proves that what is stored
// holds together. [Log.Quarantine] and [Log.Relay] keep what is no event.
//
// # Partitions
//
// The log is a power of two of streams, ORDERS-00 and so on, fixed when it is
// made. An order belongs to one of 256 slots by the SHA-256 of its id, a slot to a
// partition, and has one subject of its own: orders.<slot>.<tenant>.<order_id>. Nothing
// else is published below orders. The log's random identity, its epoch and its number of
// partitions are in the streams' metadata. A [domain.Position] is a sequence for each partition.
//
// # What an acknowledgement means
//
// An event is appended with the sequence of its order's last event as the
// expectation and its id for the server's dedupe window. Every answer is one of four outcomes:
//
//   - stored: the server has it, durable by the server's own means.
//   - duplicate: the id was stored before.
//   - conflict (10071, and 10164 where a stream is replicated): the order is not
//     where it was thought to be. One server asks for the expectation before
//     the id, so a repeat of our own stored message is a conflict there too.
//   - unknown: no answer, nobody there, or the same id on its way (10158). The
//     same bytes are sent again, a bounded number of times.
//
// A limit that is reached (10002, 10023, 10047, 10077) is unknown as well, and is not
// sent again: an earlier try of the same message may have been stored.
//
// All but the first are settled by the order's history, read through its
// leader: with the event's id in it the fact is stored, and the hash of the bytes tells
// our own success from another writer's. Without it the fact is decided again after a
// conflict; after an unknown outcome the answer is Unavailable, and nothing was
// acknowledged. The dedupe window is never the proof. Nor is the history of a server
// that met a write error: an atomic batch whose fsync failed can be read until the
// server ends, and is gone afterwards. What is read is asked after with Config.Health.
//
// # A log that cannot be written
//
// After a failed write, as on a full disk, nats-server answers no publish to the
// stream until it is started again. [Log.Watch] asks the server's own health every
// second and writes a canary, larger than a block of a file system, when nothing else
// was written for five or an append had no answer. While it fails, appends are
// refused before they are sent ([Log.Writable]); an embedded server that cannot
// recover ends the process after three seconds, one that is silent after Config.GiveUp.
// On a single server of yours that met a write error Comanda cannot ask: use replicas,
// where what can be read was committed by a majority.
//
// # Cluster
//
// With replicas any number of instances write the same orders. A new log's leaders
// are spread over the servers, and instances that start at once make one log. Opening asks
// again for up to 30 s, since a cluster that has just started has no leader. When a
// leader is killed its partitions acknowledge nothing until the others elect one: 4 to
// 10 s, by nats-server's election timeout; TestLeaderDies logs what it measured.
//
// # Invariants
//
//   - An order not in memory is assumed new; the conflict reads it.
//   - One order has at most one event on its way from one process. Different
//     orders share no lock while they are decided, sealed, encoded or appended.
//   - prev_hash is SHA-256 of the stored bytes of the order's previous event, so
//     an order's history is a chain; recorded_at never goes back along it.
//   - A retry of one decision sends the same bytes. A new decision is sealed anew;
//     an order's key is that of its first event, or a new one when that was destroyed.
//
// # Commit
//
// Events go singly while few wait and as atomic batches, with one fsync for all, from
// 4 waiting where the server stages batches in memory (natsnode's StageBatches), or from 16
// where it stages them on disk, which takes it ten milliseconds; see committer.go. A batch that is
// refused is halved until what is left around the culprit goes singly, so that one
// conflict costs only its own order; one whose answer stays away is sent again as singles.
//
// Events a second that the Recorder stores (decided, sealed, appended), over the best rate of
// raw single publishes with as many clients on any number of streams, which fsync alike. By
// partitions and clients; comanda bench append, medians of three rotated rounds of 1 s, two cores:
//
//	                  1     16     64    256   1000 clients
//	 1 partition   0.75   1.16   2.24   2.83   4.32
//	 2             0.85   0.96   1.87   2.46   2.95
//	 4             0.71   0.63   1.40   2.03   2.62
//	 8             0.84   1.04   1.10   1.56   2.08
//	16             0.38   0.65   0.75   1.15   1.88
//	 1, never in
//	 batches       0.83   0.46   0.49   0.53   0.65
//
// More partitions make shorter queues, and a batch gains by its length: one partition is the
// default of an embedded server, and 8 of a cluster, where they spread leaders. Of thresholds
// 2 to 32 at 16 clients, 2 to 8 store 1.1 times raw and 16 and more 0.6; at 64 and 256 clients
// they do not differ beyond the noise. Three replicas on one machine (raw 1.5 to 8 k/s):
// 0.83 at 64 and 256 clients on one partition in batches, 0.70 without; 0.46 to 0.72 on eight.
//
// # Damage
//
// [Open] refuses (Corrupt) a log whose partitions do not begin at sequence 1, hold fewer
// events than their last sequence says, or are missing beside others; and one that lacks
// an event of Config.Remembered, by sequence and hash: it went backwards. Settings that
// differ are Refused. What Open cannot see, Verify finds: a message whose checksum is wrong is
// still counted, and consumers pass over it in silence.
//
// A server that was killed reads its blocks anew, and drops the rest of a block from a
// flipped bit on, as if it were a torn write. In the last block nothing is left that tells, and
// the next append takes the lost sequences: only who remembers the events that were there
// notices, which is why the views and the scrub ([Mark]) both do.
//
// Verify holds some 262,144 events at a time, and at most 40 bytes for every order of the
// log; 120 more when views are compared. Of a million events in one run it kept the rate of a raw
// replay, and 0.63 of it with every view compared: it decides every event again, while the next are
// read and decoded and those before are compared.
//
// # Replays
//
// What is read in bulk, as by [Log.Scan], [Log.Stored] and [Log.Verify], comes straight from the
// block files of an embedded server (package blocks), of whose messages nothing was removed; from
// a server of yours as a snapshot. Either ends at what does not prove itself, and a consumer goes
// on from there.
//
// # Caveats
//
// Streams are never recreated beside views that remember a later position. DenyDelete
// does not stop a stream's deletion: the accounts of package natsnode do. Verify reads the
// log as it is when it begins; orders that move meanwhile are reported as they were.
package eventstore
