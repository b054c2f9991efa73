package main

import (
	"context"
	"strings"
	"sync"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// lagProbe measures, for some of the answers, how long after the
// acknowledgement the view shows the order.
type lagProbe struct {
	now    func() time.Time
	conn   interface{ Close() error }
	client comandav1.OrderServiceClient
	asked  chan lagQuestion
	wg     sync.WaitGroup

	mu     sync.Mutex
	lag    []time.Duration
	unseen int
}

// lagLimit is when the view is given up on, and lagQuestions are asked at the same time
// at most: one that waited for another's answer would tell of that one's lag, too.
const (
	lagLimit     = 10 * time.Second
	lagQuestions = 8
)

type lagQuestion struct {
	order, position string
	acknowledged    time.Time
}

func newLagProbe(target string, now func() time.Time) (*lagProbe, error) {
	conn, err := (&clientFlags{Server: target}).dial()
	if err != nil {
		return nil, err
	}
	p := &lagProbe{now: now, conn: conn, client: comandav1.NewOrderServiceClient(conn), asked: make(chan lagQuestion)}
	for range lagQuestions {
		p.wg.Go(p.work)
	}
	return p, nil
}

// offer has the lag of an answer measured, unless the probe is busy.
func (p *lagProbe) offer(answer []byte) {
	q := lagQuestion{order: textField(answer, "order_id"), position: textField(answer, "position"), acknowledged: p.now()}
	select {
	case p.asked <- q:
	default:
	}
}

func (p *lagProbe) work() {
	for q := range p.asked {
		ctx, cancel := context.WithTimeout(context.Background(), lagLimit)
		_, err := p.client.GetOrder(ctx, &comandav1.GetOrderRequest{OrderId: q.order, MinPosition: q.position})
		cancel()
		p.mu.Lock()
		if err == nil {
			p.lag = append(p.lag, p.now().Sub(q.acknowledged))
		} else {
			p.unseen++
		}
		p.mu.Unlock()
	}
}

// take gives what was measured since the last call.
func (p *lagProbe) take() (lag []time.Duration, unseen int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lag, unseen = p.lag, p.unseen
	p.lag, p.unseen = nil, 0
	return lag, unseen
}

func (p *lagProbe) close() error {
	close(p.asked)
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
