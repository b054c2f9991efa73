package stream_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore/stream"
)

// following collects what a follow hands over.
func following(t *testing.T, r *stream.Reader, after uint64) <-chan stream.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	seen, done := make(chan stream.Message, 10_000), make(chan error, 1)
	go func() {
		done <- r.Follow(ctx, after, nil, func(ms []stream.Message) error {
			for _, m := range ms {
				seen <- m
			}
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return seen
}

// Who follows is told of what this process stored before the server hands it out, and
// not again when it does.
func TestStoredIsFollowedAtOnce(t *testing.T) {
	js, p := create(t)
	r := stream.NewReader(js, name, discard)
	publish(t, p, msg("t.a", "1", -1))
	seen := following(t, r, 0)
	if m := <-seen; m.Sequence != 1 {
		t.Fatalf("%d is the first", m.Sequence)
	}
	r.Stored(stream.Message{Subject: "t.b", Data: []byte("2"), Sequence: 2}) // the server has it later
	if m := <-seen; m.Sequence != 2 || m.Subject != "t.b" || string(m.Data) != "2" {
		t.Fatalf("%+v is the second", m)
	}
	publish(t, p, msg("t.b", "2", -1))
	publish(t, p, msg("t.a", "3", -1))
	if m := <-seen; m.Sequence != 3 || string(m.Data) != "3" {
		t.Fatalf("%+v is the third", m)
	}
}

// Whatever of a stream was stored by this process, told in whatever order, and
// forgotten since: every message comes once, in order, to whoever follows from anywhere.
func TestStoredByThisProcessAndByOthers(t *testing.T) {
	const messages = 5000 // more than are remembered
	js, p := create(t)
	r := stream.NewReader(js, name, discard)
	early := following(t, r, 0)
	var untold []stream.Message
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range messages {
		m := msg("t.a", string(rune('a'+i%26)), -1)
		m.Header.Del("Nats-Msg-Id")
		ack := publish(t, p, m)
		if i/100%3 != 0 { // the others are another process's
			untold = append(untold, stream.Message{Subject: m.Subject, Header: m.Header, Data: m.Data, Sequence: ack.Sequence})
		}
		if rnd.IntN(4) == 0 {
			rnd.Shuffle(len(untold), func(i, j int) { untold[i], untold[j] = untold[j], untold[i] })
			r.Stored(untold...)
			untold = nil
		}
	}
	r.Stored(untold...)
	for after, seen := range map[uint64]<-chan stream.Message{0: early, 10: following(t, r, 10), messages - 300: following(t, r, messages-300)} {
		var got []uint64
		for range messages - after {
			m := <-seen
			if want := string(rune('a' + (m.Sequence-1)%26)); string(m.Data) != want {
				t.Fatalf("%d is %q, want %q", m.Sequence, m.Data, want)
			}
			got = append(got, m.Sequence)
		}
		if got[0] != after+1 || !slices.IsSorted(got) || len(slices.Compact(got)) != int(messages-after) {
			t.Errorf("after %d come %d messages from %d, not each once and in order", after, len(got), got[0])
		}
	}
}

// What a server lost, or never had, is not told to who begins to follow it; nor is more
// kept than a few megabytes.
func TestStoredIsForgotten(t *testing.T) {
	js, p := create(t)
	r := stream.NewReader(js, name, discard)
	for sequence := uint64(1); sequence <= 5; sequence++ {
		r.Stored(stream.Message{Subject: "t.lost", Sequence: sequence})
	}
	publish(t, p, msg("t.a", "1", -1))
	seen := following(t, r, 0)
	if m := <-seen; m.Subject != "t.a" {
		t.Fatalf("%+v is the first", m)
	}
	large := make([]byte, 64<<10)
	for sequence := uint64(2); sequence <= 500; sequence++ {
		r.Stored(stream.Message{Subject: "t.a", Data: large, Sequence: 502 - sequence}) // 2 comes last
	}
	if most := stream.TailBytes + len(large); r.Remembered() > most || r.Remembered() < most/2 {
		t.Errorf("%d bytes are remembered", r.Remembered())
	}
}

// Who is told of all that is stored before the server hands it out asks the server for no
// more than it asked for at first; and yet what another process stores comes, alone or
// before what this one stores next.
func TestWhoHasTheTailAsksNotForIt(t *testing.T) {
	js, p := create(t)
	asked := map[string]*nats.Subscription{"CREATE": nil, "MSG.NEXT": nil}
	for what := range asked {
		sub, err := js.Conn().SubscribeSync("$JS.API.CONSUMER." + what + ".>")
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			t.Fatal(err)
		}
		asked[what] = sub
	}
	r := stream.NewReader(js, name, discard)
	last := publish(t, p, msg("t.a", "0", -1)).Sequence
	seen := following(t, r, 0)
	await := func(sequence uint64) {
		t.Helper()
		if m := <-seen; m.Sequence != sequence || string(m.Data) != strconv.FormatUint(sequence-1, 10) {
			t.Fatalf("%d: %q comes, want %d", m.Sequence, m.Data, sequence)
		}
	}
	another := func() { last = publish(t, p, msg("t.a", strconv.FormatUint(last, 10), -1)).Sequence }
	tell := func() {
		r.Stored(stream.Message{Subject: "t.a", Data: []byte(strconv.FormatUint(last, 10)), Sequence: last + 1})
	}
	await(last)
	untilNobodyIsAsked := func() {
		for more := true; more; more = isAsked(t, js) {
			for range 500 {
				tell()
				await(last + 1)
				another()
			}
		}
	}
	untilNobodyIsAsked()
	another()
	await(last)
	untilNobodyIsAsked()
	another()
	tell()
	another()
	await(last - 1)
	await(last)
	if sessions, requests := count(t, asked["CREATE"]), count(t, asked["MSG.NEXT"]); requests > 2*sessions {
		t.Errorf("%d sessions asked %d times for messages", sessions, requests)
	}
}

// What is told so late that newer messages have its place is not remembered, whatever
// else is.
func TestStoredTooLate(t *testing.T) {
	const size = 16
	js, _ := create(t)
	r := stream.NewReader(js, name, discard)
	r.Remember(size)
	for sequence := range uint64(size) {
		r.Stored(stream.Message{Data: make([]byte, 3<<10), Sequence: sequence + 1})
	}
	before := r.Remembered()
	r.Stored(stream.Message{Data: make([]byte, 70<<10), Sequence: 10_000 + size}) // more than all may take
	r.Stored(stream.Message{Data: make([]byte, 20<<10), Sequence: 5000})
	if got := r.Remembered(); got > before {
		t.Errorf("%d bytes are remembered, before %d", got, before)
	}
}

// isAsked reports whether someone waits for the server to hand out more of the stream.
func isAsked(t *testing.T, js jetstream.JetStream) bool {
	t.Helper()
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	list := s.ListConsumers(t.Context())
	waiting := 0
	for c := range list.Info() {
		waiting += c.NumWaiting
	}
	if list.Err() != nil {
		t.Fatal(list.Err())
	}
	return waiting > 0
}

// count is how many messages came.
func count(t *testing.T, sub *nats.Subscription) int {
	t.Helper()
	n, _, err := sub.Pending()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
