// Package wire maps the domain's values to comanda.v1 and back. It holds no
// rule of its own: every mapping is field by field, and a test proves that
// nothing is lost on the way there and back.
package wire
