// Package privacy seals personal data. Every order has one data key; personal
// data and the message as received leave memory only under it, with AES-256-GCM, and
// destroying the key erases them for ever while history stays whole.
//
// A [Vault] keeps data keys in the bucket KEYS of JetStream, each wrapped by the
// key-encryption key, which is a file. It makes them ahead, in batches, into a pool, so
// that a new order costs no fsync of its own: [Vault.Take] gives a [Key] that is
// stored already. A pool key belongs to the process that made it; once a
// publish carried its id it serves that one order or nothing, and after a restart no key
// of an old pool is used. When the pool is empty Take waits, then says
// Unavailable: nothing is ever stored unsealed.
//
// The additional data of a seal are order id, event id and the part's name, so a
// sealed part cannot be moved to another place. A key's id stands in the order's events.
//
// People are known outside of the seals only by hashes under [Vault.Pepper], which is
// derived from the key-encryption key; who keeps such a hash beside the id of the key
// asks [Vault.Held] before it is used.
//
// [Disabled] is a vault that seals nothing and marks what it did not seal: for
// benchmarks, and to prove that a search for leaks can find one.
package privacy
