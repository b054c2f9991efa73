package snapshot_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/natsnode/snapshot"
	"comanda.internal/eventstore/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nothing(int) {}

var at = time.Date(2026, 5, 9, 12, 0, 0, 123, time.UTC)

// written is a snapshot with the messages 2 to n, without the fourth. The bodies
// are large enough, in all, for many chunks.
func written(t *testing.T, n uint64) ([]byte, snapshot.State, []snapshot.Message) {
	t.Helper()
	state := snapshot.State{Messages: n - 2, First: 2, FirstTime: at, Last: n, LastTime: at}
	var text bytes.Buffer
	w, err := snapshot.NewWriter(&text, state, nil)
	must(t, err)
	var messages []snapshot.Message
	for seq := uint64(2); seq <= n; seq++ {
		if seq == 4 {
			continue
		}
		header := "NATS/1.0\r\nA: b\r\n\r\n"
		m := snapshot.Message{
			Subject: fmt.Sprintf("x.%d", seq), Sequence: seq, Time: at.UnixNano() + int64(seq), Header: len(header),
			Body: append([]byte(header), noise(seq, 10_000)...),
		}
		messages = append(messages, m)
		must(t, w.Write(m))
	}
	must(t, w.Close())
	return text.Bytes(), state, messages
}

// noise does not compress.
func noise(seed uint64, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		seed = seed*6364136223846793005 + 1442695040888963407
		out[i] = byte(seed >> 56)
	}
	return out
}

func read(r io.Reader) (messages []snapshot.Message, err error) {
	s, err := snapshot.NewReader(r)
	if err != nil {
		return nil, err
	}
	for {
		m, err := s.Next()
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		m.Body = bytes.Clone(m.Body)
		messages = append(messages, m)
	}
}

// TestThereAndBack has a server make a stream of a snapshot of ours, and reads
// the server's own.
func TestThereAndBack(t *testing.T) {
	text, state, want := written(t, 400)
	conn := natstest.FastNode(t, t.TempDir()).Conn()
	config := []byte(`{"name":"X","subjects":["x.*"],"storage":"file","num_replicas":1,"retention":"limits","discard":"new"}`)
	info := snapshot.Info{Config: config, State: state}
	must(t, snapshot.Put(t.Context(), conn, "X", info, bytes.NewReader(text), nothing))
	js, err := jetstream.New(conn)
	must(t, err)
	made, err := js.Stream(t.Context(), "X")
	must(t, err)
	if got := made.CachedInfo().State; got.Msgs != 398 || got.FirstSeq != 2 || got.LastSeq != 400 {
		t.Errorf("the stream has %d messages from %d to %d", got.Msgs, got.FirstSeq, got.LastSeq)
	}

	var taken bytes.Buffer
	size := 0
	got, err := snapshot.Take(t.Context(), conn, "X", &taken, func(n int) { size += n })
	must(t, err)
	if got.State.Last != 400 || got.State.Messages != 398 || size != taken.Len() {
		t.Errorf("taken %+v, %d bytes, told of %d", got.State, taken.Len(), size)
	}
	messages, err := read(&taken)
	must(t, err)
	if !reflect.DeepEqual(want, messages) { // too much for a diff
		t.Errorf("%d messages were taken, and are not the %d that were written", len(messages), len(want))
	}

	err = snapshot.Put(t.Context(), conn, "X", info, bytes.NewReader(text), nothing)
	if stream.CodeOf(err) == 0 {
		t.Errorf("a restore over a stream: %v, want the server's refusal", err)
	}
	if _, err := snapshot.Take(t.Context(), conn, "NONE", io.Discard, nothing); stream.CodeOf(err) != stream.CodeStreamNotFound {
		t.Errorf("a snapshot of nothing: %v", err)
	}
}

func TestWhatIsCutShortIsRefused(t *testing.T) {
	text, state, _ := written(t, 30)
	for _, size := range []int{0, 5, 100, len(text) / 2, len(text) - 1} {
		if _, err := read(bytes.NewReader(text[:size])); domain.KindOf(err) != domain.Corrupt {
			t.Errorf("%d of %d bytes: %v, want corrupt", size, len(text), err)
		}
	}
	conn := natstest.FastNode(t, t.TempDir()).Conn()
	info := snapshot.Info{Config: []byte(`{"name":"X","subjects":["x.*"],"storage":"file","num_replicas":1}`), State: state}
	err := snapshot.Put(t.Context(), conn, "X", info, bytes.NewReader(text[:len(text)/2]), nothing)
	if err == nil || !strings.Contains(err.Error(), "restore X") {
		t.Errorf("the server takes half a snapshot: %v", err)
	}
}

func TestWhatDoesNotHoldTogetherIsRefused(t *testing.T) {
	body := []byte("x")
	for name, messages := range map[string][]snapshot.Message{
		"a sequence twice":    {{Subject: "x", Sequence: 1, Body: body}, {Subject: "x", Sequence: 1, Body: body}},
		"after the last":      {{Subject: "x", Sequence: 3, Body: body}},
		"more than there are": {{Subject: "x", Sequence: 1, Body: body}, {Subject: "x", Sequence: 2, Body: body}},
	} {
		var text bytes.Buffer
		w, err := snapshot.NewWriter(&text, snapshot.State{Messages: 1, First: 1, Last: 2}, nil)
		must(t, err)
		for _, m := range messages {
			must(t, w.Write(m))
		}
		must(t, w.Close())
		if _, err := read(&text); domain.KindOf(err) != domain.Corrupt {
			t.Errorf("%s: %v, want corrupt", name, err)
		}
	}
}
