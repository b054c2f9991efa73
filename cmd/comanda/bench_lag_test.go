package main

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"google.golang.org/grpc"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// stalledView has every question wait until it is told to go on.
type stalledView struct {
	comandav1.UnimplementedOrderServiceServer

	asked  chan string
	resume chan struct{}
}

func (v *stalledView) GetOrder(ctx context.Context, r *comandav1.GetOrderRequest) (*comandav1.GetOrderResponse, error) {
	v.asked <- r.GetOrderId()
	select {
	case <-v.resume:
		return &comandav1.GetOrderResponse{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestTheLagOfAStallIsThatOfAllOrders stalls the view while answers come: each that is
// looked for counts with all of the stall, and those beyond the most are counted, too.
func TestTheLagOfAStallIsThatOfAllOrders(t *testing.T) {
	const most, beyond = 200, 7
	v := &stalledView{asked: make(chan string, most+beyond), resume: make(chan struct{})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	comandav1.RegisterOrderServiceServer(server, v)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	clock := make(chan time.Time, 1) // of who calls it
	at := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	clock <- at
	now := func() time.Time { t := <-clock; clock <- t; return t }
	p, err := newLagProbe(l.Addr().String(), 3, most, now)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * (most + beyond) {
		p.offer([]byte(`{"order_id":"` + strconv.Itoa(i) + `","position":"0:1"}`))
	}
	asked := map[string]bool{}
	for range most { // all at the same time
		asked[<-v.asked] = true
	}
	<-clock
	clock <- at.Add(100 * time.Millisecond)
	close(v.resume)
	seen := p.take()
	if len(asked) != most || len(seen.lag) != most || seen.notAsked != beyond || seen.unseen != 0 {
		t.Errorf("%d orders: %d lags, %d unseen, %d not asked", len(asked), len(seen.lag), seen.unseen, seen.notAsked)
	}
	for _, lag := range seen.lag {
		if lag != 100*time.Millisecond {
			t.Fatalf("a lag of %s", lag)
		}
	}
	if again := p.take(); len(again.lag) != 0 || again.notAsked != 0 {
		t.Errorf("taken twice: %+v", again)
	}
	if err := p.close(); err != nil {
		t.Error(err)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
