package checkout

import "sync/atomic"

// desk has work done beside other work, up to a number at once. Its goroutines go
// on with the next piece when there is one: to record a fact takes a stack that a new
// goroutine would grow every time, which cost a tenth of the processor.
type desk struct {
	slots chan struct{} // one for each goroutine
	work  chan func()
	idle  atomic.Int64
	done  chan struct{}
}

// mostIdle bounds the goroutines that wait for work, whose stacks are kept.
const mostIdle = 256

func newDesk(most int) *desk {
	return &desk{slots: make(chan struct{}, most), work: make(chan func()), done: make(chan struct{})}
}

// take has f done; false: too much is being done, or the desk is closed.
func (d *desk) take(f func()) bool {
	select {
	case d.work <- f:
		return true
	default:
	}
	select {
	case d.slots <- struct{}{}:
		go d.worker(f)
		return true
	default:
		return false
	}
}

func (d *desk) worker(f func()) {
	defer func() { <-d.slots }()
	for f != nil {
		f()
		f = d.next()
	}
}

// next waits for work; nil: there is none, or others wait for it as well.
func (d *desk) next() (f func()) {
	if d.idle.Add(1) <= mostIdle {
		select {
		case f = <-d.work:
		case <-d.done:
		}
	}
	d.idle.Add(-1)
	return f
}

// close waits until all work is done, and takes no more. It may be called once.
func (d *desk) close() {
	close(d.done)
	for range cap(d.slots) {
		d.slots <- struct{}{}
	}
}
