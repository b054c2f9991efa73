package domain

import (
	"errors"
	"fmt"
)

// ErrorKind is one of the few ways in which Comanda can fail. Each edge has one
// table that maps kinds to its own codes.
type ErrorKind uint8

// The kinds. The zero value, Internal, is a bug or a fault of the machine.
const (
	Internal    ErrorKind = iota
	Invalid               // the request is wrong; the text says what, where and what to do
	NotFound              // there is no such thing, or not for this caller
	Refused               // the machine's rules forbid it now
	Stale                 // the caller's revision is not the order's
	Exists                // the id is taken by something else
	Unavailable           // not now: retry; nothing was acknowledged
	Exhausted             // too much: retry later
	Corrupt               // what is stored does not hold together; an operator must look

	Unauthenticated // who asks is not known: no credentials, or none that hold
	Denied          // who asks is known, and may not
)

var errorKindNames = [...]string{
	"internal", "invalid", "not_found", "refused", "stale", "exists", "unavailable", "exhausted", "corrupt",
	"unauthenticated", "denied",
}

// String is the kind's plain word, as "not_found".
func (k ErrorKind) String() string { return nameOf(errorKindNames[:], int(k)) }

// Error is an error of a kind. Its text never holds personal data.
type Error struct {
	Kind ErrorKind
	// Fields are the violations of an Invalid request: field to messages.
	Fields map[string][]string

	text string
	err  error
}

// Error is the text.
func (e *Error) Error() string { return e.text }

// Unwrap is the cause, when the text was made with %w.
func (e *Error) Unwrap() error { return e.err }

// Errorf is an error of the given kind; %w works as in [fmt.Errorf].
func Errorf(kind ErrorKind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	cause := errors.Unwrap(wrapped)
	if _, several := wrapped.(interface{ Unwrap() []error }); several {
		cause = wrapped
	}
	return &Error{Kind: kind, text: wrapped.Error(), err: cause}
}

// KindOf is the kind of the first [Error] in err's chain; Internal when there is none.
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
