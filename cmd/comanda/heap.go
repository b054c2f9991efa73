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

// mostPercent bounds how far the heap grows of what was in use when it was last looked at,
// which is more by the end of the next collection.
const mostPercent = 1600

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
	c.set(inUse())
}

// makeRoom lets garbage have its room until ctx ends, whose error it returns: as serve does,
// and who is compared with it.
func (c *collecting) makeRoom(ctx context.Context) error {
	c.give(roomOf(memlimit.FromCgroup, memlimit.FromSystem, goLimit))
	defer c.give(0)
	look := time.NewTicker(heapEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			c.look()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// give lets garbage have so many bytes of room.
func (c *collecting) give(room uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room = room
	c.set(inUse())
}

// look sees what is in use now.
func (c *collecting) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(inUse())
}

// goLimit is GOMEMLIMIT.
func goLimit() (uint64, error) {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0, memlimit.ErrNoLimit
	}
	return uint64(limit), nil //nolint:gosec // not negative
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

// inUse is what the percentage is of (runtime/debug, SetGCPercent): what the last collection
// left, stacks and globals.
func inUse() (bytes uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		bytes += s.Value.Uint64()
	}
	return bytes
}

// set has the heap grow as far as it should from what is in use. The lock is held.
func (c *collecting) set(used uint64) {
	if !c.governed {
		return
	}
	percent := gcPercentBuilding
	if c.builds == 0 {
		percent = percentOf(c.room, used)
	}
	// Each change stops the world.
	if nearly := c.percent / 8; percent < c.percent-nearly || percent > c.percent+nearly || percent == gcPercent && c.percent != percent {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// percentOf is how far a heap grows of which so many bytes are in use.
func percentOf(room, used uint64) int {
	return max(gcPercent, int(min(100*room/max(used, 1), mostPercent)))
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
	c.set(inUse())
}
