package main

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"

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

// TestGarbageHasRoom wants the heap to grow farther while there is room, less the more is in
// use, and never less than without.
func TestGarbageHasRoom(t *testing.T) {
	defer debug.SetGCPercent(heapPercent())
	c := collecting{governed: true, room: 512 << 20}
	for _, see := range []struct {
		used uint64
		want int
	}{{1 << 20, mostPercent}, {128 << 20, 400}, {126 << 20, 400}, {64 << 20, 800}, {1 << 30, gcPercent}, {200 << 20, 256}, {250 << 20, 204}} {
		c.set(see.used)
		if got := heapPercent(); got != see.want {
			t.Errorf("with %d bytes in use the heap grows by %d %%, want %d", see.used, got, see.want)
		}
	}
	c.builds = 1
	c.set(1 << 20)
	if got := heapPercent(); got != gcPercentBuilding {
		t.Errorf("while views are built the heap grows by %d %%", got)
	}
	debug.SetGCPercent(70)
	not := collecting{room: 512 << 20} // GOGC says how far
	not.set(1 << 20)
	if got := heapPercent(); got != 70 {
		t.Errorf("nobody governs the heap, and it grows by %d %%", got)
	}
}

// TestRoomEnds wants what was there before once nobody makes room.
func TestRoomEnds(t *testing.T) {
	defer debug.SetGCPercent(heapPercent())
	c := collecting{governed: true}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.makeRoom(ctx) }()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := heapPercent(); got != gcPercent {
		t.Errorf("the heap grows by %d %%", got)
	}
}

// TestStacksAreInUse wants the stacks of many goroutines to count, of which a percentage is
// garbage as well.
func TestStacksAreInUse(t *testing.T) {
	const goroutines, each = 2000, 8 << 10
	runtime.GC() // of what other tests left
	before := inUse()
	var ready, all sync.WaitGroup
	end := make(chan struct{})
	for range goroutines {
		ready.Add(1)
		all.Go(func() {
			deep(each, func() { ready.Done(); <-end })
		})
	}
	ready.Wait()
	runtime.GC() // which sees them
	if more := int64(inUse()) - int64(before); more < goroutines*each/2 {
		t.Errorf("%d goroutines of %d bytes each made %d bytes more in use", goroutines, each, more)
	}
	close(end)
	all.Wait()
}

// deep calls then with so many bytes of stack below it.
func deep(bytes int, then func()) {
	var room [512]byte
	if bytes > len(room) {
		deep(bytes-len(room), then)
	} else {
		then()
	}
	runtime.KeepAlive(&room)
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

func TestGoMemoryLimitIsMemory(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	if limit, err := goLimit(); !errors.Is(err, memlimit.ErrNoLimit) {
		t.Errorf("without a limit: %d, %v", limit, err)
	}
	debug.SetMemoryLimit(16 << 30)
	if got := roomOf(goLimit, memlimit.Limit(64<<30)); got != 1<<30 {
		t.Errorf("of 16 GiB there are %d bytes of room", got)
	}
}
