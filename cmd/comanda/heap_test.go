package main

import (
	"runtime/debug"
	"testing"
)

// heapPercent is how far the heap grows, which can only be asked by setting it.
func heapPercent() int {
	now := debug.SetGCPercent(gcPercent)
	debug.SetGCPercent(now)
	return now
}

func TestTheHeapGrowsLessWhileViewsAreBuilt(t *testing.T) {
	defer debug.SetGCPercent(heapPercent())
	for _, by := range []struct {
		name             string
		gogc             string
		before, building int
	}{{"nobody says how far", "", gcPercent, gcPercentBuilding}, {"GOGC does", "70", 70, 70}} {
		t.Run(by.name, func(t *testing.T) {
			t.Setenv("GOGC", by.gogc)
			debug.SetGCPercent(70)
			var c collecting
			var got []int
			c.govern()
			got = append(got, heapPercent())
			first, second := c.building(), c.building()
			got = append(got, heapPercent())
			first()
			got = append(got, heapPercent())
			second()
			got = append(got, heapPercent())
			if want := [...]int{by.before, by.building, by.building, by.before}; [4]int(got) != want {
				t.Errorf("before, with two builds, with one, and after: %v, want %v", got, want)
			}
		})
	}
}
