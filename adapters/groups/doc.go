// Package groups shares the log's events among the members of named groups: each
// event is settled by one of them, at least once. [Groups] makes, lists, moves and
// removes groups, and [Groups.Join] makes a [Member] of one. It knows no transport.
//
// # Where a group is kept
//
// What it wants is a record in the KV bucket GROUPS, under "g.<name>"; how far it is, a
// pinned durable consumer on each partition (package durable), "group_<name>_<generation>".
// A new generation begins when the group is moved, so that no answer to what was
// given before touches what is given after. While a process has members of a group, it
// runs a desk for it, one goroutine; without members there is only the durable.
//
// # Order
//
// An order has a lane, and of a lane at most one event is with a member. Its next is
// given when that one was acknowledged or skipped. An event whose predecessor this
// process did not see is given when the predecessor is at or below the durable's
// acknowledgement floor and nothing of the order is held. Where other orders' events, which
// may be with members for long, keep the floor down, the process asks for them to be
// held (see below) with "w.<name>.<generation>.<partition>", which names the
// sequence: so no order waits for another.
//
// # What is not settled
//
// An event that a member did not settle is held: a record of its revision, how often it
// was given and when it is to be given again is stored, under
// "h.<name>.<generation>.<order id>", and only then is it acknowledged to JetStream. What the
// order does meanwhile waits behind it: it is acknowledged too once the record says how
// far, since the log holds it. So an order that fails costs one key, holds no other
// back, does not keep the floor down, and survives a kill. Held events are claimed by
// compare-and-set before they are given, by whichever process has a member with credit.
//
// An event that was given as often as the group allows, or that a member parks, is
// parked: the order's later events wait behind it until it is replayed or skipped.
// Beyond [Config.MaxHeld] held orders no new event is given: the consumers are broken, and
// the backlog is the log.
//
// # Caveats
//
// At least once: after a kill, what members had is given again once JetStream's wait for
// an acknowledgement, or the claim, is over; and what was acknowledged in the last
// moment may be. A kill may lose the count of the first delivery.
//
// The pin is one process's for each partition: members that are connected to another get
// new events of that partition only when the first has no members any more, or is gone. Their
// share of held events they get at once.
package groups
