package grpcapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// A page of the log is read into memory, up to some thousands of events, while it is
// sent. So it begins small and doubles while it is done in a quarter of pageTime, up to
// mostPage, which stands for all there is. A page of which fewer than slowest events went in a
// pageTime ends, and the next is the smallest: a slow client holds no more than that, and one that
// reads nothing twice what its own buffers took.
const (
	leastPage = 60
	mostPage  = 4096
	pageTime  = time.Second
	slowest   = 1000
)

var (
	errQuiet   = errors.New("nothing came for a while")
	errPageEnd = errors.New("the page ends")
)

// pages reads the log for one client.
type pages struct {
	log     Log
	clock   func() time.Time
	closing <-chan struct{} // ends a read with errShuttingDown
	quiet   time.Duration   // so long without an event ends a read with errQuiet
	sizes   map[int]uint64  // by partition
}

// read hands the next events of gap to handle: all of them, or a page. What is handed
// over is valid until handle returns.
func (p *pages) read(ctx context.Context, gap *ring.Gap, handle func(*ring.Entry) error) error {
	reading, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-p.closing:
			cancel(errShuttingDown)
		case <-reading.Done():
		}
	})
	defer watch.Wait()
	defer cancel(nil)
	quiet := time.AfterFunc(p.quiet, func() { cancel(errQuiet) })
	defer quiet.Stop()

	pace := p.begin(gap)
	var own error // of handle, which no cause of ours hides
	err := p.log.Scan(reading, gap.Partition, gap.After, pace.upTo, func(r *domain.Recorded) error {
		if reading.Err() != nil {
			return context.Cause(reading)
		}
		quiet.Reset(p.quiet)
		e, err := ring.EntryOf(r)
		if err != nil {
			return err
		}
		if own = handle(&e); own == nil {
			own = pace.step(p.clock())
		}
		return own
	})
	p.end(gap.Partition, pace, own)
	switch {
	case errors.Is(own, errPageEnd):
		return nil
	case own != nil:
		return own
	case err != nil && reading.Err() != nil:
		return context.Cause(reading)
	default:
		return err
	}
}

// pace watches how fast a page goes.
type pace struct {
	upTo          uint64
	size          uint64
	began, window time.Time
	handled       int // in the window
}

func (p *pages) begin(gap *ring.Gap) *pace {
	now := p.clock()
	w := &pace{size: max(p.sizes[gap.Partition], leastPage), began: now, window: now}
	if w.upTo = gap.UpTo; w.size < mostPage {
		w.upTo = min(w.upTo, gap.After+w.size)
	}
	return w
}

// step counts an event; errPageEnd ends the page.
func (w *pace) step(now time.Time) error {
	w.handled++
	if now.Sub(w.window) < pageTime {
		return nil
	}
	if w.handled < slowest {
		return errPageEnd
	}
	w.window, w.handled = now, 0
	return nil
}

// end chooses the size of the partition's next page.
func (p *pages) end(partition int, w *pace, how error) {
	if p.sizes == nil {
		p.sizes = map[int]uint64{}
	}
	switch {
	case errors.Is(how, errPageEnd):
		w.size = leastPage
	case p.clock().Sub(w.began) < pageTime/4:
		w.size = min(2*w.size, mostPage)
	}
	p.sizes[partition] = w.size
}
