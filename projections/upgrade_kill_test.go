package projections_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
)

// The points that an upgrade does not come to: of its own it neither follows, nor cancels
// anything, nor goes back.
var notOfUpgrades = []projections.Point{
	projections.PointUnparked, projections.PointSetAside, projections.PointRolledBack,
	projections.PointCommit, projections.PointCommitted, projections.PointPublished,
}

// TestAnUpgradeIsKilledAnywhere kills the next version of the program at every point of
// the upgrade of the views. Whichever version is started then makes whole views of what
// it finds.
func TestAnUpgradeIsKilledAnywhere(t *testing.T) {
	s := filled(t)
	head, err := s.Head(t.Context())
	must(t, err)
	if d, doomed := projectiontest.Doomed(t); doomed {
		s.Fill(t, 8, 20, 100)
		upgradeAndDie(t, s, d)
	}
	old := viewsPath(t)
	build(t, old, s)
	s.Fill(t, 8, 20, 100)
	if now, err := s.Head(t.Context()); err != nil || now.Equal(head) {
		t.Fatal("nothing is new")
	}
	programs := []projectiontest.Views{views, newViews}
	want := [][]byte{fresh(t, s, views), fresh(t, s, newViews)}
	for _, point := range projections.Points() {
		if slices.Contains(notOfUpgrades, point) {
			continue
		}
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(filepath.Dir(old))))
		projectiontest.Doom{Point: point, Dir: dir}.Execute(t)
		for i, program := range programs {
			after := t.TempDir()
			must(t, os.CopyFS(after, os.DirFS(dir)))
			f := projectiontest.Start(t, filepath.Join(after, filepath.Base(old)), s, program, projections.Config{})
			<-f.Runner.Ready()
			f.Wait()
			if !bytes.Equal(f.Dump(), want[i]) {
				t.Errorf("after a kill at %s the program %d has other views than those of the whole log", point, i)
			}
			f.Stop()
			f.Close()
		}
	}
}

func upgradeAndDie(t *testing.T, s *projectiontest.Script, d projectiontest.Doom) {
	t.Helper()
	die := d.At()
	for _, cutOff := range []bool{true, false} { // once by an end of the program that is none of its death
		ctx, cancel := context.WithCancel(t.Context())
		file, err := projections.Open(filepath.Join(d.Dir, "views.db"))
		must(t, err)
		facts, others := newViews(file)
		with := deps(s)
		with.At = func(p projections.Point) {
			die(p)
			if cutOff && p == projections.PointBuildRead {
				cancel()
			}
		}
		r, err := projections.New(projections.Config{}, with, file, facts, others...)
		must(t, err)
		must(t, r.Run(ctx))
		must(t, file.Close())
		cancel()
	}
	t.Fatal("the views ended")
}
