package projections_test

import (
	"os"
	"testing"
	"time"

	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
)

// remembered is the newest event that the views at path know of, by partition.
func remembered(t *testing.T, path string) map[int]uint64 {
	t.Helper()
	file := openFile(t, path)
	got := map[int]uint64{}
	must(t, file.Remembered(func(_ string, partition int, sequence uint64, _ [32]byte) { got[partition] = sequence }))
	return got
}

// killed builds views of s of which the file holds nothing, as a kill leaves them.
func killed(t *testing.T, s *projectiontest.Script) (path string) {
	t.Helper()
	path = viewsPath(t)
	f := projectiontest.Start(t, path, s, views, projections.Config{FlushInterval: time.Hour})
	f.Wait()
	f.Stop()
	f.Kill()
	return path
}

func TestWhatWasReadIsRememberedThroughAKill(t *testing.T) {
	s := filled(t)
	path := killed(t, s)
	head, err := s.Head(t.Context())
	must(t, err)
	file := openFile(t, path)
	must(t, file.Snapshot(func(snap *projections.Snapshot) error {
		if !snap.Position().IsZero() {
			t.Errorf("the file holds %v: nothing was lost", snap.Position())
		}
		return nil
	}))
	got := map[int]uint64{}
	must(t, file.Remembered(func(log string, partition int, sequence uint64, _ [32]byte) {
		got[partition] = sequence
		if log != s.Identity() {
			t.Errorf("of log %q, want %q", log, s.Identity())
		}
	}))
	for partition := range s.Partitions() {
		if got[partition] != head.At(partition) {
			t.Errorf("partition %d: sequence %d is remembered, want %d", partition, got[partition], head.At(partition))
		}
	}
}

func TestATornOrForgottenMemoryCountsForNothing(t *testing.T) {
	path := killed(t, filled(t))
	whole, err := os.ReadFile(path + ".seen")
	must(t, err)
	for cut := range whole {
		must(t, os.WriteFile(path+".seen", whole[:cut], 0o600))
		torn(t, path, "cut")
		flipped := append([]byte{}, whole...)
		flipped[cut] ^= 0x10
		must(t, os.WriteFile(path+".seen", flipped, 0o600))
		torn(t, path, "flipped")
	}
	must(t, os.WriteFile(path+".seen", whole, 0o600))
	must(t, os.Remove(path)) // the views are deleted, to be built of what is left of the log
	if got := remembered(t, path); len(got) != 0 {
		t.Errorf("views that were deleted remember %v", got)
	}
}

func torn(t *testing.T, path, how string) {
	t.Helper()
	file, err := projections.Open(path)
	must(t, err)
	must(t, file.Remembered(func(_ string, partition int, sequence uint64, _ [32]byte) {
		t.Errorf("%s: sequence %d of partition %d is remembered", how, sequence, partition)
	}))
	must(t, file.Close())
}
