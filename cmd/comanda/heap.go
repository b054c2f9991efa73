package main

import (
	"os"
	"runtime/debug"
	"sync"
)

// How far the heap grows beyond what is in use, in percent. The most of the time, to three
// times that: a collection walks caches of hundreds of megabytes, and took a tenth of the
// processor. While views are built, which makes garbage as fast as it can, to twice: it is
// then that a process is largest. GOGC wins over both.
const (
	gcPercent         = 200
	gcPercentBuilding = 100
)

// heap is the process's.
var heap collecting

// collecting says how far the heap grows. The zero value leaves it as it is.
type collecting struct {
	mu       sync.Mutex
	governed bool
	builds   int
}

// govern begins, unless GOGC says how far.
func (c *collecting) govern() {
	if os.Getenv("GOGC") != "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.governed = true
	debug.SetGCPercent(gcPercent)
}

// building begins a build of views, which ended ends.
func (c *collecting) building() (ended func()) {
	c.count(1)
	return func() { c.count(-1) }
}

func (c *collecting) count(more int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.builds
	c.builds += more
	switch {
	case !c.governed:
	case before == 0:
		debug.SetGCPercent(gcPercentBuilding)
	case c.builds == 0:
		debug.SetGCPercent(gcPercent)
	}
}
