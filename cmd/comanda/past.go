package main

import (
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// pastFlags are those of commands that also read the past.
type pastFlags struct {
	AsKnownAt    string `xor:"past" placeholder:"TIME" help:"What we knew then: only what was recorded by TIME, whenever it happened. RFC 3339, or a date for its first moment in UTC."`
	AsOccurredAt string `xor:"past" placeholder:"TIME" help:"What had happened then: all that is known now, but only what is dated TIME or before, whenever we heard of it."`
}

// asOfFlag is another word for what was known at a time.
type asOfFlag struct {
	AsOf string `xor:"past" placeholder:"TIME" help:"Short for --as-known-at."`
}

// moment is as of when a command asks; nil for what was not said.
type moment struct{ known, occurred *timestamppb.Timestamp }

// moment reads the flags; asOf is another text of --as-known-at.
func (f *pastFlags) moment(asOf string) (m moment, err error) {
	if m.known, err = parseMoment("--as-of", asOf); err != nil || m.known != nil {
		return m, err
	}
	if m.known, err = parseMoment("--as-known-at", f.AsKnownAt); err != nil {
		return m, err
	}
	m.occurred, err = parseMoment("--as-occurred-at", f.AsOccurredAt)
	return m, err
}

// parseMoment is nil for no text.
func parseMoment(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // not asked
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return timestamppb.New(at), nil
		}
	}
	return nil, usagef("%s %s: want a time as 2026-05-09T17:32:14Z, with its zone, or a date as 2026-05-09", flag, text)
}

// parseRevision reports whether text is a revision and not a time.
func parseRevision(text string) (revision uint64, ok bool) {
	revision, err := strconv.ParseUint(text, 10, 64)
	return revision, err == nil
}
