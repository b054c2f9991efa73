package projections

import (
	"context"
	"encoding/binary"
	"maps"
	"os"
	"time"

	"comanda.internal/domain"
)

// Legible is a projection whose readers also read what an older version of it wrote,
// since keys and values are made as they were and only hold something else.
type Legible interface {
	Projection
	// Reads reports whether they do of that version, which is less than Version.
	Reads(version uint32) bool
}

// reads reports whether what p wrote as that version can be read.
func reads(p Projection, stored uint32) bool {
	if stored == p.Version() {
		return true
	}
	legible, ok := p.(Legible)
	return ok && stored < p.Version() && legible.Reads(stored)
}

// versionOf is a version as it is stored; false for none.
func versionOf(stored []byte) (uint32, bool) {
	if len(stored) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(stored), true
}

// outdated is of a runner whose file has older versions that can be read. It
// stands still: what this program would add to it would be of other versions than what
// is there, and the program of those, started again, would take it for its own.
type outdated struct {
	versions map[string]uint32 // of the views in the file; nil: it is not outdated
}

// Answering is closed when the views may be read: with Ready, or from the beginning when
// they are of older versions and stand still until those that are built beside them take
// their place. See [Runner.Outdated].
func (r *Runner) Answering() <-chan struct{} { return r.answering }

// Outdated is where views of older versions stand still; false when they do not.
func (r *Runner) Outdated() (domain.Position, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position, r.outdated.versions != nil
}

// standStill does jobs until one put new views in the place of outdated ones.
func (r *Runner) standStill(ctx context.Context) error {
	for {
		if _, still := r.Outdated(); !still {
			return nil
		}
		select {
		case j := <-r.jobs:
			j.done <- j.do(ctx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// stillThere compares what outdated views remember with the log, as those who follow do,
// and notes how old it is.
func (r *Runner) stillThere(ctx context.Context) error {
	for partition, m := range r.visible() {
		if m.sequence == 0 {
			continue
		}
		f := &follower{runner: r, partition: partition, last: m}
		err := r.persist(ctx, "log cannot be read now; trying again", func() error {
			if err := f.reaches(ctx); err != nil {
				return err
			}
			return r.deps.Log.Scan(ctx, partition, m.sequence-1, m.sequence, func(e *domain.Recorded) error {
				r.seeNewer(e.Event.RecordedAt)
				return f.compare(e)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Runner) seeNewer(recorded time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if recorded.After(r.newest) {
		r.newest = recorded
	}
}

// upgrade has a build take the place of outdated views: the one that is under way, or a
// new one.
func (r *Runner) upgrade() {
	if _, still := r.Outdated(); !still {
		return
	}
	if _, err := r.start(); err == nil {
		r.deps.Logger.Info("views have older versions; they answer as they are until the build takes their place")
	}
	_, _ = r.Promote() // there is one
}

// takeBack puts the file that the last promotion replaced in the place of one that
// cannot be used, when it is of the log and the versions wanted: that of a program which
// was upgraded and is started again. It answers false when there is none.
func (r *Runner) takeBack(unusable *header) (header, bool) {
	path := r.file.path + previous
	if !exists(path) || sameFile(path, r.file.path) {
		return header{}, false
	}
	old, err := openCandidate(path)
	if err != nil {
		return header{}, false
	}
	h, err := old.header(r.deps.Machine.Version(), r.all)
	if err == nil && h.identity == r.deps.Log.Identity() && len(h.stale) == 0 && maps.Equal(h.skipped, unusable.skipped) {
		err = r.file.replace(path, old.db(), func() {})
		if err == nil {
			return h, true
		}
	}
	if closed := old.Discard(); closed != nil || err != nil {
		r.deps.Logger.Warn("previous views cannot be taken back", "error", err, "close_error", closed)
	}
	return header{}, false
}

// sameFile reports whether both paths are of one file.
func sameFile(a, b string) bool {
	one, err := os.Stat(a)
	if err != nil {
		return false
	}
	two, err := os.Stat(b)
	return err == nil && os.SameFile(one, two)
}
