// Package celfilter reads conditions on orders, in CEL (cel.dev).
//
// [Compiler.Compile] makes a [Filter] of a text: [Filter.Narrow] says as much of it
// as the view's indexes can answer, [Filter.Matches] decides a row. A text that is no
// condition is a [SyntaxError] with the place of everything that is wrong.
//
// Invariants: the whole condition is asked of every row that an index gives, so that
// what is narrowed is never more than a shortcut; one row costs a bounded number of
// steps, whatever the text is.
//
// Caveats. A condition that has no answer for a row, as one that compares a sum which
// is unknown, does not match it. The library is used in this package and nowhere else.
package celfilter
