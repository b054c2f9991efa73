package grpcapi_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// subscriber is a subscription that checks what every one of them promises.
type subscriber struct {
	t      *testing.T
	stream grpc.ServerStreamingClient[comandav1.SubscribeResponse]

	revisions map[string]uint64 // by order
	token     string            // of the last message
	place     domain.Position   // of the token
	caughtUp  int
	behind    int
	filtered  bool // some revisions are not told of
}

func subscribe(t *testing.T, s *server, req *comandav1.SubscribeRequest) *subscriber {
	t.Helper()
	return subscribeIn(t.Context(), t, s, req)
}

func subscribeIn(ctx context.Context, t *testing.T, s *server, req *comandav1.SubscribeRequest) *subscriber {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	stream, err := s.events.Subscribe(ctx, req)
	must(t, err)
	return &subscriber{t: t, stream: stream, revisions: map[string]uint64{}, filtered: req.GetFilter() != nil}
}

func fromBeginning() *comandav1.SubscribeRequest {
	return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}}}
}

func fromNow() *comandav1.SubscribeRequest {
	return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_Now_{Now: &comandav1.SubscribeRequest_Now{}}}
}

func from(token string) *comandav1.SubscribeRequest {
	return &comandav1.SubscribeRequest{Start: &comandav1.SubscribeRequest_ResumeToken{ResumeToken: token}}
}

// next is the next message, whose token is after that of the one before.
func (s *subscriber) next() *comandav1.SubscribeResponse {
	s.t.Helper()
	m, err := s.stream.Recv()
	must(s.t, err)
	switch m := m.GetMessage().(type) {
	case *comandav1.SubscribeResponse_Event:
		s.took(m.Event)
		return &comandav1.SubscribeResponse{Message: m}
	case *comandav1.SubscribeResponse_Checkpoint:
		s.token = m.Checkpoint.GetResumeToken()
		if at := placeOf(s.t, s.token).String(); at != m.Checkpoint.GetPosition() {
			s.t.Errorf("a checkpoint at %q has the token of %q", m.Checkpoint.GetPosition(), at)
		}
	case *comandav1.SubscribeResponse_CaughtUp:
		s.token = m.CaughtUp.GetResumeToken()
		s.caughtUp++
	case *comandav1.SubscribeResponse_FellBehind:
		s.token = m.FellBehind.GetResumeToken()
		s.behind++
	case *comandav1.SubscribeResponse_Heartbeat:
		s.token = m.Heartbeat.GetResumeToken()
	case *comandav1.SubscribeResponse_Closing:
		s.token = m.Closing.GetResumeToken()
	}
	at := placeOf(s.t, s.token)
	if !at.Covers(s.place) {
		s.t.Errorf("the token went back from %v to %v", s.place, at)
	}
	s.place = at
	return m
}

// took checks what every event promises: the next revision of its order, and a
// token that moved to the event in its partition and nowhere backwards.
func (s *subscriber) took(m *comandav1.SubscribedEvent) {
	s.t.Helper()
	e := m.GetEvent()
	last, known := s.revisions[e.GetOrderId()]
	if known && (s.filtered && e.GetRevision() <= last || !s.filtered && e.GetRevision() != last+1) {
		s.t.Errorf("order %s: revision %d after %d", e.GetOrderId(), e.GetRevision(), last)
	}
	s.revisions[e.GetOrderId()] = e.GetRevision()
	own, err := domain.ParsePosition(m.GetPosition())
	must(s.t, err)
	partition := own.Partitions() - 1
	at := placeOf(s.t, m.GetResumeToken())
	if !at.Covers(s.place) || at.At(partition) != own.At(partition) || at.At(partition) <= s.place.At(partition) {
		s.t.Errorf("the token moved from %v to %v with the event at %v", s.place, at, own)
	}
	s.token, s.place = m.GetResumeToken(), at
}

// placeOf is the position in a resume token, of version 2.
func placeOf(t *testing.T, token string) domain.Position {
	t.Helper()
	buf, err := base64.RawURLEncoding.DecodeString(token)
	must(t, err)
	_, n := binary.Uvarint(buf[1:])
	buf = buf[1+n:]
	for range 2 { // identity and digest
		size, n := binary.Uvarint(buf)
		buf = buf[n+int(size):]
	}
	at, err := domain.ParsePosition(string(buf))
	must(t, err)
	return at
}

// event is the next event; other messages are passed over.
func (s *subscriber) event() *comandav1.SubscribedEvent {
	s.t.Helper()
	for {
		if e := s.next().GetEvent(); e != nil {
			return e
		}
	}
}

// catchUp reads up to the caught-up message and returns the ids of the events before.
func (s *subscriber) catchUp() []string {
	s.t.Helper()
	var ids []string
	for {
		m := s.next()
		if e := m.GetEvent(); e != nil {
			ids = append(ids, e.GetEvent().GetEventId())
		}
		if m.GetCaughtUp() != nil {
			return ids
		}
	}
}

var someKinds = []domain.Kind{domain.KindStarted, domain.KindPending, domain.KindApproved, domain.KindRefunded}

// fill records some facts of n orders, one kind after the other.
func (s *store) fill(n int) map[string]bool {
	s.t.Helper()
	ids := map[string]bool{}
	for _, kind := range someKinds {
		for order := range n {
			ids[string(s.record(order, kind).EventID)] = true
		}
	}
	return ids
}

func same(t *testing.T, want map[string]bool, got []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, id := range got {
		if seen[id] {
			t.Errorf("event %s came twice", id)
		}
		seen[id] = true
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestSubscribeFromTheBeginningAndOnLive(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	want := store.fill(10)
	sub := subscribe(t, s, fromBeginning())
	same(t, want, sub.catchUp())
	for n := range 3 {
		out := store.record(100+n, domain.KindPending)
		got := sub.event()
		if got.GetEvent().GetEventId() != string(out.EventID) || got.GetPosition() != out.Position.String() {
			t.Errorf("live: %v, want %v", got, out)
		}
	}
	if sub.caughtUp != 1 {
		t.Errorf("caught up %d times", sub.caughtUp)
	}
	// The event is told as it is stored.
	stored, err := store.log.Order(t.Context(), identity(1).OrderID())
	must(t, err)
	encoded, err := wire.Encoded(&stored[0])
	must(t, err)
	told := new(comandav1.Event)
	must(t, proto.Unmarshal(encoded, told))
	again := subscribe(t, s, fromBeginning())
	for {
		if got := again.event().GetEvent(); got.GetEventId() == string(stored[0].Event.ID) {
			if diff := cmp.Diff(told, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-stored +told):\n%s", diff)
			}
			break
		}
	}
}

func TestSubscribeFromNow(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	store.fill(3)
	sub := subscribe(t, s, fromNow())
	if ids := sub.catchUp(); len(ids) > 0 {
		t.Errorf("old events: %v", ids)
	}
	out := store.record(100, domain.KindPending)
	if got := sub.event().GetEvent().GetEventId(); got != string(out.EventID) {
		t.Errorf("event = %s, want %s", got, out.EventID)
	}
}

func TestAnEmptyLogIsCaughtUpWith(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	sub := subscribe(t, s, fromBeginning())
	if ids := sub.catchUp(); len(ids) > 0 {
		t.Errorf("events: %v", ids)
	}
	again := subscribe(t, s, from(sub.token))
	if ids := again.catchUp(); len(ids) > 0 {
		t.Errorf("events after the beginning's token: %v", ids)
	}
}

// TestEveryTokenResumesWhereItWasGiven cuts a subscription after each event.
func TestEveryTokenResumesWhereItWasGiven(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	want := store.fill(4)
	whole := subscribe(t, s, fromBeginning())
	var ids, tokens []string
	for range want {
		e := whole.event()
		ids = append(ids, e.GetEvent().GetEventId())
		tokens = append(tokens, e.GetResumeToken())
	}
	same(t, want, ids)
	for n, token := range tokens {
		rest := subscribe(t, s, from(token))
		same(t, want, append(ids[:n+1:n+1], rest.catchUp()...))
	}
}

// TestReconnectingAllTheTimeLosesNothing takes a few events on each connection
// while more are recorded: from a ring that holds them all, and from one that holds a
// single event of each partition, so that most come from the log.
func TestReconnectingAllTheTimeLosesNothing(t *testing.T) {
	for name, bytes := range map[string]int{"a wide ring": 0, "a narrow ring": 1} {
		t.Run(name, func(t *testing.T) { reconnect(t, grpcapi.Config{RingBytes: bytes}) })
	}
}

func reconnect(t *testing.T, cfg grpcapi.Config) {
	t.Helper()
	store := newStore(t)
	s := serve(t, cfg, store.deps())
	recorded := make(chan map[string]bool, 1)
	go func() { recorded <- store.fill(10) }()
	sub := subscribe(t, s, fromBeginning())
	var ids []string
	for n := 1; len(ids) < 10*len(someKinds); n++ {
		for range min(n%5, 10*len(someKinds)-len(ids)) {
			ids = append(ids, sub.event().GetEvent().GetEventId())
		}
		if sub.token == "" {
			continue
		}
		next := subscribe(t, s, from(sub.token))
		next.revisions, next.token, next.place = sub.revisions, sub.token, sub.place // the promise holds across connections
		sub = next
	}
	same(t, <-recorded, ids)
}

func TestTokensThatAreRefused(t *testing.T) {
	store, other := newStore(t), newStore(t)
	s, elsewhere := serve(t, grpcapi.Config{}, store.deps()), serve(t, grpcapi.Config{}, other.deps())
	store.fill(1)
	sub := subscribe(t, s, fromBeginning())
	sub.catchUp()
	mine, err := base64.RawURLEncoding.DecodeString(sub.token)
	must(t, err)
	changed := func(change func([]byte) []byte) string {
		return base64.RawURLEncoding.EncodeToString(change(append([]byte(nil), mine...)))
	}
	position := len(mine) - len(headOf(t, store).String())
	for name, c := range map[string]struct {
		on   *server
		req  *comandav1.SubscribeRequest
		code codes.Code
		says string
	}{
		"no start":         {s, &comandav1.SubscribeRequest{}, codes.InvalidArgument, "start"},
		"an empty token":   {s, from(""), codes.InvalidArgument, "resume_token"},
		"no token":         {s, from("!!"), codes.InvalidArgument, "resume_token"},
		"another version":  {s, from(changed(func(b []byte) []byte { b[0] = 9; return b })), codes.InvalidArgument, "resume_token"},
		"cut in the log":   {s, from(changed(func(b []byte) []byte { return b[:8] })), codes.InvalidArgument, "resume_token"},
		"cut after one":    {s, from(changed(func(b []byte) []byte { return b[:1] })), codes.InvalidArgument, "resume_token"},
		"a cut position":   {s, from(changed(func(b []byte) []byte { return b[:len(b)-1] })), codes.InvalidArgument, "resume_token"},
		"another epoch":    {s, from(changed(func(b []byte) []byte { b[1]++; return b })), codes.FailedPrecondition, "EPOCH"},
		"another log":      {elsewhere, from(sub.token), codes.FailedPrecondition, "LOG"},
		"ahead of the log": {s, from(changed(func(b []byte) []byte { return append(b[:position], domain.Position{}.With(0, 999).String()...) })), codes.FailedPrecondition, "LOG"},
	} {
		stream, err := c.on.events.Subscribe(t.Context(), c.req)
		must(t, err)
		_, err = stream.Recv()
		st := status.Convert(err)
		if st.Code() != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
			continue
		}
		if got := subjectOf(st); got != c.says {
			t.Errorf("%s: detail about %q, want %q", name, got, c.says)
		}
	}
}

func headOf(t *testing.T, s *store) domain.Position {
	t.Helper()
	head, err := s.log.Head(t.Context())
	must(t, err)
	return head
}

// subjectOf is the violated field, or the kind of the precondition.
func subjectOf(st *status.Status) string {
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.BadRequest:
			return d.GetFieldViolations()[0].GetField()
		case *errdetails.PreconditionFailure:
			return d.GetViolations()[0].GetType()
		}
	}
	return ""
}

func TestSilenceIsBrokenByHeartbeats(t *testing.T) {
	store := newStore(t)
	at := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	deps := store.deps()
	deps.Clock = func() time.Time { return at }
	s := serve(t, grpcapi.Config{Heartbeat: 10 * time.Millisecond}, deps)
	store.fill(1)
	sub := subscribe(t, s, fromBeginning())
	sub.catchUp()
	token := sub.token
	for range 3 {
		beat := sub.next().GetHeartbeat()
		if beat == nil || !beat.GetTime().AsTime().Equal(at) || beat.GetResumeToken() != token {
			t.Fatalf("message = %v, want a heartbeat with the time and the token", beat)
		}
	}
}

func TestAServerThatStopsSaysWhereToGoOn(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	want := store.fill(2)
	sub := subscribe(t, s, fromBeginning())
	ids := sub.catchUp()
	s.stop()
	if reason := sub.next().GetClosing().GetReason(); reason != "shutting_down" {
		t.Errorf("reason = %q", reason)
	}
	if _, err := sub.stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream's end = %v, want UNAVAILABLE", err)
	}
	out := store.record(100, domain.KindPending)
	want[string(out.EventID)] = true
	next := subscribe(t, serve(t, grpcapi.Config{}, store.deps()), from(sub.token))
	same(t, want, append(ids, next.catchUp()...))
}

// breaking is a log that one day cannot be followed any more.
type breaking struct {
	grpcapi.Log

	broken chan struct{}
}

func (b breaking) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-b.broken:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := b.Log.Follow(ctx, partition, after, handle)
	cancel()
	<-watched
	select {
	case <-b.broken:
		return domain.Errorf(domain.Corrupt, "sequence 7 follows 5")
	default:
		return err
	}
}

func TestALogThatFailsEndsTheStreamWithItsToken(t *testing.T) {
	store := newStore(t)
	deps := store.deps()
	log := breaking{Log: store.log, broken: make(chan struct{})}
	deps.Log = log
	s := serve(t, grpcapi.Config{}, deps)
	store.fill(1)
	sub := subscribe(t, s, fromBeginning())
	sub.catchUp()
	token := sub.token
	close(log.broken)
	closing := sub.next().GetClosing()
	if closing.GetReason() != "log_unavailable" || closing.GetResumeToken() != token {
		t.Errorf("closing = %v", closing)
	}
	if _, err := sub.stream.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("the stream's end = %v, want the log's error", err)
	}
}

func TestAClientThatGoesEndsItsFollowers(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Views: readyViews(), Log: store.log, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := s.events.Subscribe(ctx, fromBeginning())
	must(t, err)
	if _, err := stream.Header(); err != nil { // comes before any event
		t.Fatal(err)
	}
	cancel()
	s.stop() // waits for the handler; goleak looks for what is left
}
