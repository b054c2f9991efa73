// Package plainjson writes messages of comanda.v1 as people and scripts read them:
// the proto's snake_case names, plain words for enums, numbers for 64-bit integers,
// RFC 3339 for times, and null for what is unknown. [Append] is all of it.
package plainjson
