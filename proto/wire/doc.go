// Package wire maps the domain's values to comanda.v1 and back. It holds no
// rule of its own: every mapping is field by field, and a test proves that
// nothing is lost on the way there and back.
//
// What is done for every event is done without the message in between: [Encode] and
// [Decode]. The messages say what the bytes are, and tests hold the one to the other.
package wire
