package blocks_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode/blocks"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "THINGS"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kept is a stream that a server keeps in dir.
type kept struct {
	js   jetstream.JetStream
	dir  string
	want []stream.Message
}

func keep(t *testing.T) *kept {
	t.Helper()
	node := natstest.FastNode(t, t.TempDir())
	js, err := jetstream.New(node.Conn())
	must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{"things.>"}})
	must(t, err)
	return &kept{js: js, dir: node.Files()(name)}
}

// plain is the header of a message that tells nothing by it.
var plain = nats.Header{"Kind": []string{"plain"}}

// publish stores a message with this many bytes.
func (k *kept) publish(t *testing.T, size int, header nats.Header) {
	t.Helper()
	n := uint64(len(k.want) + 1)
	m := &nats.Msg{Subject: fmt.Sprintf("things.%d", n), Header: header, Data: bytes.Repeat([]byte{byte(n)}, size)}
	ack, err := k.js.PublishMsg(t.Context(), m)
	if err != nil || ack.Sequence != n {
		t.Fatalf("%+v, %v", ack, err)
	}
	var raw []byte
	for key := range header {
		raw = append(append(append(raw, key...), ": "...), header.Get(key)+"\r\n\r\n"...)
	}
	if raw != nil {
		raw = append([]byte("NATS/1.0\r\n"), raw...)
	}
	k.want = append(k.want, stream.Message{Subject: m.Subject, RawHeader: raw, Data: m.Data, Sequence: n})
}

func room(size int) []byte { return make([]byte, size) }

// read reads the stream to where that ends, and says why it does.
func read(dir string, after uint64) (got []stream.Message, err error) {
	r, err := blocks.Open(dir, name, after)
	if err != nil {
		return nil, err
	}
	for err == nil {
		var m stream.Message
		if m, err = r.Next(room); err == nil {
			got = append(got, m)
		}
	}
	return got, errors.Join(err, r.Close())
}

func diff(want, got []stream.Message) string {
	if len(want) == 0 && len(got) == 0 {
		return ""
	}
	return gocmp.Diff(want, got, gocmp.Comparer(bytes.Equal))
}

// A stream of two blocks is read from wherever one begins.
func TestReadsWhatTheServerKeeps(t *testing.T) {
	k := keep(t)
	const block = 8 << 20
	for total := 0; total <= block; total += 2*700_000 + 300 {
		k.publish(t, 700_000, nats.Header{"Kind": []string{"large"}})
		k.publish(t, 300, plain)
		k.publish(t, 700_000, plain)
		k.publish(t, 0, nats.Header{"Kind": []string{"empty"}})
	}
	if files, err := filepath.Glob(filepath.Join(k.dir, "msgs", "*.blk")); err != nil || len(files) != 2 {
		t.Fatalf("%v, %v: the test wants two blocks", files, err)
	}
	for after := range k.want {
		got, err := read(k.dir, uint64(after))
		if d := diff(k.want[after:], got); d != "" || !errors.Is(err, io.EOF) {
			t.Fatalf("after %d: %v (-want +got):\n%s", after, err, d)
		}
	}
	for _, after := range []uint64{uint64(len(k.want)), uint64(len(k.want)) + 7} {
		if got, err := read(k.dir, after); len(got) > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("after the last: %d messages, %v", len(got), err)
		}
	}
	k.publish(t, 10, plain)
	if got, err := read(k.dir, uint64(len(k.want)-1)); len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("what came since: %d messages, %v", len(got), err)
	}
}

// A stream without messages has none, and one that is not there is an error.
func TestReadsNothing(t *testing.T) {
	k := keep(t)
	if got, err := read(k.dir, 0); len(got) > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d messages, %v", len(got), err)
	}
	if _, err := read(filepath.Join(k.dir, "other"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no stream: %v", err)
	}
}

// What the server erased ends the reading.
func TestEndsAtWhatWasErased(t *testing.T) {
	k := keep(t)
	for range 5 {
		k.publish(t, 20, plain)
	}
	s, err := k.js.Stream(t.Context(), name)
	must(t, err)
	must(t, s.SecureDeleteMsg(t.Context(), 3))
	got, err := read(k.dir, 0)
	if d := diff(k.want[:2], got); d != "" || domain.KindOf(err) != domain.Corrupt {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// Nothing but a header says where the subject of a message ends.
func TestEndsAtWhatHasNoHeader(t *testing.T) {
	k := keep(t)
	k.publish(t, 20, plain)
	k.publish(t, 20, nil)
	got, err := read(k.dir, 0)
	if d := diff(k.want[:1], got); d != "" || domain.KindOf(err) != domain.Corrupt {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

// written is the one block of a small stream, which is closed.
func written(t *testing.T) (block []byte, want []stream.Message) {
	t.Helper()
	k := keep(t)
	for n := range 6 {
		k.publish(t, 30*n, map[bool]nats.Header{true: {"Comanda-Type": []string{"order.approved"}}, false: plain}[n%2 == 0])
	}
	block, err := os.ReadFile(filepath.Join(k.dir, "msgs", "1.blk"))
	must(t, err)
	return block, k.want
}

// place puts a block where a stream's first is, in a directory of its own.
func place(block []byte) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "blocks-")
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "msgs"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "msgs", "1.blk"), block, 0o600)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, err
}

// Whatever bits are flipped, and wherever the file is cut: what is read are messages as they
// were stored, from the first on, and the end is told.
func TestNeverReadsWhatIsDamaged(t *testing.T) {
	block, want := written(t)
	rapid.Check(t, func(t *rapid.T) {
		damaged := bytes.Clone(block)
		for range rapid.IntRange(0, 2).Draw(t, "flips") {
			damaged[rapid.IntRange(0, len(block)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		damaged = damaged[:rapid.IntRange(0, len(block)).Draw(t, "cut")]
		dir, remove, err := place(damaged)
		defer remove()
		if err != nil {
			t.Fatal(err)
		}
		after := rapid.IntRange(0, len(want)).Draw(t, "after")
		got, err := read(dir, uint64(after))
		if len(got) > len(want)-after {
			t.Fatalf("%d messages after %d of %d", len(got), after, len(want))
		}
		if d := diff(want[after:after+len(got)], got); d != "" {
			t.Fatalf("after %d (-want +got):\n%s", after, d)
		}
		if !errors.Is(err, io.EOF) && domain.KindOf(err) != domain.Corrupt {
			t.Fatalf("it ended with %v", err)
		}
	})
}

// Blocks that are missing or not the ones they are named for end the reading.
func TestEndsAtWhatIsNotItsBlock(t *testing.T) {
	k := keep(t)
	for range 13 {
		k.publish(t, 700_000, plain)
	}
	block := func(n int) string { return filepath.Join(k.dir, "msgs", fmt.Sprintf("%d.blk", n)) }
	const first = 12 // of the second block: eleven fill one
	must(t, os.Rename(block(2), block(3)))
	got, err := read(k.dir, 0)
	if d := diff(k.want[:first-1], got); d != "" || domain.KindOf(err) != domain.Corrupt {
		t.Errorf("a block under another name: %v (-want +got):\n%s", err, d)
	}
	must(t, errors.Join(os.Rename(block(1), block(1)+".away"), os.Rename(block(3), block(2))))
	if got, err := read(k.dir, 0); len(got) > 0 || domain.KindOf(err) != domain.Corrupt {
		t.Errorf("without the first block: %d messages, %v", len(got), err)
	}
	if got, err := read(k.dir, first); len(got) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("what is after it: %d messages, %v", len(got), err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte{}, uint8(0))
	f.Add(bytes.Repeat([]byte{1}, 100), uint8(1))
	f.Fuzz(func(t *testing.T, block []byte, after uint8) {
		dir, remove, err := place(block)
		defer remove()
		must(t, err)
		if got, err := read(dir, uint64(after)); len(got) > 0 || err == nil {
			t.Errorf("%d messages of a block that no server wrote, %v", len(got), err)
		}
	})
}
