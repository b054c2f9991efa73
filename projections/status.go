package projections

import (
	"context"
	"time"

	"comanda.internal/domain"
)

// Status is how the views are.
type Status struct {
	Views     []ViewStatus
	Beside    []Beside // what follows the log in a file of its own; of whoever keeps it
	CaughtUp  bool     // with the log of when the process started
	Outdated  string   // why they stand still until a build takes their place; "": they do not
	Position  domain.Position
	Head      domain.Position // of the log
	LagEvents uint64          // in the log and not in the views
	// Lag is the age of the newest event in the views while the log has newer
	// ones; 0 when it has none, or when it is not known yet.
	Lag           time.Duration
	Unflushed     int // bytes that only memory holds
	FileBytes     int64
	PreviousBytes int64 // of the file that the last promotion replaced; 0: there is none
	Parked        int   // orders
	// Build is the build that is under way, number 0 when the start began with it, or
	// else the one that ended last; nil when there was none.
	Build *BuildStatus
	// Cancelled is the build that was cancelled and that [Runner.Rebuild] goes on with;
	// nil when there is none, or one is under way.
	Cancelled *CancelledBuild
}

// CancelledBuild is what there is of a build that was cancelled.
type CancelledBuild struct {
	// Total and Read are as those of [Progress]. Both are 0 of a file that is whole, and
	// has only to follow the log.
	Total, Read uint64
	FileBytes   int64
	// Unreadable says that what it has read cannot be read again: [Runner.Rebuild] begins
	// anew. Total and Read are then 0.
	Unreadable bool
}

// CancelledBuild is the build that was cancelled; nil when there is none, or one is under
// way.
func (r *Runner) CancelledBuild() *CancelledBuild {
	path := r.file.path
	if r.isBuilding() || !exists(path+cancelled) {
		return nil
	}
	events := path + next + building
	c := &CancelledBuild{FileBytes: sizeOf(path+cancelled) + sizeOf(events+eventsSuffix) + sizeOf(events+keptSuffix)}
	k, err := readKept(events)
	if c.Unreadable = err != nil; k != nil {
		c.Total, c.Read = k.Total, k.Read
	}
	return c
}

// ViewStatus is one view. All of a file have one position.
type ViewStatus struct {
	Name    string
	Version uint32
}

// Beside is how what follows the log in a file of its own is; its fields are as those of
// [Status].
type Beside struct {
	ViewStatus

	Position  domain.Position
	LagEvents uint64
	Lag       time.Duration
	FileBytes int64
	// Build is the build of it that is under way, or else the one that ended last; nil
	// when there was none.
	Build *BuildStatus
}

// Behind is how something is that has read up to position, the newest event of which was
// recorded at newest, into the file at path.
func Behind(view ViewStatus, head, position domain.Position, newest, now time.Time, path string) Beside {
	b := Beside{ViewStatus: view, Position: position, LagEvents: missing(head, position), FileBytes: sizeOf(path)}
	if b.LagEvents > 0 && !newest.IsZero() {
		b.Lag = max(0, now.Sub(newest))
	}
	return b
}

// Status asks the log for its head, and says how the views are.
func (r *Runner) Status(ctx context.Context) (*Status, error) {
	position := r.Position() // before the head
	head, err := r.deps.Log.Head(ctx)
	if err != nil {
		return nil, err
	}
	parked, err := r.file.ParkedOrders()
	if err != nil {
		return nil, err
	}
	s := &Status{
		CaughtUp: isClosed(r.ready), Position: position, Head: head, LagEvents: missing(head, position),
		Unflushed: r.file.db().Unflushed(), FileBytes: sizeOf(r.file.path), PreviousBytes: sizeOf(r.file.path + previous),
		Parked: len(parked),
	}
	r.mu.Lock()
	newest, current, last, starting, outdated := r.newest, r.operator.current, r.operator.last, r.starting, r.outdated
	r.mu.Unlock()
	s.Outdated, s.Cancelled = outdated.why, r.CancelledBuild()
	for _, p := range r.all {
		version := p.Version()
		if outdated.versions != nil {
			version = outdated.versions[p.Name()]
		}
		s.Views = append(s.Views, ViewStatus{Name: p.Name(), Version: version})
	}
	if s.LagEvents > 0 && !newest.IsZero() {
		s.Lag = max(0, r.deps.Clock().Sub(newest))
	}
	switch {
	case current != nil:
		build := current.status()
		s.Build = &build
	case !starting.IsZero():
		s.Build = &BuildStatus{Began: starting, Wanted: true, Progress: r.counted.progress(), FileBytes: sizeOf(r.file.path + building)}
	case last != nil:
		s.Build = last
	}
	return s, nil
}

// missing is how many events up to head position does not cover.
func missing(head, position domain.Position) (n uint64) {
	for partition := range head.Partitions() {
		if at, read := head.At(partition), position.At(partition); at > read {
			n += at - read
		}
	}
	return n
}
