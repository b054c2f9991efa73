package customers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
)

// next is what the path of an index ends with that is to take another's place.
const next = ".next"

// build makes an index anew beside the one that answers.
type build struct {
	number uint64
	began  time.Time
	path   string
	anew   bool // and not with what is at path
	ended  chan struct{}

	mu        sync.Mutex
	of        *Index // nil: not yet
	head      domain.Position
	stop      context.CancelFunc // nil: it does not run yet
	cancelled bool
}

// asking is a vault that opens nothing of which the key was destroyed, whatever this
// process remembers.
type asking struct{ Vault }

// Reveal implements [Vault].
func (a asking) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	if len(e.SealedPersonal) > 0 && e.KeyID != "" {
		held, err := a.Held(ctx, []string{e.KeyID})
		if err != nil {
			return domain.Personal{}, err //nolint:wrapcheck // names the key
		}
		if !held[e.KeyID] {
			return domain.Personal{}, domain.Errorf(domain.NotFound, "the data key %s was destroyed", e.KeyID)
		}
	}
	return a.Vault.Reveal(ctx, e) //nolint:wrapcheck // names the event
}

// Rebuild begins to make the index anew from the log, beside this one, which answers
// until the other has caught up and takes its place. It gives the build's number. Of whom
// was erased before it began the new file never holds anything. The error's kind is
// Unavailable before Ready and after Run, and Refused while a build is under way.
func (x *Index) Rebuild() (uint64, error) { return x.rebuild(true) }

func (x *Index) rebuild(anew bool) (uint64, error) {
	if err := x.made(); err != nil {
		return 0, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case isClosed(x.done):
		return 0, errStopped()
	case x.building != nil:
		return 0, domain.Errorf(domain.Refused, "a build of the customer index is under way: cancel it first")
	}
	x.builds++
	x.building = &build{number: x.builds, began: x.deps.Clock(), path: x.path + next, anew: anew, ended: make(chan struct{})}
	x.begin <- x.building
	return x.builds, nil
}

func errStopped() error { return domain.Errorf(domain.Unavailable, "the customer index is stopped") }

// CancelBuild ends the build that is under way, removes it, and gives its number.
func (x *Index) CancelBuild() (uint64, error) {
	x.mu.Lock()
	b := x.building
	x.mu.Unlock()
	if b == nil {
		return 0, domain.Errorf(domain.NotFound, "no build of the customer index is under way")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cancelled = true
	if b.stop != nil {
		b.stop()
	}
	return b.number, nil
}

// AwaitBuild waits until the build of that number has ended. Only the newest is known.
func (x *Index) AwaitBuild(ctx context.Context, number uint64) (projections.BuildStatus, error) {
	x.mu.Lock()
	b, last := x.building, x.last
	x.mu.Unlock()
	switch {
	case b != nil && b.number == number:
	case last != nil && last.Number == number:
		return *last, nil
	default:
		return projections.BuildStatus{}, domain.Errorf(domain.NotFound, "no build %d of the customer index is known", number)
	}
	select {
	case <-b.ended:
		return x.AwaitBuild(ctx, number)
	case <-x.done:
		return projections.BuildStatus{}, errStopped()
	case <-ctx.Done():
		return projections.BuildStatus{}, ctx.Err()
	}
}

// operate runs builds until ctx ends; first the one that a start before this one left.
func (x *Index) operate(ctx context.Context) error {
	select {
	case <-x.ready:
	case <-ctx.Done():
		return nil
	}
	if _, err := os.Stat(x.path + next); err == nil {
		x.deps.At(PointTakenUp)
		_, _ = x.rebuild(false) // unless somebody was quicker, whose build is anew
	}
	for {
		select {
		case b := <-x.begin:
			x.note(ctx, b, x.run(ctx, b))
		case <-ctx.Done():
			return nil
		}
	}
}

// note keeps how a build ended.
func (x *Index) note(ctx context.Context, b *build, err error) {
	s := b.status()
	b.mu.Lock()
	cancelled := b.cancelled
	b.mu.Unlock()
	level := slog.LevelInfo
	switch {
	case err == nil:
		s.Outcome = projections.Promoted
	case cancelled:
		s.Outcome = projections.Cancelled
	case ctx.Err() != nil:
		s.Outcome = projections.Suspended
	default:
		level, s.Outcome, s.Detail = slog.LevelError, projections.Failed, err.Error()
	}
	x.deps.Logger.Log(ctx, level, "a build of the customer index ended", "build", s.Number, "outcome", s.Outcome, "detail", s.Detail)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last, x.building = &s, nil
	close(b.ended)
}

// run makes the file and ends when it has taken the place of x's, or never will. The end
// of ctx leaves it for the next start.
func (x *Index) run(ctx context.Context, b *build) error {
	deps := x.deps
	deps.Vault = asking{x.deps.Vault}
	n := newIndex(b.path, deps)
	if b.anew { // what was left holds those who were erased since
		if err := remove(b.path); err != nil {
			return fmt.Errorf("begin anew: %w", err)
		}
	}
	if err := n.openOurs(); err != nil {
		return fmt.Errorf("open %s: %w", b.path, err)
	}
	x.deps.At(PointBuildOpened)
	err := x.runOn(ctx, b, n)
	switch {
	case err == nil:
		return nil // the file is x's
	case ctx.Err() != nil && !b.isCancelled():
		return errors.Join(err, n.Close())
	default:
		return errors.Join(err, n.db().Discard(), remove(b.path))
	}
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (x *Index) runOn(ctx context.Context, b *build, n *Index) error {
	head, err := x.deps.Log.Head(ctx)
	if err != nil {
		return err //nolint:wrapcheck // names the log
	}
	within, stop := context.WithCancel(ctx)
	b.begun(n, head, stop)
	ended := make(chan error, 1)
	go func() {
		err := n.keep(within)
		if within.Err() != nil {
			err = nil // it was told to
		}
		stop()
		ended <- err
	}()
	end := sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	old, err := x.promote(within, n, end)
	if running := end(); err != nil {
		return errors.Join(err, running)
	}
	_ = old.Discard() // waits for its readers; the file is gone, whatever it says
	x.deps.At(PointPromoted)
	return nil
}

// promote puts the file of n, which end stops, in the place of x's when it has caught up,
// and gives the other. Nothing is added to x's for the moment of that, and who reads it
// reads it to the end.
func (x *Index) promote(ctx context.Context, n *Index, end func() error) (*kv.DB, error) {
	select {
	case <-n.ready:
		x.deps.At(PointBuildCaughtUp)
	case <-ctx.Done():
		return nil, errEnded
	}
	select {
	case x.proving <- struct{}{}:
		defer func() { <-x.proving }()
	case <-ctx.Done():
		return nil, errEnded
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	x.deps.At(PointPromote)
	have, _ := x.position()
	if err := n.Wait(ctx, have); err != nil { // so that no reader goes back
		return nil, errEnded
	}
	if err := end(); err != nil {
		return nil, err
	}
	if err := n.survive((*kv.DB).Flush); err != nil {
		return nil, err
	}
	x.deps.At(PointFilesLevel)
	old, err := x.replace(n)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.marks = slices.Clone(n.marks)
	if n.newest.After(x.newest) {
		x.newest = n.newest
	}
	close(x.changed)
	x.changed = make(chan struct{})
	return old, nil
}

// errEnded says that a build ended before it could take the index's place.
var errEnded = errors.New("the build ended")

// replace gives n's file the name of x's, and is the one that had it.
func (x *Index) replace(n *Index) (old *kv.DB, err error) {
	x.placing.Lock()
	defer x.placing.Unlock()
	if err := os.Rename(n.path, x.path); err != nil {
		return nil, err
	}
	x.deps.At(PointRenamed)
	if err := syncDir(filepath.Dir(x.path)); err != nil {
		x.deps.Logger.Warn("the directory of the customer index cannot be synced", "path", x.path, "error", err)
	}
	return x.file.Swap(n.db()), nil
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // that of the index
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// begun says that n is built up to head, and that stop ends it.
func (b *build) begun(n *Index, head domain.Position, stop context.CancelFunc) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of, b.head, b.stop = n, head, stop
	if b.cancelled {
		stop()
	}
}

func (b *build) isCancelled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cancelled
}

// status is how far b is.
func (b *build) status() projections.BuildStatus {
	b.mu.Lock()
	of, head := b.of, b.head
	b.mu.Unlock()
	s := projections.BuildStatus{Number: b.number, Began: b.began, Wanted: true}
	if info, err := os.Stat(b.path); err == nil {
		s.FileBytes = info.Size()
	}
	if of == nil {
		return s
	}
	s.Position, _ = of.position()
	s.CaughtUp = of.isReady()
	for p := range head.Partitions() {
		s.Progress.Total += head.At(p)
		s.Progress.Read += min(s.Position.At(p), head.At(p))
	}
	s.Progress.Folded = s.Progress.Read
	return s
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
