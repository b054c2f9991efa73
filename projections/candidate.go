package projections

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// What the paths of other files beside the views' end with.
const (
	building  = ".building"  // is being built, and worth nothing before that ends
	next      = ".next"      // is to take the views' place
	cancelled = ".cancelled" // was to, and may again: see start
	previous  = ".previous"  // had the views' place
)

// candidateFacts bounds the facts in memory of views that nobody reads yet.
const candidateFacts = 20_000

// candidate is a file that is to take the place of the views: a runner of its own
// builds it from the log and keeps it up to date until then.
type candidate struct {
	number  uint64
	serving *Runner
	began   time.Time
	counted *counted

	wanted    chan struct{} // closed: take the place as soon as it holds what the views hold
	cancelled chan struct{} // closed: end
	caughtUp  chan struct{} // closed: it holds what the log held when it began
	ended     chan struct{} // closed: it is over
	want      func()        // closes wanted
	cancel    func()        // closes cancelled

	discarded bool // it is to be removed when it has ended; guarded by the serving runner's mu

	mu     sync.Mutex
	runner *Runner // nil: not yet
}

func (r *Runner) newCandidate(number uint64) *candidate {
	c := &candidate{
		number: number, serving: r, began: r.deps.Clock(), counted: new(counted),
		wanted: make(chan struct{}), cancelled: make(chan struct{}), caughtUp: make(chan struct{}), ended: make(chan struct{}),
	}
	c.want = sync.OnceFunc(func() { close(c.wanted) })
	c.cancel = sync.OnceFunc(func() { close(c.cancelled) })
	return c
}

// The ways in which a build ends.
const (
	Promoted  = "promoted"
	Cancelled = "cancelled"
	Failed    = "failed"
	Suspended = "suspended" // until the next start
)

var (
	errCancelled = errors.New("cancelled")
	errSuspended = errors.New("the views are stopped")
)

// run makes the file and ends when it has taken the views' place, or never will.
func (c *candidate) run(ctx context.Context) error {
	path := c.serving.file.path + next
	file, err := openCandidate(path)
	if domain.KindOf(err) == domain.Corrupt { // it is of a start before this
		if err = os.Remove(path); err == nil {
			file, err = openCandidate(path)
		}
	}
	if err != nil {
		return err
	}
	c.serving.deps.at(PointCandidateOpened)
	err = c.runOn(ctx, file)
	switch {
	case err == nil:
		return nil // the file is the serving runner's
	case errors.Is(err, errSuspended) && !isClosed(c.cancelled):
		return over(errSuspended, file.Close())
	case errors.Is(err, errSuspended), errors.Is(err, errCancelled):
		if c.hasRead(path) {
			return over(errCancelled, file.Close(), c.serving.setAside())
		}
		return over(errCancelled, dropKept(path+building), file.Discard(), os.Remove(path))
	}
	return errors.Join(err, dropKept(path+building), file.Discard(), os.Remove(path))
}

// over is how a build has ended, unless what that took has failed: then it has failed, too.
func over(how error, took ...error) error {
	if err := errors.Join(took...); err != nil {
		return fmt.Errorf("end a build (%s): %w", how.Error(), err)
	}
	return how
}

// hasRead reports whether there is something to keep of the file, or of a build of it.
func (c *candidate) hasRead(path string) bool {
	return exists(path+building+keptSuffix) || (c.runner != nil && c.runner.Position().Partitions() > 0)
}

// setAside gives a file that was to take the views' place a name under which no start
// takes it up.
func (r *Runner) setAside() error {
	if err := os.Rename(r.file.path+next, r.file.path+cancelled); err != nil {
		return err
	}
	r.deps.at(PointSetAside)
	return syncDir(filepath.Dir(r.file.path))
}

// dropCancelled removes a build that was cancelled, and all that it has kept. There is
// none under way.
func (r *Runner) dropCancelled() error {
	return errors.Join(dropKept(r.file.path+next+building), remove(r.file.path+cancelled))
}

func openCandidate(path string) (*File, error) {
	db, err := openDB(path)
	if err != nil {
		return nil, err
	}
	f := newFile(path)
	f.open.Store(kv.New(db))
	return f, nil
}

func (c *candidate) runOn(ctx context.Context, file *File) error {
	s := c.serving
	var skipped map[place]string
	err := s.exclusively(ctx, func(context.Context) error {
		skipped = s.folder.skipped // which is never changed, but replaced
		return nil
	})
	if ctx.Err() != nil {
		return errSuspended
	}
	if err == nil {
		err = file.carry(skipped)
	}
	if err != nil {
		return err
	}
	s.deps.at(PointCandidateCarried)
	cfg, deps := s.cfg, s.deps
	cfg.CacheFacts = min(cfg.CacheFacts, candidateFacts)
	cfg.BuildFrom = 1
	deps.Registerer = nil
	runner, err := newRunner(cfg, deps, file, true, s.folder.facts, s.all[1:])
	if err != nil {
		return err
	}
	runner.counted = c.counted
	c.mu.Lock()
	c.runner = runner
	c.mu.Unlock()
	within, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(within) }()
	end := sync.OnceValue(func() error {
		stop()
		return <-ended
	})
	err = c.await(ctx, runner)
	if err == nil {
		err = s.exclusively(ctx, func(ctx context.Context) error { return s.promote(ctx, runner, end) })
		if err != nil && ctx.Err() != nil {
			err = errSuspended
		}
	}
	running := end()
	if errors.Is(err, errEnded) {
		return fmt.Errorf("build the views: %w", running)
	}
	return err
}

// errEnded says that a candidate's runner ended by itself.
var errEnded = errors.New("ended")

// await returns nil when the candidate is to take the views' place, and can.
func (c *candidate) await(ctx context.Context, runner *Runner) error {
	for i, event := range []<-chan struct{}{runner.Ready(), c.wanted} {
		select {
		case <-event:
			if i == 0 {
				c.serving.deps.at(PointCandidateCaughtUp)
				close(c.caughtUp)
			}
		case <-c.cancelled:
			return errCancelled
		case <-runner.done:
			if ctx.Err() != nil {
				return errSuspended
			}
			return errEnded
		case <-ctx.Done():
			return errSuspended
		}
	}
	return nil
}

// promote puts the file of a runner, which end stops, in the place of r's. It is
// a job: r stands still.
func (r *Runner) promote(ctx context.Context, of *Runner, end func() error) error {
	r.deps.at(PointPromote)
	if err := of.Wait(ctx, r.Position()); err != nil { // so that no reader goes back
		return err
	}
	if err := end(); err != nil {
		return err
	}
	_, why := r.Outdated()
	if err := r.file.succeed(of.file, why != ofDamage, r.deps.at); err != nil {
		return err
	}
	r.adoptState(&built{marks: of.marks, parked: of.folder.parked})
	r.deps.at(PointPromoted)
	return nil
}

// adoptState makes r's state that of the file which took the place of its own.
func (r *Runner) adoptState(b *built) {
	r.folder.parked = b.parked
	r.folder.recent = newCache(r.folder.recent.bound)
	r.metrics.parked.Set(float64(len(b.parked)))
	r.mu.Lock()
	r.outdated = outdated{}
	r.mu.Unlock()
	select {
	case <-r.file.damage: // of the file before
	default:
	}
	r.publish(b.marks)
	if r.deps.Committed != nil && !r.candidate {
		r.deps.Committed(nil)
	}
}

// succeed puts g's file in the place of f's, which is kept beside it, unless it is
// damaged. A process that ends in between leaves one of the two there, whole.
func (f *File) succeed(g *File, keep bool, at func(Point)) error {
	err := g.db().Flush()
	if err == nil && keep {
		err = f.db().Flush()
	}
	if errors.Is(err, kv.ErrDamaged) && keep {
		return f.succeed(g, false, at)
	}
	if err != nil {
		return fmt.Errorf("promote the views: %w", err)
	}
	at(PointFilesLevel)
	err = remove(f.path + previous)
	if err == nil && keep {
		err = os.Link(f.path, f.path+previous)
	}
	if err != nil {
		return fmt.Errorf("promote the views: %w", err)
	}
	at(PointLinked)
	return f.replace(g.path, g.db(), func() { at(PointRenamed) })
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
