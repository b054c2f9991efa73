package grpcapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// The events of a page of the log. Some thousands of them are in memory while they are
// sent, so a page begins small, doubles when it was done in half of pageTime, and
// ends after pageTime: a slow client holds the smallest.
const (
	leastPage = 128
	mostPage  = 1 << 15
	pageTime  = time.Second
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
	size    uint64
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

	p.size = max(p.size, leastPage)
	began := p.clock()
	var own error // of handle, which no cause of ours hides
	err := p.log.Scan(reading, gap.Partition, gap.After, min(gap.UpTo, gap.After+p.size), func(r *domain.Recorded) error {
		if reading.Err() != nil {
			return context.Cause(reading)
		}
		quiet.Reset(p.quiet)
		e, err := ring.EntryOf(r)
		if err != nil {
			return err
		}
		if own = handle(&e); own == nil && p.clock().Sub(began) > pageTime {
			own = errPageEnd
		}
		return own
	})
	switch took := p.clock().Sub(began); {
	case took > pageTime:
		p.size = leastPage
	case took < pageTime/2:
		p.size = min(2*p.size, mostPage)
	}
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
