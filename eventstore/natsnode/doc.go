// Package natsnode gives Comanda its NATS server: [Start] runs one embedded in
// the process, or connects to yours.
//
// An embedded [Node] has two accounts from its first start and no anonymous
// user. core is Comanda's own: in process, or with the credentials in
// nats-core.json. checkout is the merchant's checkout, with those in
// nats-checkout.json: it may publish to intake.<source>, subscribe to outcome.>,
// send requests to comanda.> and ask for the service, and nothing else; neither the JetStream API
// nor orders.> exist for it. With Checkouts there is instead one account for
// each of these sources, which may do the same for it alone. The files are made once, with mode 0600, in the
// data directory; they are JSON as `nats context` reads it. A [Grant] is what such
// an account may do, here and on a server of yours.
//
// What a checkout publishes to intake.<source> is comanda.intake.<source> in core ([Taken]), where
// no stream stores it and Comanda answers; nobody there: no responders. DESIGN section 8 has the
// stream INTAKE answer, as it does on a server of yours and for what is published in core itself: that
// costs one more fsync for each message (see adapters/checkout). Accounts are no data: a directory
// of an earlier version needs nothing. What answers there hands headers of others on, which a server
// may obey: [Node.ConnectFront] gives it a user of its own, in this process only, that may do no more than that.
//
// The server acknowledges after fsync (SyncAlways) unless UnsafeNoFsync says
// otherwise. Creating a stream makes directories, and only a directory's own
// fsync keeps its entries through a power failure: call [Node.SyncDirs] after it.
//
// A data directory belongs to one process at a time; the kernel drops its lock
// with the process. Supported file systems are ext4 and xfs.
package natsnode
