// Package ring keeps the newest events of the log, encoded once, for all who
// follow it: one follower for each partition feeds a [Ring], and every subscriber
// has a [Reader] with a place of its own in it.
//
// Invariants:
//
//   - A reader is handed every event after its place, of each partition in order and
//     without a hole, or told of the [Gap] that the ring does not hold any more and
//     that is to be read from the log.
//   - The ring holds a bounded number of bytes, whoever reads how slowly: what is
//     written never waits for a reader.
//   - A reader that is asleep is moved past events that it does not want without being
//     woken, so that many idle subscribers with narrow filters cost a look
//     each at every event, and nothing else.
//   - The followers run while there is a reader, and have ended when the last one
//     has left.
//
// Caveats: what a reader wants is asked under the ring's lock, by the follower: it
// must be quick and must not call the ring.
package ring
