package order

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/looplab/fsm"

	"comanda.internal/domain"
)

// Version is the version of [DefaultTable] and of the rules beside it. Every
// event carries the version it was decided by.
const Version = 1

// Machine folds and decides by one transition table. It is immutable and safe
// for concurrent use. The zero Machine has no table: it moves nothing, and
// decides nothing but an error of kind Internal.
type Machine struct {
	version uint32
	table   Table
	cells   [domain.StatusCount][kindsEnd]cell
	edges   authority
}

// authority answers where an edge leads: the one question that is looplab's.
type authority interface {
	// next is where a fact of kind takes an order at from, or StatusNone when
	// there is no such edge. choice is the target that a guard chose where the
	// cell has several, and StatusNone where it has one.
	next(from domain.Status, kind domain.Kind, choice domain.Status) domain.Status
}

// New is the machine of table. An error is of kind Invalid and names everything
// that is wrong with the table.
func New(table Table) (*Machine, error) {
	if problems := table.problems(&places{}); len(problems) > 0 {
		return nil, domain.Errorf(domain.Invalid, "transition table: %w", errors.Join(problems...))
	}
	m := &Machine{version: Version, table: table}
	for status := range domain.StatusCount {
		for kind := firstKind; kind < kindsEnd; kind++ {
			c, err := parseCode(table.cells[status][kind], status)
			if err != nil {
				return nil, fmt.Errorf("%s, %s: %w", status, kind, err)
			}
			m.cells[status][kind] = c
		}
	}
	compiled, err := compile(newLooplab(m.events()))
	if err != nil {
		return nil, err
	}
	m.edges = compiled
	return m, nil
}

var load = sync.OnceValues(func() (*Machine, error) { return New(DefaultTable()) })

// Load is the machine of the committed table, [Version]: the same one at every
// call. A program calls it once at its start, to hear of a bad table there.
func Load() (*Machine, error) { return load() }

// Default is what [Load] gives, for those who come after a start that checked
// it: a test proves the committed table, and of a bad one this is the zero
// Machine, whose Decide answers an error.
func Default() *Machine {
	m, err := load()
	if err != nil {
		return &Machine{}
	}
	return m
}

// ForVersion is the machine of an event's machine version. An order is folded
// by that of its newest event. A version this program does not know is an error
// of kind Unavailable: a newer program wrote it.
func ForVersion(version uint32) (*Machine, error) {
	if version != Version {
		return nil, domain.Errorf(domain.Unavailable, "machine version %d: this program knows %d; run a newer one", version, Version)
	}
	return Load()
}

// Version is the version of m's table.
func (m *Machine) Version() uint32 { return m.version }

// Table is m's table.
func (m *Machine) Table() Table { return m.table }

// events is the table as looplab wants it. It holds one target per event and
// source and overwrites silently (fsm.go, NewFSM), so an event is named for its
// kind, and for kind and target where a cell has several. Cells that move
// nothing are no events: to looplab a self-transition is an error.
func (m *Machine) events() []fsm.EventDesc {
	var events []fsm.EventDesc
	for status := range domain.StatusCount {
		for kind := firstKind; kind < kindsEnd; kind++ {
			c := &m.cells[status][kind]
			for _, to := range c.targets {
				events = append(events, fsm.EventDesc{
					Name: eventName(kind, c.choice(to)), Src: []string{status.String()}, Dst: to.String(),
				})
			}
		}
	}
	return events
}

// eventName is "<kind>", or "<kind>:<target>" where a guard chose.
func eventName(kind domain.Kind, choice domain.Status) string {
	if choice == domain.StatusNone {
		return kind.String()
	}
	return kind.String() + ":" + choice.String()
}

// looplab asks the library itself. It is not safe for concurrent use.
type looplab struct {
	fsm *fsm.FSM
	// err is the first answer that was neither an edge nor the lack of one.
	err error
}

func newLooplab(events []fsm.EventDesc) *looplab {
	return &looplab{fsm: fsm.NewFSM(domain.StatusNone.String(), events, nil)}
}

// next asks the library. The context is one that nobody cancels: a cancelled
// one leaves the library in transition for good (fsm.go, Event).
func (l *looplab) next(from domain.Status, kind domain.Kind, choice domain.Status) domain.Status {
	l.fsm.SetState(from.String())
	err := l.fsm.Event(context.Background(), eventName(kind, choice))
	if err != nil {
		if !errors.As(err, &fsm.InvalidEventError{}) && !errors.As(err, &fsm.UnknownEventError{}) && l.err == nil {
			l.err = fmt.Errorf("ask %s at %s: %w", eventName(kind, choice), from, err)
		}
		return domain.StatusNone
	}
	to, ok := domain.ParseStatus(l.fsm.Current())
	if !ok && l.err == nil {
		l.err = fmt.Errorf("ask %s at %s: looplab is at %q", eventName(kind, choice), from, l.fsm.Current())
	}
	return to
}

// answers is every answer of looplab's: by status, kind and choice.
type answers [domain.StatusCount][kindsEnd][domain.StatusCount]domain.Status

// compile asks looplab every question there is.
func compile(l *looplab) (*answers, error) {
	var a answers
	for from := range domain.StatusCount {
		for kind := firstKind; kind < kindsEnd; kind++ {
			for choice := range domain.StatusCount {
				a[from][kind][choice] = l.next(from, kind, choice)
			}
		}
	}
	return &a, l.err
}

func (a *answers) next(from domain.Status, kind domain.Kind, choice domain.Status) domain.Status {
	return a[from][kind][choice]
}
