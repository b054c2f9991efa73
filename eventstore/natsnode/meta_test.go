package natsnode_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore/natsnode"
)

// meta are the files of a stream and its consumer that a crash may leave unfinished.
type meta struct{ stream, consumer string }

func metaOf(dir string) meta {
	stream := filepath.Join(dir, "nats", "jetstream", "core", "streams", "TEST")
	return meta{stream: filepath.Join(stream, "meta.sum"), consumer: filepath.Join(stream, "obs", "reader", "meta.sum")}
}

// opened is a server on dir, which the caller closes.
func opened(t *testing.T, dir string) (*natsnode.Node, jetstream.JetStream) {
	t.Helper()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return node, js
}

// written is a directory with a stream of one message and a consumer that has acknowledged
// it, and the stream's checksum from before its configuration was changed.
func written(t *testing.T, dir string) (before []byte) {
	t.Helper()
	node, js := opened(t, dir)
	cfg := jetstream.StreamConfig{Name: "TEST", Subjects: []string{"t.>"}, Storage: jetstream.FileStorage, Metadata: map[string]string{"epoch": "1"}}
	s, err := js.CreateStream(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if before, err = os.ReadFile(metaOf(dir).stream); err != nil {
		t.Fatal(err)
	}
	cfg.Metadata = map[string]string{"epoch": "2"}
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	c, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "t.a", []byte("a")); err != nil {
		t.Fatal(err)
	}
	m, err := c.Next()
	if err == nil {
		err = m.DoubleAck(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	return before
}

// A process that is killed while the server writes the configuration of a stream or a
// consumer leaves it without its checksum, or with the one of the configuration before.
func TestAConfigurationWithoutItsChecksum(t *testing.T) {
	for name, crash := range map[string]func(meta, []byte) error{
		"a stream was made": func(m meta, _ []byte) error { return os.Remove(m.stream) },
		"a stream was changed": func(m meta, before []byte) error {
			return os.WriteFile(m.stream, before, 0o600)
		},
		"a consumer was made": func(m meta, _ []byte) error { return os.Remove(m.consumer) },
		"nothing was":         func(meta, []byte) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before := written(t, dir)
			if err := crash(metaOf(dir), before); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and what was finished stays so
				if err := reopened(t, dir).Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// reopened is a server on dir, which has all that was written.
func reopened(t *testing.T, dir string) *natsnode.Node {
	t.Helper()
	node, js := opened(t, dir)
	s, err := js.Stream(t.Context(), "TEST")
	if err != nil {
		t.Fatal(err)
	}
	if info := s.CachedInfo(); info.Config.Metadata["epoch"] != "2" || info.State.Msgs != 1 {
		t.Errorf("the stream is of epoch %s, with %d messages", info.Config.Metadata["epoch"], info.State.Msgs)
	}
	c, err := s.Consumer(t.Context(), "reader")
	if err != nil {
		t.Fatal(err)
	}
	if info := c.CachedInfo(); info.AckFloor.Stream != 1 || info.NumPending != 0 {
		t.Errorf("the consumer has acknowledged up to %d, %d wait", info.AckFloor.Stream, info.NumPending)
	}
	return node
}

// A configuration that is damaged is no crash's: the server passes over it, as ever.
func TestADamagedConfigurationIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	written(t, dir)
	path := filepath.Join(filepath.Dir(metaOf(dir).stream), "meta.inf")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[0] = 'x'
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	node := start(t, natsnode.Config{DataDir: dir, Listen: natsnode.None})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Stream(t.Context(), "TEST"); err == nil {
		t.Error("the stream is there")
	}
}
