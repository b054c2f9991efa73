// Package customers finds the orders of a person by e-mail address, phone number or
// document, and holds none of them.
//
// An [Index] is a file of its own beside the views'. It follows the log, opens the
// personal data of every event, and keeps for each name that it finds there ([Name]) an
// entry without it: the tenant, the person's subject id, the order and the id of its data
// key. A subject id is the HMAC of the name under a pepper of the tenant's, which is
// derived from the key-encryption key: without that key nobody can try names.
// [Index.Orders] answers with the orders whose data key is still held, and asks for each:
// once a person's keys are destroyed, no name of theirs finds anything, at once.
//
// Why it is no bucket of the views': their rows are a function of the log alone, and
// these are of the keys, too, for of an erased person they cannot be made again. And
// opening costs a question for every order's key, which neither a commit of the views nor
// their rebuild may wait for. So the index begins when the views have caught up, is a
// tenth of a second behind them, and answers Unavailable until it has once read what was there when
// it began. An event that was written to an order is found under every name it ever had.
//
// [Index.Rebuild] makes it anew in a file beside it, with .next at the end of its name, by
// another Index that reads the log from its beginning and then takes the place of the one that
// answers: that stands still for the moment of it, no reader does, and none goes back. The new
// one asks for the key of every event, whatever the process remembers, so that of who was erased
// before it began its file has never held anything; the old file is not kept, for the same
// reason. A build that is cancelled or fails is removed; one that the end of the process cut
// off goes on at the next start, from where it was. [Points] are the places at which the order
// of all this matters.
//
// Invariants:
//
//   - Entries and how far the log was read are one transaction, written to the file every
//     five seconds; what a crash loses is read again. An event that comes twice changes nothing.
//   - A file of another log, key-encryption key or version, a damaged one, and one that
//     remembers another event than the log holds, is made anew.
//   - An event whose data key was destroyed is passed over. One whose sealed part is
//     broken is logged, counted, and passed over.
//   - What the file holds is a function of the events up to the marks and of the keys that were held
//     when they were read: neither batch boundaries, nor a rebuild, nor a kill change a byte of [Index.Dump].
//     The suite in projectiontest holds the index to it.
//
// Caveats. The entries of an erased person, which find nothing, stay until the file is
// made anew. [Index.Status] tells how far it is behind, as 'views status'
// does. [Index.Verify] proves the index, for 'verify --customers', up to where it has read; [Look] is for that when no
// server runs. An entry that names a data key which is not there counts as left over, whoever wrote it: it
// finds nothing.
package customers
