package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
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

// outdated is of a runner whose file cannot go on, and which stands still.
type outdated struct {
	why      string            // "": it goes on
	versions map[string]uint32 // of the views in the file; nil: they are the program's
}

// Why views are outdated.
const (
	// What this program would add to them would be of other versions than what is there,
	// and the program of those, started again, would take it for its own.
	ofOlderVersions = "they are of older versions"
	// Some of their pages cannot be read or written, and the others can.
	ofDamage = "their file is damaged"
)

// Answering is closed when the views may be read: with Ready, or from the beginning when
// they are of older versions and stand still until those that are built beside them take
// their place. See [Runner.Outdated].
func (r *Runner) Answering() <-chan struct{} { return r.answering }

// Outdated is where the views stand still, and why, until others that are built beside
// them take their place; "" when they do not.
func (r *Runner) Outdated() (at domain.Position, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position, r.outdated.why
}

func (r *Runner) isOutdated() bool {
	_, why := r.Outdated()
	return why != ""
}

// follow keeps the views up to date, and while they cannot go on stands still.
func (r *Runner) follow(ctx context.Context, head domain.Position) error {
	for {
		if err := r.standStill(ctx); err != nil {
			return err
		}
		err := r.keepUp(ctx, head)
		if !errors.Is(err, kv.ErrDamaged) || r.candidate || r.deps.OnlyLook {
			return err
		}
		r.deps.Logger.ErrorContext(ctx, "file of the views is damaged; they stand still while they are built anew", "error", err)
		r.metrics.failures.Inc()
		r.mu.Lock()
		r.outdated.why = ofDamage
		r.mu.Unlock()
		r.upgrade()
	}
}

// standStill does jobs until one put new views in the place of outdated ones.
func (r *Runner) standStill(ctx context.Context) error {
	for {
		if !r.isOutdated() {
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
	if !r.isOutdated() {
		return
	}
	if _, err := r.start(false); err == nil {
		_, why := r.Outdated()
		r.deps.Logger.Info("views stand still, and answer as they are until a build takes their place", "reason", why)
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
