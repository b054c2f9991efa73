package projections_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"comanda.internal/projections/projectiontest"
)

// TestTwiceCutOffOfPartitions lets partitions grow between two ends of a build.
func TestTwiceCutOffOfPartitions(t *testing.T) {
	s := projectiontest.NewScript(2)
	s.Cut = func(n int) int { return min(n, 50) }
	s.Fill(t, 1, 1200, 2000)
	l := &countedLog{Script: s}
	dir := t.TempDir()
	path := filepath.Join(dir, "views.db")
	for i := range 3 {
		cutOff(t, path, l, []int{30, 12, 12}[i], views)
		exists(t, path+".building.kept", true)
		s.Fill(t, 10+uint64(i), 600, 900)
	}
	t.Log(cutOff(t, path, l, never, views))
	whole := filepath.Join(dir, "whole.db")
	cutOff(t, whole, l, never, views)
	if a, b := dumped(t, path), dumped(t, whole); !bytes.Equal(a, b) {
		t.Errorf("the views hold other bytes: %d, %d", len(a), len(b))
	}
}
