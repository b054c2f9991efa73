package projections

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"comanda.internal/domain"
)

// BuildStatus is a build of views beside those that serve.
type BuildStatus struct {
	Number    uint64 // of this runner's builds
	Began     time.Time
	CaughtUp  bool // it holds all that was in the log when it began
	Wanted    bool // it takes the views' place as soon as it can
	Progress  Progress
	Position  domain.Position
	FileBytes int64
	// Outcome is how it ended; "" while it goes on. Detail says why it failed.
	Outcome, Detail string
}

// operator runs one candidate after the other. Its fields are guarded by the
// runner's mu.
type operator struct {
	builds  uint64
	current *candidate
	last    *BuildStatus    // of the build that ended last
	begin   chan *candidate // of one
}

// lastUpgradeBackoff is the most time between two tries to replace outdated views.
const lastUpgradeBackoff = time.Minute

// operate runs candidates until ctx ends; first the one that a start before this
// one left.
func (r *Runner) operate(ctx context.Context) {
	if !r.deps.OnlyLook {
		r.tidy(ctx)
	}
	r.upgrade()
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	for backoff := firstBackoff; ; {
		select {
		case c := <-r.operator.begin:
			if r.note(ctx, c, c.run(ctx)) != Failed {
				backoff = firstBackoff
				continue
			}
			again.Reset(backoff) // for what is outdated
			backoff = min(2*backoff, lastUpgradeBackoff)
		case <-again.C:
			r.upgrade()
		case <-ctx.Done():
			return
		}
	}
}

// tidy takes up what was left by a process that ended.
func (r *Runner) tidy(ctx context.Context) {
	if sameFile(r.file.path, r.file.path+previous) {
		_ = os.Remove(r.file.path + previous) // cut off before the candidate took the place
	}
	if _, err := os.Stat(r.file.path + next); err != nil {
		return
	}
	if _, err := r.start(false); err == nil {
		r.deps.at(PointTakenUp)
		r.deps.Logger.InfoContext(ctx, "a build of views goes on; it waits to be promoted", "path", r.file.path+next)
	}
}

// note keeps how a candidate ended.
func (r *Runner) note(ctx context.Context, c *candidate, err error) (outcome string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.discarded && err != nil {
		err = over(err, r.dropCancelled())
	}
	s := c.status()
	switch {
	case err == nil:
		s.Outcome = Promoted
	case errors.Is(err, errCancelled):
		s.Outcome = Cancelled
	case errors.Is(err, errSuspended):
		s.Outcome = Suspended
	default:
		s.Outcome, s.Detail = Failed, err.Error()
	}
	level := slog.LevelInfo
	if s.Outcome == Failed {
		level = slog.LevelError
		r.metrics.failures.Inc()
	}
	r.deps.Logger.Log(ctx, level, "a build of views ended", "build", s.Number, "outcome", s.Outcome, "detail", s.Detail)
	r.operator.last, r.operator.current = &s, nil
	close(c.ended)
	return s.Outcome
}

// AwaitBuild waits until the build of that number has ended, or has caught up and
// waits for [Runner.Promote]. Only the newest is known.
func (r *Runner) AwaitBuild(ctx context.Context, number uint64) (BuildStatus, error) {
	r.mu.Lock()
	c, last := r.operator.current, r.operator.last
	r.mu.Unlock()
	switch {
	case c != nil && c.number == number:
	case last != nil && last.Number == number:
		return *last, nil
	default:
		return BuildStatus{}, domain.Errorf(domain.NotFound, "no build %d of views is known", number)
	}
	caughtUp := c.caughtUp
	if isClosed(c.wanted) {
		caughtUp = nil
	}
	select {
	case <-c.ended:
		return r.AwaitBuild(ctx, number)
	case <-caughtUp:
		return c.status(), nil
	case <-r.done:
		return BuildStatus{}, errStopped()
	case <-ctx.Done():
		return BuildStatus{}, ctx.Err()
	}
}

// start begins a candidate; there is one at a time. It goes on with one that was
// cancelled, unless it is to be anew.
func (r *Runner) start(anew bool) (*candidate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.operator.current != nil {
		return nil, errBuilding()
	}
	path := r.file.path
	var err error
	switch {
	case anew:
		err = errors.Join(r.dropCancelled(), remove(path+next))
	case exists(path+cancelled) && !exists(path+next):
		if renamed := os.Rename(path+cancelled, path+next); renamed != nil { // outdated views wait for a build
			r.deps.Logger.Warn("a cancelled build of views cannot go on; another begins", "error", renamed)
		} else {
			r.deps.Logger.Info("a cancelled build of views goes on")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("begin a build: %w", err)
	}
	r.operator.builds++
	c := r.newCandidate(r.operator.builds)
	r.operator.current = c
	r.operator.begin <- c
	return c, nil
}

func errBuilding() error {
	return domain.Errorf(domain.Refused, "a build of views is under way: promote it or cancel it first")
}

// operable is nil once the views have caught up, and until they stop.
func (r *Runner) operable() error {
	select {
	case <-r.done:
		return errStopped()
	default:
	}
	select {
	case <-r.ready:
		return nil
	default:
		return domain.Errorf(domain.Unavailable, "the views have not caught up yet")
	}
}

// Rebuild begins to build the views beside those that serve, or goes on with a build that
// was cancelled, and gives the build's number. The build takes their place when it has
// caught up; when hold says so, only after [Runner.Promote].
func (r *Runner) Rebuild(hold bool) (uint64, error) { return r.rebuild(hold, false) }

// RebuildAnew is Rebuild, but for a build that was cancelled, which is removed.
func (r *Runner) RebuildAnew(hold bool) (uint64, error) { return r.rebuild(hold, true) }

func (r *Runner) rebuild(hold, anew bool) (uint64, error) {
	if err := r.operable(); err != nil {
		if !r.isOutdated() || isClosed(r.done) {
			return 0, err
		}
	}
	c, err := r.start(anew)
	if err != nil {
		return 0, err
	}
	if !hold {
		c.want()
	}
	return c.number, nil
}

// Promote has the build that is under way take the place of the views as soon as
// it has caught up, and gives its number.
func (r *Runner) Promote() (uint64, error) { return r.tell((*candidate).wantIt) }

// CancelBuild ends the build that is under way, for [Runner.Rebuild] to go on with.
func (r *Runner) CancelBuild() (uint64, error) { return r.tell((*candidate).cancelIt) }

// DiscardBuild ends the build that is under way, and removes it when it has ended; or the
// one that was cancelled, and its number is 0.
func (r *Runner) DiscardBuild() (uint64, error) {
	r.mu.Lock()
	if r.operator.current == nil && exists(r.file.path+cancelled) {
		defer r.mu.Unlock()
		return 0, r.dropCancelled()
	}
	r.mu.Unlock()
	return r.tell((*candidate).discardIt)
}

func (c *candidate) wantIt()   { c.want() }
func (c *candidate) cancelIt() { c.cancel() }

func (c *candidate) discardIt() {
	c.discarded = true
	c.cancel()
}

func (r *Runner) tell(what func(*candidate)) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.operator.current
	if c == nil {
		return 0, domain.Errorf(domain.NotFound, "no build of views is under way")
	}
	what(c)
	return c.number, nil
}

// Rollback brings back the views that the last promotion replaced, as soon as
// they have caught up; those that serve now are then kept in their place. It gives
// the number of the build that this is. A build that was cancelled is removed.
func (r *Runner) Rollback() (uint64, error) {
	if err := r.operable(); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.operator.current != nil {
		return 0, errBuilding()
	}
	if !exists(r.file.path + previous) {
		return 0, domain.Errorf(domain.NotFound, "there are no previous views to go back to")
	}
	err := r.dropCancelled() // first: what has the name of a candidate is promoted by the next build
	if err == nil {
		err = os.Rename(r.file.path+previous, r.file.path+next)
	}
	if err != nil {
		return 0, fmt.Errorf("roll back: %w", err)
	}
	r.deps.at(PointRolledBack)
	r.operator.builds++
	c := r.newCandidate(r.operator.builds)
	c.want()
	r.operator.current = c
	r.operator.begin <- c
	return c.number, nil
}

// Held is a build of views that has caught up.
type Held struct {
	File   *File
	Runner *Runner // which keeps the file up to date
	// Ended is closed when it was promoted, cancelled or failed, or is about to be.
	Ended <-chan struct{}
}

// Held is the build that has caught up and was not promoted yet; nil: there is none.
func (r *Runner) Held() *Held {
	r.mu.Lock()
	c := r.operator.current
	r.mu.Unlock()
	if c == nil || !isClosed(c.caughtUp) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &Held{File: c.runner.file, Runner: c.runner, Ended: c.runner.done}
}

// status is how far c is.
func (c *candidate) status() BuildStatus {
	c.mu.Lock()
	runner := c.runner
	c.mu.Unlock()
	s := BuildStatus{
		Number: c.number, Began: c.began, Wanted: isClosed(c.wanted), Progress: c.counted.progress(),
		FileBytes: sizeOf(c.serving.file.path+next) + sizeOf(c.serving.file.path+next+building),
	}
	if runner != nil {
		s.Position, s.CaughtUp = runner.Position(), isClosed(c.caughtUp)
	}
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

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
