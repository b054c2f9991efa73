// Package access says what a caller of the gRPC server may do.
//
// [From] is the [Allowance] of the call that a context belongs to: scopes, which
// say what may be asked, and tenants, which say of whom. The server's interceptor
// puts it there with [With] and checks the method's [Scope]; handlers ask
// [Allowance.AllowsTenant] of every order and every event that they answer with.
//
// Invariants:
//
//   - A context without an allowance allows nothing.
//   - Another tenant's order is as one that does not exist: NOT_FOUND, in the same
//     words, absent from lists, sums and streams.
package access
