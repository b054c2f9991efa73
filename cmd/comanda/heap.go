package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// How far the heap grows beyond what is in use, in percent. The most of the time, to three
// times that: a collection walks caches of hundreds of megabytes, and took a tenth of the
// processor. While views are built, which makes garbage as fast as it can, to twice: it is
// then that a process is largest. GOGC wins over both.
const (
	gcPercent         = 200
	gcPercentBuilding = 100
)

// Garbage may take roomShare of the memory that this process may use before it is
// collected, and roomMost at most, where that is more than gcPercent: webhooks make
// hundreds of megabytes of it a second, and to walk a small heap each time took a sixth of
// the processor.
const (
	roomShare = 1.0 / 16
	roomMost  = 1 << 30
)

// heapEvery is how often it is looked how much of the heap the last collection left.
const heapEvery = 100 * time.Millisecond

// heap is the process's.
var heap collecting

// collecting says how far the heap grows. The zero value leaves it as it is.
type collecting struct {
	mu       sync.Mutex
	governed bool
	room     uint64 // bytes
	builds   int
	percent  int // as set
}

// govern begins, unless GOGC says how far.
func (c *collecting) govern() {
	if os.Getenv("GOGC") != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.governed = true
	c.set()
}

// makeRoom lets garbage have its room until ctx ends, as serve does, and who is compared
// with it.
func (c *collecting) makeRoom(ctx context.Context, memory ...memlimit.Provider) {
	c.mu.Lock()
	c.room = roomOf(memory...)
	c.mu.Unlock()
	look := time.NewTicker(heapEvery)
	defer look.Stop()
	for ctx.Err() == nil {
		c.mu.Lock()
		c.set()
		c.mu.Unlock()
		select {
		case <-look.C:
		case <-ctx.Done():
		}
	}
}

// roomOf is the room of a process with the least memory that a source says; 0 when none
// says any.
func roomOf(sources ...memlimit.Provider) uint64 {
	room := uint64(0)
	for _, source := range sources {
		if share, err := memlimit.ApplyRatio(source, roomShare)(); err == nil && (room == 0 || share < room) {
			room = share
		}
	}
	return min(room, roomMost)
}

// set has the heap grow as far as it should from what is in use now. The lock is held.
func (c *collecting) set() {
	if !c.governed {
		return
	}
	percent := gcPercentBuilding
	if c.builds == 0 {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		percent = percentOf(c.room, live[0].Value.Uint64())
	}
	// Each change stops the world.
	if nearly := c.percent / 8; percent < c.percent-nearly || percent > c.percent+nearly {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// percentOf is how far a heap grows of which live bytes are in use.
func percentOf(room, live uint64) int {
	const least = 4 << 20 // as for Go's runtime
	return max(gcPercent, int(min(100*room/max(live, least), math.MaxInt32)))
}

// building begins a build of views, which ended ends.
func (c *collecting) building() (ended func()) {
	c.count(1)
	return func() { c.count(-1) }
}

func (c *collecting) count(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.builds += more
	c.set()
}
