// Package access says what a caller of the gRPC server may do.
//
// An [Authority] knows callers by tokens, kept in a [Store], or by client
// certificates, and [Authority.Admit] decides on a call by the [Need] of its method.
// [From] is then the [Allowance] of the call that a context belongs to: scopes, which
// say what may be asked, and tenants, which say of whom. Handlers ask
// [Allowance.AllowsTenant] of every order and every event that they answer with, or limit
// what they read to [Allowance.Tenants].
//
// Invariants:
//
//   - A context without an allowance allows nothing, a method without a need is
//     nobody's, and credentials that were required once are required until the process ends.
//   - Another tenant's order is as one that does not exist: NOT_FOUND, in the same
//     words, absent from lists, sums and streams.
//   - The text of a token is in no file and no log.
//   - A call ends when its access does: with the next [Authority.Refresh] after the token was
//     revoked, changed or expired, or after the authority of its certificate was replaced.
//
// Caveats: a quota is of one process; two instances allow twice as much. Identities are
// those of the configuration at start.
package access
