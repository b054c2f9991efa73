package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// lagProbe measures, for some of the answers, how long after the acknowledgement the view
// shows the order. Which those are does not depend on how fast the view is: each is asked
// for at once, beside all that still wait.
type lagProbe struct {
	now    func() time.Time
	conn   interface{ Close() error }
	client comandav1.OrderServiceClient
	of     uint64 // one of so many answers is looked for
	most   int    // questions at the same time
	wg     sync.WaitGroup
	offers atomic.Uint64

	mu      sync.Mutex
	waiting int
	seen    lags
}

// lags are what was measured.
type lags struct {
	lag      []time.Duration
	unseen   int // were not in the view after all of lagLimit
	notAsked int // because lagQuestions waited
}

// lagLimit is when the view is given up on, and lagQuestions wait for it at the same time
// at most: fewer than the calls of a connection, where more would wait for one another.
// Those that are not asked are counted.
const (
	lagLimit     = 10 * time.Second
	lagQuestions = 1000
)

func newLagProbe(target string, of uint64, most int, now func() time.Time) (*lagProbe, error) {
	conn, err := (&clientFlags{Server: target}).dial()
	if err != nil {
		return nil, err
	}
	return &lagProbe{now: now, conn: conn, client: comandav1.NewOrderServiceClient(conn), of: of, most: most}, nil
}

// offer has the lag of an answer measured, if its turn is, and does not wait for that.
func (p *lagProbe) offer(answer []byte) {
	if p.offers.Add(1)%p.of != 0 {
		return
	}
	acknowledged := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting == p.most {
		p.seen.notAsked++
		return
	}
	p.waiting++
	ask := &comandav1.GetOrderRequest{OrderId: textField(answer, "order_id"), MinPosition: textField(answer, "position")}
	p.wg.Go(func() { p.ask(ask, acknowledged) })
}

func (p *lagProbe) ask(q *comandav1.GetOrderRequest, acknowledged time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), lagLimit)
	defer cancel()
	_, err := p.client.GetOrder(ctx, q)
	lag := p.now().Sub(acknowledged)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
	if err != nil {
		p.seen.unseen++
		return
	}
	p.seen.lag = append(p.seen.lag, lag)
}

// take waits for all that were asked, and gives what was measured since the last call. No
// answer is offered meanwhile.
func (p *lagProbe) take() lags {
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = lags{}
	return seen
}

// close waits for all that were asked.
func (p *lagProbe) close() error {
	p.wg.Wait()
	return p.conn.Close()
}

// textField is the text of a field of an answer that Comanda wrote.
func textField(answer []byte, name string) string {
	_, rest, ok := strings.Cut(string(answer), `"`+name+`":"`)
	if !ok {
		return ""
	}
	text, _, _ := strings.Cut(rest, `"`)
	return text
}
