package client_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// group makes one of a merchant's events.
func group(t *testing.T, conn *grpc.ClientConn, tenant string, deliveries uint32) (name string) {
	t.Helper()
	name = fresh("group")
	_, err := comandav1.NewEventServiceClient(conn).CreateGroup(t.Context(), &comandav1.CreateGroupRequest{Group: &comandav1.ConsumerGroup{
		Name: name, Filter: &comandav1.EventFilter{Tenants: []string{tenant}}, MaxDeliveries: deliveries, AckWait: durationpb.New(time.Hour),
	}})
	must(t, err)
	return name
}

// worked is what members did, and finds two handlers of one order.
type worked struct {
	t *testing.T

	mu    sync.Mutex
	busy  map[string]bool
	last  map[string]uint64 // revision, by order
	done  map[string]bool   // by event
	most  int
	order []string // of events, as they were begun
}

func newWorked(t *testing.T) *worked {
	t.Helper()
	return &worked{t: t, busy: map[string]bool{}, last: map[string]uint64{}, done: map[string]bool{}}
}

func (w *worked) begin(e *comandav1.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[e.GetOrderId()] {
		w.t.Errorf("two handlers of %s", e.GetOrderId())
	}
	if e.GetRevision() < w.last[e.GetOrderId()] || e.GetRevision() > w.last[e.GetOrderId()]+1 {
		w.t.Errorf("%s: revision %d after %d", e.GetOrderId(), e.GetRevision(), w.last[e.GetOrderId()])
	}
	w.busy[e.GetOrderId()], w.last[e.GetOrderId()] = true, e.GetRevision()
	w.most = max(w.most, len(w.busy))
	w.order = append(w.order, e.GetEventId())
}

// end says how many events were worked on at least once.
func (w *worked) end(e *comandav1.Event) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, e.GetOrderId())
	w.done[e.GetEventId()] = true
	return len(w.done)
}

// TestEveryEventIsHandledInOrderWhereverConnectionsBreak ends every connection after a
// number of bytes that is different each time.
func TestEveryEventIsHandledInOrderWhereverConnectionsBreak(t *testing.T) {
	tenant := fresh("cuts")
	want := fill(t, tenant, 20)
	name := group(t, dial(t, shop.address), tenant, 1000)
	proxy := natstest.NewProxy(t, shop.address)
	cuts := 0
	limit := func(error) {
		cuts++
		proxy.LimitAnswers(1 + cuts*131%4099) // of a prime: each rest comes up
	}
	limit(nil)
	w := newWorked(t)
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	err := client.Consume(ctx, dial(t, proxy.Addr()), client.Consumption{
		Group: name, Credits: 5, Retry: quick(limit),
		Handle: func(_ context.Context, e *comandav1.ConsumedEvent) (client.Answer, error) {
			w.begin(e.GetEvent())
			if w.end(e.GetEvent()) == len(want) {
				enough()
			}
			return client.Done(), nil
		},
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(w.done) != len(want) || cuts < 5 {
		t.Errorf("%d events of %d, after %d cuts", len(w.done), len(want), cuts)
	}
}

// As many orders at a time as there are credits, and of each order one event.
func TestHandlersRunAtTheSameTimeForDifferentOrders(t *testing.T) {
	tenant := fresh("credits")
	want := fill(t, tenant, 4)
	conn := dial(t, shop.address)
	name := group(t, conn, tenant, 5)
	w := newWorked(t)
	all, came := make(chan struct{}), 0
	err := client.Consume(t.Context(), conn, client.Consumption{
		Group: name, Credits: 4, Retry: quick(never(t)),
		Handle: func(ctx context.Context, e *comandav1.ConsumedEvent) (client.Answer, error) {
			w.begin(e.GetEvent())
			w.mu.Lock()
			if came++; came == 4 {
				close(all)
			}
			w.mu.Unlock()
			select {
			case <-all: // the first four wait for one another
			case <-ctx.Done():
				return client.Answer{}, ctx.Err()
			}
			if w.end(e.GetEvent()) == len(want) {
				return client.Answer{}, errEnough
			}
			return client.Done(), nil
		},
	})
	if !errors.Is(err, errEnough) || w.most != 4 {
		t.Errorf("it ends with %v, at most %d at a time", err, w.most)
	}
}

func TestAnswersDoWhatTheySay(t *testing.T) {
	tenant := fresh("answers")
	id := fresh("order")
	for _, kind := range []domain.Kind{domain.KindStarted, domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		_, err := record(t.Context(), tenant, id, kind)
		must(t, err)
	}
	conn := dial(t, shop.address)
	name := group(t, conn, tenant, 5)
	type delivery struct {
		revision uint64
		attempt  uint32
	}
	var got []delivery
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	consume := func(ctx context.Context, answer func(delivery) (client.Answer, error)) error {
		return client.Consume(ctx, conn, client.Consumption{
			Group: name, Retry: quick(never(t)),
			Handle: func(_ context.Context, e *comandav1.ConsumedEvent) (client.Answer, error) {
				d := delivery{e.GetEvent().GetRevision(), e.GetAttempt()}
				got = append(got, d)
				return answer(d)
			},
		})
	}
	err := consume(ctx, func(d delivery) (client.Answer, error) {
		switch d {
		case delivery{1, 1}:
			return client.Again(time.Millisecond, "later"), nil
		case delivery{2, 1}:
			return client.Skip(), nil
		case delivery{3, 1}:
			return client.Answer{}, errEnough // it was not its fault
		}
		return client.Done(), nil
	})
	if !errors.Is(err, errEnough) {
		t.Errorf("it ends with %v", err)
	}
	err = consume(ctx, func(d delivery) (client.Answer, error) {
		if d.revision == 3 {
			enough() // and its answer is heard
		}
		return client.Park("by hand"), nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("it ends with %v", err)
	}
	if want := []delivery{{1, 1}, {1, 2}, {2, 1}, {3, 1}, {3, 1}}; !slices.Equal(got, want) {
		t.Errorf("deliveries %v, want %v", got, want)
	}
	parked, err := comandav1.NewEventServiceClient(conn).ListParkedEvents(t.Context(), &comandav1.ListParkedEventsRequest{Group: name})
	if err != nil || len(parked.GetEvents()) != 1 || parked.GetEvents()[0].GetReason() != "by hand" {
		t.Errorf("parked are %v, %v", parked, err)
	}
}

func TestWhatCannotPassEndsAConsumption(t *testing.T) {
	conn := dial(t, shop.address)
	handle := func(context.Context, *comandav1.ConsumedEvent) (client.Answer, error) { return client.Done(), nil }
	for name, c := range map[string]struct {
		c    client.Consumption
		want codes.Code
	}{
		"no such group": {client.Consumption{Group: "nobody", Handle: handle}, codes.NotFound},
		"no name":       {client.Consumption{Group: "?", Handle: handle}, codes.InvalidArgument},
		"no group":      {client.Consumption{Handle: handle}, codes.Unknown},
		"no handler":    {client.Consumption{Group: "nobody"}, codes.Unknown},
	} {
		c.c.Retry = quick(never(t))
		if err := client.Consume(t.Context(), conn, c.c); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Consume(ended, conn, client.Consumption{Group: "nobody", Handle: handle}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}

// desk is a server that a test plays.
type desk struct {
	comandav1.UnimplementedEventServiceServer

	play func(grpc.BidiStreamingServer[comandav1.ConsumeRequest, comandav1.ConsumeResponse]) error
}

func (d *desk) Consume(stream grpc.BidiStreamingServer[comandav1.ConsumeRequest, comandav1.ConsumeResponse]) error {
	return d.play(stream)
}

func gives(delivery, order string, revision uint64) *comandav1.ConsumeResponse {
	return &comandav1.ConsumeResponse{Message: &comandav1.ConsumeResponse_Event{Event: &comandav1.ConsumedEvent{
		Event: &comandav1.Event{OrderId: order, Revision: revision}, DeliveryId: delivery, Attempt: 1,
	}}}
}

// TestWhatIsHandledIsExtendedAndWhatIsRevokedIsLeft plays a server that waits for an
// extension, takes the event back, gives it again before the handler has returned, and
// wants no answer but to the second.
func TestWhatIsHandledIsExtendedAndWhatIsRevokedIsLeft(t *testing.T) {
	var mu sync.Mutex
	var handled []string
	leave := make(chan struct{})
	d := &desk{play: func(stream grpc.BidiStreamingServer[comandav1.ConsumeRequest, comandav1.ConsumeResponse]) error {
		if hello, err := stream.Recv(); err != nil || hello.GetHello().GetGroup() != "g" || hello.GetHello().GetCredits() != 1 {
			t.Errorf("hello is %v, %v", hello, err)
		}
		for _, m := range []*comandav1.ConsumeResponse{
			{Message: &comandav1.ConsumeResponse_Welcome{Welcome: &comandav1.ConsumeWelcome{
				Group: &comandav1.ConsumerGroup{Name: "g", AckWait: durationpb.New(30 * time.Millisecond)},
			}}},
			gives("first", "a", 1),
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		for range 2 {
			if r, err := stream.Recv(); err != nil || !slices.Equal(r.GetExtend().GetDeliveryIds(), []string{"first"}) {
				t.Errorf("it says %v, %v, want an extension", r, err)
			}
		}
		for _, m := range []*comandav1.ConsumeResponse{
			{Message: &comandav1.ConsumeResponse_Revoked{Revoked: &comandav1.ConsumeRevoked{DeliveryId: "first"}}},
			gives("second", "a", 1),
		} {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		for {
			r, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if ack := r.GetAck(); ack != nil {
				if !slices.Equal(ack.GetDeliveryIds(), []string{"second"}) {
					t.Errorf("it acknowledges %v", ack)
				}
				close(leave)
			}
		}
	}}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-leave
		cancel()
	}()
	err := client.Consume(ctx, dial(t, played(t, d)), client.Consumption{
		Group: "g", Retry: quick(never(t)),
		Handle: func(ctx context.Context, e *comandav1.ConsumedEvent) (client.Answer, error) {
			if e.GetDeliveryId() == "first" {
				<-ctx.Done()
			}
			mu.Lock()
			defer mu.Unlock()
			handled = append(handled, e.GetDeliveryId())
			return client.Done(), nil
		},
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(handled, []string{"first", "second"}) {
		t.Errorf("it ends with %v after %v", err, handled)
	}
}
