package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/notify"
	"comanda.internal/domain"
	"comanda.internal/eventstore/mirror"
	"comanda.internal/eventstore/natsnode"
)

// logMirrorCmd keeps a second copy of a log.
type logMirrorCmd struct {
	Dir     string `arg:"" type:"path" help:"Data directory of the mirror: one that is empty or not there yet, or a mirror that goes on."`
	Once    bool   `help:"End when the mirror holds what the log held at the beginning."`
	Promote bool   `help:"Make a live log of the mirror, in a new epoch, and copy nothing. First stop what it is a mirror of."`

	sourceFlags
}

// besideDir is the mirror's own directory in its data directory.
const besideDir = "mirror"

// Run mirrors until ctx ends, which is no error, or promotes.
func (c *logMirrorCmd) Run(ctx context.Context, out *stdio) (err error) {
	if c.Promote {
		return c.promote(ctx, out)
	}
	source, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	if source.Embedded() && !c.Once {
		return domain.Errorf(domain.Unavailable, "no server runs on %s: start it, or copy what is there with --once", c.DataDir)
	}
	target, err := c.target(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	view := newMirrorView(out)
	m, err := mirror.Open(ctx, mirror.Config{
		Source: source.Conn(), Target: target.Conn(), Dir: filepath.Join(c.Dir, besideDir), Also: []string{"KV_" + notify.Bucket, "KV_" + groups.Bucket},
		AfterCreate: target.SyncDirs, Progress: view.show, Away: view.away,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if c.Once {
		_, err = m.Pass(ctx)
	} else {
		err = m.Run(ctx)
	}
	view.done()
	if err != nil {
		return errors.Join(err, target.Health())
	}
	_, err = fmt.Fprintf(out.out, "mirrored %d events of %s, epoch %d, to %s: lag %d\n",
		view.last.Held, m.Lineage().ID, m.Lineage().Epoch, c.Dir, view.last.Lag())
	return err
}

// target opens the mirror's server. A directory that holds anything else is refused.
func (c *logMirrorCmd) target(ctx context.Context) (*natsnode.Node, error) {
	dir := filepath.Join(c.Dir, natsDir)
	if _, err := os.Stat(dir); err != nil {
		if err := vacant(c.Dir); err != nil {
			return nil, err
		}
	}
	return natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None})
}

// promote makes a live log of the mirror.
func (c *logMirrorCmd) promote(ctx context.Context, out *stdio) (err error) {
	dir := filepath.Join(c.Dir, natsDir)
	if err := exists(dir); err != nil {
		return err
	}
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	beside := filepath.Join(c.Dir, besideDir)
	done, err := mirror.Promote(ctx, node.Conn(), beside, func() error { return natsnode.SyncAll(dir) })
	if err != nil {
		return err
	}
	if err := natsnode.SyncAll(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(beside); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.out, "promoted %d events of %s in %s: epoch %d\n", done.Events, done.Lineage.ID, c.Dir, done.Lineage.Epoch)
	return err
}

// mirrorView tells how far a mirror is: whenever it is due and something is new,
// and when the mirror is level for the first time.
type mirrorView struct {
	*progress

	last, told mirror.Progress
	begun      bool // told holds something
	level      bool
	waiting    bool // the source is away, and it was told
}

func newMirrorView(out *stdio) *mirrorView {
	v := &mirrorView{progress: newProgress(out)}
	v.doing = "mirroring"
	return v
}

func (v *mirrorView) show(p mirror.Progress) {
	v.last, v.waiting = p, false
	now := v.now()
	first := p.Lag() == 0 && !v.level
	v.level = v.level || first
	if !first && (!v.due(now) || v.begun && p == v.told) {
		return
	}
	text := fmt.Sprintf("%d %%, %d of %d events, lag %d", percent(p.Held, p.Head), p.Held, p.Head, p.Lag())
	if seconds := now.Sub(v.shown).Seconds(); v.begun && seconds > 0 && p.Held > v.told.Held {
		text += fmt.Sprintf(", %.0f/s", float64(p.Held-v.told.Held)/seconds)
	}
	v.told, v.begun = p, true
	v.tell(now, p.Held, p.Head, text)
}

// away tells once that the source does not answer.
func (v *mirrorView) away(err error) {
	if v.waiting {
		return
	}
	v.waiting = true
	v.done()
	_, _ = fmt.Fprintf(v.out, "%s: waiting: %v\n", v.doing, err)
}
