package natsnode_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/stream"
)

const stagedStream = "ORDERS-00"

// staged is a node whose stream stages batches in memory, and where that is.
func staged(t *testing.T, dir string) (node *natsnode.Node, memory string) {
	t.Helper()
	node = start(t, natsnode.Config{DataDir: dir, Listen: natsnode.None})
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{
		Name: stagedStream, Subjects: []string{"orders.>"}, Storage: jetstream.FileStorage, AllowAtomicPublish: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	inMemory, err := node.StageBatches(stagedStream)
	if err != nil || inMemory != hasMemory() {
		t.Fatalf("stage: %v, %v; the system has memory: %v", inMemory, err, hasMemory())
	}
	if !inMemory {
		return node, batches(dir)
	}
	memory, err = os.Readlink(batches(dir))
	if err != nil {
		t.Fatal(err)
	}
	return node, memory
}

// hasMemory reports whether this system has a file system in memory. Where it has
// none, the tests hold batches to the same on disk.
func hasMemory() bool {
	var system syscall.Statfs_t
	const tmpfs = 0x01021994
	return syscall.Statfs("/dev/shm", &system) == nil && system.Type == tmpfs
}

func batches(dir string) string {
	return filepath.Join(dir, "nats", "jetstream", "core", "streams", stagedStream, "batches")
}

func batch(n int) []*nats.Msg {
	out := make([]*nats.Msg, n)
	for i := range out {
		out[i] = nats.NewMsg("orders." + strconv.Itoa(i))
		out[i].Data = []byte("event")
	}
	return out
}

func publisher(t *testing.T, node *natsnode.Node) *stream.Publisher {
	t.Helper()
	p, err := stream.NewPublisher(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestBatchesAreStagedInMemoryAndStoredOnDisk(t *testing.T) {
	dir := t.TempDir()
	node, memory := staged(t, dir)
	half := batch(1)[0]
	half.Header.Set("Nats-Batch-Id", "half")
	half.Header.Set("Nats-Batch-Sequence", "1")
	if _, err := node.Conn().RequestMsgWithContext(t.Context(), half); err != nil { // answered when it is staged
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(memory); err != nil || len(entries) != 1 {
		t.Errorf("in memory: %v, %v; want the batch that is not committed", entries, err)
	}
	ack, err := publisher(t, node).PublishBatch(t.Context(), batch(5))
	if err != nil || ack.Sequence != 5 {
		t.Fatalf("publish: %+v, %v", ack, err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{memory, filepath.Dir(memory), batches(dir)} {
		if !hasMemory() {
			break // the server empties its own directory at the next start
		}
		if _, err := os.Lstat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", gone, err)
		}
	}
	node, _ = staged(t, dir)
	if last := lastSequence(t, node); last != 5 {
		t.Errorf("the stream ends at %d after a restart, want 5", last)
	}
}

func TestALostStagingRefusesBatchesAndStoresSingles(t *testing.T) {
	node, memory := staged(t, t.TempDir())
	if hasMemory() {
		if err := os.RemoveAll(filepath.Dir(memory)); err != nil {
			t.Fatal(err)
		}
	} else if err := os.WriteFile(memory, nil, 0o600); err != nil { // a file where the directory would be made
		t.Fatal(err)
	}
	p := publisher(t, node)
	var refused *stream.APIError
	if _, err := p.PublishBatch(t.Context(), batch(3)); !errors.As(err, &refused) {
		t.Errorf("batch: %v, want a refusal", err)
	}
	if last := lastSequence(t, node); last != 0 {
		t.Errorf("a refused batch left %d messages", last)
	}
	if ack, err := p.Publish(t.Context(), batch(1)[0]); err != nil || ack.Sequence != 1 {
		t.Errorf("single: %+v, %v", ack, err)
	}
}

func TestALostStagingIsMadeAgainByTheNextLookAtHealth(t *testing.T) {
	node, memory := staged(t, t.TempDir())
	if err := os.RemoveAll(filepath.Dir(memory)); err != nil {
		t.Fatal(err)
	}
	if err := node.Health(); err != nil {
		t.Fatal(err)
	}
	if ack, err := publisher(t, node).PublishBatch(t.Context(), batch(3)); err != nil || ack.Sequence != 3 {
		t.Errorf("batch: %+v, %v", ack, err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	_ = node.Health() // of a closed server: whatever it says, it leaves nothing behind
	if _, err := os.Stat(filepath.Dir(memory)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left behind: %v", filepath.Dir(memory), err)
	}
}

func TestWhatAKilledServerStagedIsRemoved(t *testing.T) {
	dir := t.TempDir()
	node, _ := staged(t, dir)
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	shm := "/dev/shm"
	if !hasMemory() {
		shm = t.TempDir() // not where the server stages: it is none of its business
	}
	left, err := os.MkdirTemp(shm, "comanda-nats-") //nolint:usetesting // in memory, as the server does
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(left, stagedStream), batches(dir)); err != nil {
		t.Fatal(err)
	}
	_, memory := staged(t, dir)
	if _, err := os.Stat(left); errors.Is(err, os.ErrNotExist) != hasMemory() {
		t.Errorf("%s: %v; the system has memory: %v", left, err, hasMemory())
	}
	if filepath.Dir(memory) == left {
		t.Error("the new server stages where the old one did")
	}
}

func lastSequence(t *testing.T, node *natsnode.Node) uint64 {
	t.Helper()
	js, err := jetstream.New(node.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), stagedStream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}
