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
// Invariants:
//
//   - Entries and how far the log was read are one transaction, written to the file every
//     five seconds; what a crash loses is read again. An event that comes twice changes nothing.
//   - A file of another log, key-encryption key or version, a damaged one, and one that
//     remembers another event than the log holds, is made anew.
//   - An event whose data key was destroyed is passed over. One whose sealed part is
//     broken is logged, counted, and passed over.
//
// Caveats. The entries of an erased person, which find nothing, stay until the file is
// made anew: delete it, and it is. [Index.Status] tells how far it is behind, as 'views status'
// does. [Index.Verify] proves the index, for 'verify --customers', up to where it has read; [Look] is for that when no
// server runs. An entry that names a data key which is not there counts as left over, whoever wrote it: it
// finds nothing.
package customers
