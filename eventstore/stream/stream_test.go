package stream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "TEST"

var discard = slog.New(slog.DiscardHandler)

func config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: name, Subjects: []string{"t.>"}, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew,
		Replicas: 1, Duplicates: 2 * time.Minute, AllowDirect: true, AllowAtomicPublish: true,
		DenyDelete: true, DenyPurge: true, Metadata: map[string]string{"owner": "test"},
	}
}

func newJS(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// create makes the test's stream on a server of its own.
func create(t *testing.T) (jetstream.JetStream, *stream.Publisher) {
	t.Helper()
	return createOn(t, natstest.FastNode(t, t.TempDir()).Conn())
}

func createOn(t *testing.T, conn *nats.Conn) (jetstream.JetStream, *stream.Publisher) {
	t.Helper()
	js := newJS(t, conn)
	if _, created, err := stream.Ensure(t.Context(), js, config(), discard); err != nil || !created {
		t.Fatalf("create: %v, %v", created, err)
	}
	p, err := stream.NewPublisher(conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return js, p
}

func msg(subject, id string, expected int) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = []byte(id)
	m.Header.Set("Nats-Msg-Id", id)
	if expected >= 0 {
		m.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.Itoa(expected))
	}
	return m
}

func publish(t *testing.T, p *stream.Publisher, m *nats.Msg) stream.Ack {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ack, err := p.Publish(ctx, m)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

func TestPublishAnswers(t *testing.T) {
	_, p := create(t)
	if ack := publish(t, p, msg("t.a", "1", 0)); ack != (stream.Ack{Stream: name, Sequence: 1}) {
		t.Errorf("stored: %+v", ack)
	}
	if ack := publish(t, p, msg("t.a", "1", -1)); ack != (stream.Ack{Stream: name, Sequence: 1, Duplicate: true}) {
		t.Errorf("the same id again: %+v", ack)
	}
	// One server asks for the expectation before the id; replicas ask the other way round.
	if _, err := p.Publish(t.Context(), msg("t.a", "1", 0)); stream.CodeOf(err) != stream.CodeWrongLast {
		t.Errorf("the same message again: %v", err)
	}
	_, err := p.Publish(t.Context(), msg("t.a", "2", 0))
	if stream.CodeOf(err) != stream.CodeWrongLast {
		t.Errorf("wrong expectation: %v", err)
	}
	if _, err := p.Publish(t.Context(), msg("nobody.listens", "3", -1)); !errors.Is(err, stream.ErrNoAnswer) || !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("no stream: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Publish(ctx, msg("t.b", "4", 0)); err != nil && !errors.Is(err, stream.ErrNoAnswer) {
		t.Errorf("the caller went away: %v", err)
	}
}

func TestBatchIsAllOrNothing(t *testing.T) {
	js, p := create(t)
	publish(t, p, msg("t.taken", "taken", 0))
	batch := func(n int, more ...*nats.Msg) []*nats.Msg {
		var ms []*nats.Msg
		for i := range n {
			ms = append(ms, msg(fmt.Sprintf("t.%d", i), fmt.Sprintf("id%d", i), 0))
		}
		return append(ms, more...)
	}
	if _, err := p.PublishBatch(t.Context(), batch(3, msg("t.taken", "late", 0))); stream.CodeOf(err) != stream.CodeWrongLast {
		t.Errorf("a conflict in the batch: %v, want %d", err, stream.CodeWrongLast)
	}
	if _, err := p.PublishBatch(t.Context(), batch(3, msg("t.other", "taken", 0))); stream.CodeOf(err) != stream.CodeBatchDuplicate {
		t.Errorf("a duplicate in the batch: %v, want %d", err, stream.CodeBatchDuplicate)
	}
	if info, err := stream.Info(t.Context(), js, name); err != nil || info.State.LastSeq != 1 {
		t.Fatalf("a rejected batch stored something: %d (%v)", info.State.LastSeq, err)
	}
	ack, err := p.PublishBatch(t.Context(), batch(1000))
	if err != nil || ack.Sequence != 1001 {
		t.Fatalf("batch of 1000: %+v, %v", ack, err)
	}
	r := stream.NewReader(js, name, discard)
	for i, seq := range []uint64{2, 500, 1001} {
		m, err := r.At(t.Context(), seq)
		if err != nil || string(m.Data) != fmt.Sprintf("id%d", seq-2) {
			t.Errorf("%d: sequence %d holds %q, %v", i, seq, m.Data, err)
		}
	}
}

// TestReplicasAnswerConflicts races writers for one subject of a replicated
// stream: one is stored, and every other hears one of the two conflicts. It races
// until both were heard; a round alone hears the second almost always.
func TestReplicasAnswerConflicts(t *testing.T) {
	js := newJS(t, natstest.Open(t, natstest.Cluster(t)[0]).Conn())
	cfg := config()
	cfg.Replicas = 3
	if _, _, err := stream.Ensure(t.Context(), js, cfg, discard); err != nil {
		t.Fatal(err)
	}
	p, err := stream.NewPublisher(js.Conn())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for { // the servers hear of a new stream one after the other
		if _, err := p.Publish(ctx, msg("t.first", "first", -1)); err == nil {
			break
		} else if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	heard := make(map[stream.Code]int)
	for round := 0; heard[stream.CodeWrongLastInFlight] == 0 || heard[stream.CodeWrongLast] == 0; round++ {
		if ctx.Err() != nil {
			t.Fatalf("heard %v in %d rounds: want both conflicts", heard, round)
		}
		subject := fmt.Sprintf("t.%d", round)
		const writers = 16
		errs := make(chan error, writers)
		for w := range writers {
			go func() {
				_, err := p.Publish(ctx, msg(subject, fmt.Sprintf("%d by %d", round, w), 0))
				errs <- err
			}()
		}
		stored := 0
		for range writers {
			if err := <-errs; err != nil {
				heard[stream.CodeOf(err)]++
			} else {
				stored++
			}
		}
		if stored != 1 {
			t.Fatalf("round %d: %d writers were stored, want 1 (heard %v)", round, stored, heard)
		}
		if _, err := p.Publish(ctx, msg(subject, fmt.Sprintf("%d late", round), 0)); stream.CodeOf(err) == 0 {
			t.Fatalf("a late writer: %v", err)
		} else {
			heard[stream.CodeOf(err)]++
		}
	}
	delete(heard, stream.CodeWrongLast)
	delete(heard, stream.CodeWrongLastInFlight)
	if len(heard) > 0 {
		t.Errorf("other answers: %v", heard)
	}
}

func TestEnsureRaisesWhatIsSafe(t *testing.T) {
	node := natstest.FastNode(t, t.TempDir())
	js := newJS(t, node.Conn())
	weak := config()
	weak.AllowDirect, weak.AllowAtomicPublish, weak.DenyDelete, weak.DenyPurge, weak.Duplicates = false, false, false, false, time.Second
	if _, err := js.CreateStream(t.Context(), weak); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	info, created, err := stream.Ensure(t.Context(), js, config(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || created {
		t.Fatalf("ensure: %v, %v", created, err)
	}
	c := info.Config
	if !c.AllowDirect || !c.AllowAtomicPublish || !c.DenyDelete || !c.DenyPurge || c.Duplicates != 2*time.Minute {
		t.Errorf("not raised: %+v", c)
	}
	for _, want := range []string{"duplicate_window", "deny_delete", "deny_purge", "allow_direct", "allow_atomic"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell of %s: %s", want, log.String())
		}
	}
	log.Reset()
	if _, _, err := stream.Ensure(t.Context(), js, config(), slog.New(slog.NewTextHandler(&log, nil))); err != nil || log.Len() > 0 {
		t.Errorf("again, with nothing to raise: %v, %s", err, log.String())
	}
}

func TestEnsureRefusesDrift(t *testing.T) {
	js, _ := create(t)
	for setting, drift := range map[string]func(*jetstream.StreamConfig){
		"max_age":              func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"max_msgs":             func(c *jetstream.StreamConfig) { c.MaxMsgs = 5 },
		"max_bytes":            func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"max_msgs_per_subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 },
		"max_msg_size":         func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10 },
		"subjects":             func(c *jetstream.StreamConfig) { c.Subjects = append(c.Subjects, "u.>") },
		"discard":              func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"retention":            func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"allow_msg_ttl":        func(c *jetstream.StreamConfig) { c.AllowMsgTTL = true },
		"no_ack":               func(c *jetstream.StreamConfig) { c.NoAck = true },
		"metadata":             func(c *jetstream.StreamConfig) { c.Metadata = map[string]string{"owner": "else"} },
		"subject_transform": func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "t.a", Destination: "t.b"}
		},
	} {
		want := config()
		want.Name, want.Subjects = "D"+strings.ToUpper(setting), []string{setting + ".>"}
		have := want
		drift(&have)
		if _, err := js.CreateStream(t.Context(), have); err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		_, _, err := stream.Ensure(t.Context(), js, want, discard)
		if domain.KindOf(err) != domain.Refused || !strings.Contains(err.Error(), setting) {
			t.Errorf("%s: %v, want refused by name", setting, err)
		}
		after, err := stream.Info(t.Context(), js, want.Name)
		if err != nil || cmp.Diff(have.MaxAge, after.Config.MaxAge) != "" || after.Config.DenyPurge != have.DenyPurge {
			t.Errorf("%s: a refused stream was changed", setting)
		}
	}
}

func TestReadThroughTheLeader(t *testing.T) {
	js, p := create(t)
	const many = 1500 // more than one direct batch
	for i := range many {
		publish(t, p, msg("t.long", strconv.Itoa(i), -1))
		if i%500 == 0 {
			publish(t, p, msg("t.other", "x"+strconv.Itoa(i), -1))
		}
	}
	r := stream.NewReader(js, name, discard)
	var got []string
	var last uint64
	err := r.Subject(t.Context(), "t.long", func(m stream.Message) error {
		if m.Subject != "t.long" || m.Sequence <= last || m.Header.Get("Nats-Msg-Id") != string(m.Data) {
			t.Fatalf("message %+v after %d", m, last)
		}
		last, got = m.Sequence, append(got, string(m.Data))
		return nil
	})
	if err != nil || len(got) != many || got[0] != "0" || got[many-1] != strconv.Itoa(many-1) {
		t.Fatalf("read %d messages: %v", len(got), err)
	}
	if err := r.Subject(t.Context(), "t.none", func(stream.Message) error { return errors.New("called") }); err != nil {
		t.Errorf("no messages: %v", err)
	}
	if m, err := r.Last(t.Context(), "t.other"); err != nil || string(m.Data) != "x1000" {
		t.Errorf("last: %q, %v", m.Data, err)
	}
	if _, err := r.Last(t.Context(), "t.none"); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("last of none: %v", err)
	}
	if _, err := r.At(t.Context(), 1<<40); !errors.Is(err, stream.ErrNotFound) {
		t.Errorf("at a sequence to come: %v", err)
	}
}

// collect follows into a channel of sequences until ctx ends.
func collect(t *testing.T, r *stream.Reader, after uint64) (sequences <-chan uint64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, done := make(chan uint64, 10_000), make(chan error, 1)
	go func() {
		done <- r.Follow(ctx, after, nil, func(ms []stream.Message) error {
			for _, m := range ms {
				out <- m.Sequence
			}
			return nil
		})
	}()
	return out, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follow: %v", err)
		}
	}
}

func wantSequences(t *testing.T, got <-chan uint64, from, to uint64) {
	t.Helper()
	for want := from; want <= to; want++ {
		select {
		case seq := <-got:
			if seq != want {
				t.Fatalf("sequence %d, want %d", seq, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("no sequence %d", want)
		}
	}
}

func TestFollowCatchesUpAndStaysLive(t *testing.T) {
	js, p := create(t)
	const stored = 5000 // several pulls
	for i := 0; i < stored; i += 1000 {
		var ms []*nats.Msg
		for j := range 1000 {
			ms = append(ms, msg("t.a", strconv.Itoa(i+j), -1))
		}
		if _, err := p.PublishBatch(t.Context(), ms); err != nil {
			t.Fatal(err)
		}
	}
	got, stop := collect(t, stream.NewReader(js, name, discard), 10)
	defer stop()
	wantSequences(t, got, 11, stored)
	for i := uint64(1); i <= 100; i++ {
		publish(t, p, msg("t.a", "live"+strconv.Itoa(int(i)), -1))
		wantSequences(t, got, stored+i, stored+i)
	}
}

func TestFollowSurvivesLostConnections(t *testing.T) {
	dir := t.TempDir()
	node := natstest.FastNode(t, dir)
	_, p := createOn(t, node.Conn())
	proxy := natstest.NewProxy(t, node.Addr())
	client := natstest.Client(t, proxy.Addr(), dir)
	got, stop := collect(t, stream.NewReader(newJS(t, client.Conn()), name, discard), 0)
	defer stop()
	publish(t, p, msg("t.a", "before", -1))
	wantSequences(t, got, 1, 1)
	for i := range uint64(3) {
		proxy.Cut()
		publish(t, p, msg("t.a", "meanwhile"+strconv.Itoa(int(i)), -1))
		proxy.Heal()
		wantSequences(t, got, i+2, i+2)
	}
}

func TestFollowSurvivesADeletedConsumer(t *testing.T) {
	js, p := create(t)
	got, stop := collect(t, stream.NewReader(js, name, discard), 0)
	defer stop()
	publish(t, p, msg("t.a", "before", -1))
	wantSequences(t, got, 1, 1)
	s, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for consumer := range s.ConsumerNames(t.Context()).Name() {
		if err := s.DeleteConsumer(t.Context(), consumer); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, p, msg("t.a", "after", -1))
	wantSequences(t, got, 2, 2)
}

func TestFollowReturnsTheHandlersError(t *testing.T) {
	js, p := create(t)
	publish(t, p, msg("t.a", "1", -1))
	want := errors.New("enough")
	err := stream.NewReader(js, name, discard).Follow(t.Context(), 0, nil, func([]stream.Message) error { return want })
	if !errors.Is(err, want) {
		t.Errorf("follow: %v, want the handler's error", err)
	}
}

func TestScanEnds(t *testing.T) {
	js, p := create(t)
	r := stream.NewReader(js, name, discard)
	scanAfter := func(after, upTo uint64, subjects ...string) []uint64 {
		t.Helper()
		got := []uint64{}
		err := r.Scan(t.Context(), after, upTo, subjects, func(ms []stream.Message) error {
			for _, m := range ms {
				got = append(got, m.Sequence)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	scan := func(upTo uint64, subjects ...string) []uint64 {
		t.Helper()
		return scanAfter(0, upTo, subjects...)
	}
	check := func(name string, want, got []uint64) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check("an empty stream", []uint64{}, scan(0))
	for i, subject := range []string{"t.a", "t.b", "t.a", "t.c", "t.a"} {
		publish(t, p, msg(subject, strconv.Itoa(i), -1))
	}
	check("everything", []uint64{1, 2, 3, 4, 5}, scan(5))
	check("up to a sequence", []uint64{1, 2, 3}, scan(3))
	check("beyond the end", []uint64{1, 2, 3, 4, 5}, scan(99))
	check("some subjects", []uint64{1, 3, 4, 5}, scan(5, "t.a", "t.c"))
	check("some subjects, up to a sequence", []uint64{1, 3}, scan(4, "t.a"))
	check("after a sequence", []uint64{3, 4}, scanAfter(2, 4))
	check("after a sequence, of a subject", []uint64{5}, scanAfter(3, 9, "t.a"))
	check("after the end", []uint64{}, scanAfter(5, 5))
	check("no such subject", []uint64{}, scan(5, "t.z"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Scan(ctx, 0, 5, nil, func([]stream.Message) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller went away: %v", err)
	}
}
