package asof

import (
	"encoding/binary"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Moment is as of when. The zero Moment is before everything.
type Moment struct {
	kind     kind
	at       time.Time
	revision uint64
}

type kind byte

const (
	known kind = iota
	revised
	occurred
)

// KnownAt is what was known at a time.
func KnownAt(at time.Time) Moment { return Moment{kind: known, at: at} }

// Revision is what was known of an order when it had so many events.
func Revision(n uint64) Moment { return Moment{kind: revised, revision: n} }

// OccurredAt is what had happened by a time, as far as it is known now.
func OccurredAt(at time.Time) Moment { return Moment{kind: occurred, at: at} }

// until is the time after which an order's first recording takes it out of the
// moment; zero: none does.
func (m Moment) until() time.Time {
	epoch := time.Unix(0, 0) // before which nothing was recorded
	if m.kind != known {
		return time.Time{}
	}
	if m.at.Before(epoch) {
		return epoch
	}
	return m.at
}

// written tells moments apart.
func (m Moment) written() string {
	b := []byte{1 + byte(m.kind)}
	b = binary.BigEndian.AppendUint64(b, uint64(m.at.Unix()))       //nolint:gosec // as bytes
	b = binary.BigEndian.AppendUint64(b, uint64(m.at.Nanosecond())) //nolint:gosec // not negative
	return string(binary.BigEndian.AppendUint64(b, m.revision))
}

// holds reports whether an event is of what was known.
func (m Moment) holds(e *domain.Event) bool {
	switch m.kind {
	case known:
		return !e.RecordedAt.After(m.at)
	case revised:
		return e.Revision <= m.revision
	default:
		return true
	}
}

// fold is the order that events, all of them and by revision, made at the moment;
// nil when there was none yet.
func (m Moment) fold(events []domain.Event) (*order.State, error) {
	var h *order.History
	var err error
	for i := 0; i < len(events) && m.holds(&events[i]); i++ {
		if h, err = h.With(&events[i]); err != nil {
			return nil, err
		}
	}
	if h == nil || m.kind == revised && h.Revision() != m.revision {
		return nil, nil //nolint:nilnil // absence is no error
	}
	machine, err := order.ForVersion(h.MachineVersion())
	if err != nil {
		return nil, err
	}
	if m.kind == occurred {
		return machine.FoldOccurred(h, m.at), nil
	}
	return machine.Fold(h), nil
}
