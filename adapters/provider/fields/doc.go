// Package fields reads the fields of a message and remembers everything that is
// wrong with them. [Parse] makes the root [Object] of a body; its methods read
// one field each and never fail: a bad required or money field becomes an error,
// all of which [Object.Err] reports together as one [provider.Error]; any other
// bad field is ignored and named by [Object.Warnings].
//
// Errors and warnings name fields that the codec asked for and rules, never
// values, and never names that only the message knows: both may be personal.
// Texts are copies: a fact that is kept does not keep its body in memory.
package fields
