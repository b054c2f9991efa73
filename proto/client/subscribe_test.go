package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// dial connects, and again as soon as it can.
func dial(t *testing.T, target string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	conn, err := client.Dial(target, "", nil, append(more, grpc.WithConnectParams(grpc.ConnectParams{
		Backoff: backoff.Config{BaseDelay: time.Millisecond, Multiplier: 1, MaxDelay: time.Millisecond}, MinConnectTimeout: 10 * time.Second,
	}))...)
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	return conn
}

// quick waits next to nothing, and calls waiting before.
func quick(waiting func(error)) client.Retry {
	return client.Retry{Min: time.Millisecond, Max: 2 * time.Millisecond, Waiting: func(err error, _ time.Duration) { waiting(err) }}
}

func never(t *testing.T) func(error) {
	t.Helper()
	return func(err error) { t.Errorf("it reconnects after %v", err) }
}

func of(tenant string) *comandav1.SubscribeRequest {
	return &comandav1.SubscribeRequest{
		Start:  &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
		Filter: &comandav1.EventFilter{Tenants: []string{tenant}},
	}
}

var errEnough = errors.New("enough")

// fill records three facts of each of n orders of a merchant.
func fill(t *testing.T, tenant string, n int) (ids []string) {
	t.Helper()
	for _, kind := range []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded} {
		for i := range n {
			id, err := record(t.Context(), tenant, fmt.Sprint(i), kind)
			must(t, err)
			ids = append(ids, id)
		}
	}
	return ids
}

// collect gathers ids up to want of them.
func collect(into *[]string, want int) func(context.Context, *comandav1.SubscribedEvent) error {
	return func(_ context.Context, e *comandav1.SubscribedEvent) error {
		*into = append(*into, e.GetEvent().GetEventId())
		if len(*into) == want {
			return errEnough
		}
		return nil
	}
}

// same compares as sets that have everything once.
func same(t *testing.T, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// TestNothingIsSkippedOrRepeatedWhereverConnectionsBreak ends every connection after a
// number of bytes that is different each time, in the middle of whatever is sent then.
func TestNothingIsSkippedOrRepeatedWhereverConnectionsBreak(t *testing.T) {
	tenant := fresh("cuts")
	want := fill(t, tenant, 40)
	proxy := natstest.NewProxy(t, shop.address)
	cuts, last := 0, ""
	limit := func(error) {
		cuts++
		proxy.LimitAnswers(1 + cuts*131%4099) // of a prime: each rest comes up
	}
	limit(nil)
	var got []string
	err := client.Subscribe(t.Context(), dial(t, proxy.Addr()), client.Subscription{
		Request: of(tenant), Handle: collect(&got, len(want)), Retry: quick(limit),
		Store: func(_ context.Context, token string) error {
			if token == last {
				t.Errorf("the token %s was stored before", token)
			}
			last = token
			return nil
		},
	})
	if !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	same(t, want, got)
	if cuts < 20 {
		t.Errorf("%d cuts", cuts)
	}
	// The last event was not acted on, says its handler: it comes again to who goes on
	// with the token that was stored.
	var rest []string
	err = client.Subscribe(t.Context(), dial(t, shop.address), client.Subscription{
		Request: of(tenant), Token: last, Handle: collect(&rest, 1), Retry: quick(never(t)),
	})
	if !errors.Is(err, errEnough) || !slices.Equal(rest, got[len(got)-1:]) {
		t.Errorf("it goes on with %v and ends with %v, want %v", rest, err, got[len(got)-1:])
	}
}

// TestItOutlivesTheServer stops the server and starts another at the same address.
func TestItOutlivesTheServer(t *testing.T) {
	address, stop, err := serve(grpcapi.Config{}, "127.0.0.1:0")
	must(t, err)
	stop = sync.OnceValue(stop)
	t.Cleanup(func() { must(t, stop()) })
	tenant := fresh("restarts")
	want := fill(t, tenant, 3)
	var got, reasons []string
	restarted := false
	err = client.Subscribe(t.Context(), dial(t, address), client.Subscription{
		Request: of(tenant), Handle: collect(&got, len(want)+1),
		Notice: func(m *comandav1.SubscribeResponse) {
			if m.GetClosing() != nil {
				reasons = append(reasons, m.GetClosing().GetReason())
			}
			if m.GetCaughtUp() != nil && !restarted {
				restarted = true
				go func() { _ = stop() }() // which waits for this stream
			}
		},
		Retry: quick(func(error) {
			if len(want) != len(got) || len(reasons) != 1 {
				return // it did not connect
			}
			must(t, stop()) // the address is free then
			_, again, err := serve(grpcapi.Config{}, address)
			must(t, err)
			t.Cleanup(func() { must(t, again()) })
			id, err := record(t.Context(), tenant, "new", domain.KindPending)
			must(t, err)
			want = append(want, id)
		}),
	})
	if !errors.Is(err, errEnough) || !slices.Equal(reasons, []string{"shutting_down"}) {
		t.Errorf("it ends with %v after %v", err, reasons)
	}
	same(t, want, got)
}

// TestASilentServerIsLeft holds back what the server says, so that the connection looks alive.
func TestASilentServerIsLeft(t *testing.T) {
	tenant := fresh("silence")
	want := fill(t, tenant, 1)
	proxy := natstest.NewProxy(t, shop.address)
	proxy.HoldAnswers()
	var got []string
	silent := 0
	err := client.Subscribe(t.Context(), dial(t, proxy.Addr()), client.Subscription{
		Request: of(tenant), Handle: collect(&got, len(want)), Silence: 200 * time.Millisecond,
		Retry: quick(func(error) {
			silent++
			proxy.ReleaseAnswers()
		}),
	})
	if !errors.Is(err, errEnough) || silent == 0 {
		t.Errorf("it ends with %v after %d silences", err, silent)
	}
	same(t, want, got)
}

func TestWhatCannotPassEndsIt(t *testing.T) {
	conn := dial(t, shop.address)
	tenant, token := fresh("ends"), ""
	stored := client.Subscribe(t.Context(), conn, client.Subscription{
		Request: of(tenant), Handle: collect(new([]string), 0), Retry: quick(never(t)),
		Store: func(_ context.Context, kept string) error { token = kept; return errEnough },
	})
	if !errors.Is(stored, errEnough) || token == "" {
		t.Fatalf("who stores the token %q ends it with %v", token, stored)
	}
	for name, c := range map[string]struct {
		s    client.Subscription
		want codes.Code
	}{
		"no start":           {client.Subscription{Request: &comandav1.SubscribeRequest{}}, codes.InvalidArgument},
		"no token":           {client.Subscription{Request: of(tenant), Token: "?"}, codes.InvalidArgument},
		"the token of other": {client.Subscription{Request: of("others"), Token: token}, codes.FailedPrecondition},
	} {
		c.s.Handle, c.s.Retry = collect(new([]string), 0), quick(never(t))
		if err := client.Subscribe(t.Context(), conn, c.s); status.Code(err) != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if err := client.Subscribe(t.Context(), conn, client.Subscription{Request: of(tenant)}); err == nil {
		t.Error("nobody handles the events")
	}
	// A handler's error is final, whatever it looks like; so is the end of its context.
	fill(t, tenant, 1)
	others := status.Error(codes.Unavailable, "of another server")
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		want, handled error
	}{{others, others}, {context.Canceled, nil}} {
		err := client.Subscribe(ctx, conn, client.Subscription{
			Request: of(tenant), Retry: quick(never(t)),
			Handle: func(context.Context, *comandav1.SubscribedEvent) error {
				if c.handled == nil {
					cancel()
				}
				return c.handled
			},
		})
		if !errors.Is(err, c.want) {
			t.Errorf("it ends with %v, want %v", err, c.want)
		}
	}
	cancel()
}

// liar is a server that breaks its promises: each stream sends what is next.
type liar struct {
	comandav1.UnimplementedEventServiceServer

	streams chan []*comandav1.SubscribeResponse
}

func (l *liar) Subscribe(_ *comandav1.SubscribeRequest, stream grpc.ServerStreamingServer[comandav1.SubscribeResponse]) error {
	select {
	case messages := <-l.streams:
		for _, m := range messages {
			if err := stream.Send(m); err != nil {
				return err
			}
		}
		return nil // without a reason
	default:
		return status.Error(codes.ResourceExhausted, "no more lies") // nor advice
	}
}

// serve runs l until the test ends.
func (l *liar) serve(t *testing.T) (address string) {
	t.Helper()
	return played(t, l)
}

// played is where a server that a test plays is, until the test ends.
func played(t *testing.T, events comandav1.EventServiceServer) (address string) {
	t.Helper()
	server := grpc.NewServer()
	comandav1.RegisterEventServiceServer(server, events)
	var listen net.ListenConfig
	listener, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		must(t, <-ended)
	})
	return listener.Addr().String()
}

// told is an event of an order at a place.
func told(order string, revision uint64, partition int, sequence uint64) *comandav1.SubscribeResponse {
	at := domain.Position{}.With(partition, sequence).String()
	return &comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Event{Event: &comandav1.SubscribedEvent{
		Event: &comandav1.Event{EventId: fmt.Sprint(order, "-", revision), OrderId: order, Revision: revision}, Position: at, ResumeToken: at,
	}}}
}

func checkpoint(sequences ...uint64) *comandav1.SubscribeResponse {
	at := domain.PositionOf(sequences).String()
	return &comandav1.SubscribeResponse{Message: &comandav1.SubscribeResponse_Checkpoint{Checkpoint: &comandav1.Checkpoint{Position: at, ResumeToken: at}}}
}

func TestWhatIsOutOfOrderIsNotHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		streams [][]*comandav1.SubscribeResponse
		handled int
		right   bool
	}{
		"in order": {[][]*comandav1.SubscribeResponse{
			{told("a", 1, 0, 1), told("b", 1, 1, 7), checkpoint(3, 7)}, {told("a", 3, 0, 4)}, {told("b", 2, 1, 8)},
		}, 4, true},
		"an event again":            {[][]*comandav1.SubscribeResponse{{told("a", 1, 0, 1), told("a", 1, 0, 1)}}, 1, false},
		"again after a reconnect":   {[][]*comandav1.SubscribeResponse{{told("a", 1, 0, 1)}, {told("a", 1, 0, 1)}}, 1, false},
		"a place before":            {[][]*comandav1.SubscribeResponse{{told("a", 1, 0, 5), told("b", 1, 1, 1), told("c", 1, 0, 4)}}, 2, false},
		"up to a checkpoint":        {[][]*comandav1.SubscribeResponse{{checkpoint(5), told("a", 1, 0, 5)}}, 0, false},
		"a checkpoint that is back": {[][]*comandav1.SubscribeResponse{{told("a", 1, 0, 5), told("b", 1, 1, 1), checkpoint(5)}}, 2, false},
		"a revision before":         {[][]*comandav1.SubscribeResponse{{told("a", 2, 0, 5), told("a", 1, 0, 6)}}, 1, false},
		"a revision again":          {[][]*comandav1.SubscribeResponse{{told("a", 2, 0, 5)}, {told("a", 2, 0, 6)}}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := &liar{streams: make(chan []*comandav1.SubscribeResponse, len(c.streams))}
			for _, messages := range c.streams {
				l.streams <- messages
			}
			var got []string
			err := client.Subscribe(t.Context(), dial(t, l.serve(t)), client.Subscription{
				Request: of("lies"), Handle: collect(&got, 100), Retry: quick(func(err error) {
					if !errors.Is(err, io.EOF) {
						t.Errorf("it reconnects after %v", err)
					}
				}),
			})
			if right := status.Code(err) == codes.ResourceExhausted; right != c.right || !right && !errors.Is(err, client.ErrOutOfOrder) || len(got) != c.handled {
				t.Errorf("after %v it ends with %v", got, err)
			}
		})
	}
}
