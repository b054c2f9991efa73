package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
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

// TestGarbageHasRoom wants the heap to grow farther where the process may use much memory,
// less the more of it is in use, and never less than without.
func TestGarbageHasRoom(t *testing.T) {
	defer debug.SetGCPercent(heapPercent())
	debug.SetGCPercent(gcPercent)
	runtime.GC() // what other tests held is not in use
	room := func(c *collecting) (ended func()) {
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { c.makeRoom(ctx, memlimit.Limit(1<<40)) })
		return func() { cancel(); group.Wait() }
	}
	c := collecting{governed: true, percent: gcPercent}
	ended := room(&c)
	defer ended()
	awaitPercent(t, &c, func(percent int) bool { return percent > gcPercent })
	held := make([]byte, roomMost) // of which twice as much is more than the room
	runtime.GC()
	awaitPercent(t, &c, func(percent int) bool { return percent == gcPercent })
	runtime.KeepAlive(held)
	built := c.building()
	awaitPercent(t, &c, func(percent int) bool { return percent == gcPercentBuilding })
	built()
	awaitPercent(t, &c, func(percent int) bool { return percent == gcPercent })
	ended()

	debug.SetGCPercent(70)
	var not collecting // GOGC says how far
	room(&not)()
	if got := heapPercent(); got != 70 {
		t.Errorf("nobody governs the heap, and it grows by %d %%", got)
	}
}

// awaitPercent waits until the heap grows as wanted, and c knows how far.
func awaitPercent(t *testing.T, c *collecting, wanted func(percent int) bool) {
	t.Helper()
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		c.mu.Lock()
		got, says := heapPercent(), c.percent
		c.mu.Unlock()
		if wanted(got) && got == says {
			return
		}
	}
}

func TestRoomIsOfTheLeastMemory(t *testing.T) {
	unknown := func() (uint64, error) { return 0, memlimit.ErrNoLimit }
	for _, c := range []struct {
		name   string
		memory []memlimit.Provider
		want   uint64
	}{
		{"a container's limit", []memlimit.Provider{memlimit.Limit(1 << 30), memlimit.Limit(64 << 30)}, 64 << 20},
		{"a limit that is more than there is", []memlimit.Provider{memlimit.Limit(1 << 60), memlimit.Limit(1 << 30)}, 64 << 20},
		{"no container", []memlimit.Provider{unknown, memlimit.Limit(8 << 30)}, 512 << 20},
		{"much", []memlimit.Provider{unknown, memlimit.Limit(1 << 40)}, roomMost},
		{"nobody knows", []memlimit.Provider{unknown, unknown}, 0},
	} {
		if got := roomOf(c.memory...); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}
