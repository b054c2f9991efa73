package privacy_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	orderA = domain.OrderID("ord_a")
	orderB = domain.OrderID("ord_b")
	event1 = domain.EventID("event1")
	event2 = domain.EventID("event2")
)

func connect(t *testing.T, dir string) *nats.Conn {
	t.Helper()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
	})
	return node.Conn()
}

// run opens a vault and keeps its pool full until the test ends.
func run(t *testing.T, conn *nats.Conn, cfg privacy.Config) *privacy.Vault {
	t.Helper()
	v := open(t, conn, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-v.Ready()
	return v
}

func open(t *testing.T, conn *nats.Conn, cfg privacy.Config) *privacy.Vault {
	t.Helper()
	v, err := privacy.Open(t.Context(), conn, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func take(t *testing.T, v *privacy.Vault) *privacy.Key {
	t.Helper()
	k, err := v.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedOpensInItsPlaceOnly(t *testing.T) {
	dir := t.TempDir()
	v := run(t, connect(t, dir), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 4})
	k, other := take(t, v), take(t, v)
	plain := []byte("Maria da Silva, 529.982.247-25")
	sealed := k.Seal(orderA, event1, privacy.PartPersonal, plain)
	if bytes.Contains(sealed, plain[:8]) {
		t.Error("the seal shows the text")
	}
	if bytes.Equal(sealed, k.Seal(orderA, event1, privacy.PartPersonal, plain)) {
		t.Error("two seals are equal: the nonce repeats")
	}
	got, err := k.Open(orderA, event1, privacy.PartPersonal, sealed)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %q, %v", got, err)
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	for name, open := range map[string]func() ([]byte, error){
		"another order": func() ([]byte, error) { return k.Open(orderB, event1, privacy.PartPersonal, sealed) },
		"another event": func() ([]byte, error) { return k.Open(orderA, event2, privacy.PartPersonal, sealed) },
		"another part":  func() ([]byte, error) { return k.Open(orderA, event1, privacy.PartRaw, sealed) },
		"another key":   func() ([]byte, error) { return other.Open(orderA, event1, privacy.PartPersonal, sealed) },
		"a flipped bit": func() ([]byte, error) { return k.Open(orderA, event1, privacy.PartPersonal, flipped) },
		"cut short":     func() ([]byte, error) { return k.Open(orderA, event1, privacy.PartPersonal, sealed[:5]) },
	} {
		if _, err := open(); domain.KindOf(err) != domain.Corrupt {
			t.Errorf("%s: %v, want an error of kind corrupt", name, err)
		}
	}
}

func TestEventIsRevealedByAnotherProcess(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	cfg := privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 4}
	writer := run(t, conn, cfg)
	personal := domain.Personal{
		Name: "Maria", Email: "maria@example.com", Address: &domain.Address{City: "Recife"},
		PixCode: strings.Repeat("0", 1000), // more than there is room for at first
	}
	e := domain.Event{ID: event1, OrderID: orderA}
	if err := take(t, writer).SealEvent(&e, &personal, "application/json", []byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	reader := open(t, conn, cfg)
	got, err := reader.Reveal(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(personal, got); diff != "" {
		t.Errorf("personal (-want +got):\n%s", diff)
	}
	contentType, body, err := reader.Raw(t.Context(), &e)
	if err != nil || contentType != "application/json" || string(body) != `{"a":1}` {
		t.Errorf("raw: %q %q %v", contentType, body, err)
	}

	moved := e
	moved.OrderID = orderB
	if _, err := reader.Reveal(t.Context(), &moved); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("moved to another order: %v", err)
	}
	none := domain.Event{ID: event2, OrderID: orderA, KeyID: e.KeyID}
	if got, err := reader.Reveal(t.Context(), &none); err != nil || got != (domain.Personal{}) {
		t.Errorf("nothing sealed: %v, %v", got, err)
	}
}

func TestDestroyedKeyIsNotFound(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	cfg := privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 4}
	k := take(t, run(t, conn, cfg))
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := js.KeyValue(t.Context(), privacy.Bucket)
	if err != nil {
		t.Fatalf("the bucket is not a KV bucket to others: %v", err)
	}
	reader := open(t, conn, cfg)
	if _, err := reader.Key(t.Context(), k.ID()); err != nil {
		t.Fatalf("a stored key: %v", err)
	}
	if err := keys.Purge(t.Context(), k.ID()); err != nil {
		t.Fatal(err)
	}
	fresh := open(t, conn, cfg)
	for _, id := range []string{k.ID(), "key_never"} {
		if _, err := fresh.Key(t.Context(), id); domain.KindOf(err) != domain.NotFound {
			t.Errorf("%s: %v, want not_found", id, err)
		}
	}
}

func TestAVaultThatOnlyLooks(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	keyFile := filepath.Join(dir, "kek")
	look := privacy.Config{KeyFile: keyFile, Existing: true}
	refused := func(what string, want domain.ErrorKind) {
		t.Helper()
		if _, err := privacy.Open(t.Context(), conn, look); domain.KindOf(err) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("no file", domain.NotFound)
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("comanda-kek-v1:"+strings.Repeat("A", 43)+"=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	look.KeyFile = other
	refused("no bucket", domain.NotFound)
	v := run(t, conn, privacy.Config{KeyFile: keyFile, PoolSize: 4})
	k := take(t, v)
	refused("another's file", domain.Refused)

	look.KeyFile = keyFile
	reader := open(t, conn, look)
	if got, err := reader.Key(t.Context(), k.ID()); err != nil || got.ID() != k.ID() {
		t.Errorf("a stored key: %v", err)
	}
	held, err := reader.Held(t.Context(), []string{k.ID(), "key_never"})
	if diff := cmp.Diff(map[string]bool{k.ID(): true}, held); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if reader.Pepper("loja") != v.Pepper("loja") || v.Pepper("loja") == v.Pepper("outra") || v.Pepper("loja") == privacy.Disabled().Pepper("loja") {
		t.Error("peppers are not of the key file and the tenant alone")
	}
}

func TestKeysAreStoredBeforeTheyAreTaken(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	cfg := privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 3}
	v, reader := run(t, conn, cfg), open(t, conn, cfg)
	seen := make(map[string]bool)
	for range 20 { // several pools
		k := take(t, v)
		if seen[k.ID()] {
			t.Fatalf("key %s was given twice", k.ID())
		}
		seen[k.ID()] = true
		stored, err := reader.Key(t.Context(), k.ID())
		if err != nil {
			t.Fatalf("a key that was taken is not stored: %v", err)
		}
		sealed := k.Seal(orderA, event1, privacy.PartRaw, []byte("x"))
		if _, err := stored.Open(orderA, event1, privacy.PartRaw, sealed); err != nil {
			t.Fatalf("the stored key is another: %v", err)
		}
	}
}

func TestReturnedKeyIsTakenAgain(t *testing.T) {
	dir := t.TempDir()
	v := open(t, connect(t, dir), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 1, Wait: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	<-v.Ready()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	k := take(t, v)
	v.Return(k)
	if again := take(t, v); again.ID() != k.ID() {
		t.Errorf("got %s, want the returned %s", again.ID(), k.ID())
	}
}

func TestEmptyPoolIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	v := open(t, connect(t, dir), privacy.Config{KeyFile: filepath.Join(dir, "kek"), Wait: time.Millisecond})
	if _, err := v.Take(t.Context()); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("nobody fills the pool: %v, want unavailable", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Take(ctx); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("the caller went away: %v, want unavailable", err)
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	path := filepath.Join(dir, "kek")
	cfg := privacy.Config{KeyFile: path, PoolSize: 4}
	k := take(t, run(t, conn, cfg))
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: mode %v, %v; want 0600", info.Mode().Perm(), err)
	}
	if _, err := open(t, conn, cfg).Key(t.Context(), k.ID()); err != nil {
		t.Errorf("opened again with the same file: %v", err)
	}

	secret, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "kek")
	makeOther(t, other)
	for name, c := range map[string]struct {
		path string
		mode fs.FileMode
		text string
		want domain.ErrorKind
	}{
		"others may read it":         {"wide", 0o644, string(secret), domain.Invalid},
		"the group may read it":      {"group", 0o640, string(secret), domain.Invalid},
		"not a key":                  {"noise", 0o600, "hello", domain.Invalid},
		"a short key":                {"short", 0o600, "comanda-kek-v1:AAAA", domain.Invalid},
		"the bucket's is another":    {"other", 0o600, string(mustRead(t, other)), domain.Refused},
		"missing beside stored keys": {"missing", 0, "", domain.Refused},
	} {
		file := filepath.Join(dir, c.path)
		if c.text != "" {
			if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := privacy.Open(t.Context(), conn, privacy.Config{KeyFile: file})
		if domain.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), strings.TrimSpace(strings.TrimPrefix(string(secret), "comanda-kek-v1:"))) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
		t.Error("a refused open made a key file")
	}
}

// makeOther writes a key file of another installation.
func makeOther(t *testing.T, path string) {
	t.Helper()
	open(t, connect(t, filepath.Join(filepath.Dir(path), "data")), privacy.Config{KeyFile: path})
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestKeysNeverLieInTheClear(t *testing.T) {
	dir := t.TempDir()
	conn := connect(t, dir)
	secret := filepath.Join(t.TempDir(), "kek")
	run(t, conn, privacy.Config{KeyFile: secret, PoolSize: 4})
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_"+privacy.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	lengths := make(map[int]int)
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		m, err := s.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(m.Data)]++
	}
	// version, id of the key-encryption key, nonce, 32 bytes of key, tag
	if diff := cmp.Diff(map[int]int{1 + 8 + 12 + 32 + 16: 4}, lengths); diff != "" {
		t.Errorf("records by length (-want +got):\n%s", diff)
	}
}

func TestDisabledVaultMarksWhatItLeavesOpen(t *testing.T) {
	v := privacy.Disabled()
	k := take(t, v)
	e := domain.Event{ID: event1, OrderID: orderA}
	if err := k.SealEvent(&e, &domain.Personal{Name: "Maria"}, "application/json", []byte("body")); err != nil {
		t.Fatal(err)
	}
	for _, part := range [][]byte{e.SealedPersonal, e.SealedRaw} {
		if !bytes.HasPrefix(part, []byte("COMANDA-UNSEALED")) {
			t.Errorf("%q is not marked", part)
		}
	}
	if e.KeyID != "" || !bytes.Contains(e.SealedPersonal, []byte("Maria")) {
		t.Error("a disabled vault sealed")
	}
	if got, err := v.Reveal(t.Context(), &e); err != nil || got.Name != "Maria" {
		t.Errorf("reveal: %v, %v", got, err)
	}
	e.SealedPersonal = []byte("neither sealed nor marked")
	if _, err := v.Reveal(t.Context(), &e); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("no mark: %v, want corrupt", err)
	}
	e.KeyID = "key_x"
	if _, err := v.Reveal(t.Context(), &e); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("a sealed event, sealing off: %v, want unavailable", err)
	}
}

func TestPoolLevelIsMeasured(t *testing.T) {
	dir := t.TempDir()
	reg := prometheus.NewRegistry()
	v := run(t, connect(t, dir), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 300, Registerer: reg})
	take(t, v)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "comanda_privacy_pool_keys" {
		t.Fatalf("metrics %v, %v", families, err)
	}
	if got := families[0].GetMetric()[0].GetGauge().GetValue(); got != 255 { // one batch of 256, one taken
		t.Errorf("level %v, want 255", got)
	}
}

func TestConfigMistakes(t *testing.T) {
	_, err := privacy.Open(t.Context(), nil, privacy.Config{PoolSize: -1})
	if domain.KindOf(err) != domain.Invalid || !strings.Contains(err.Error(), "needs a file") || !strings.Contains(err.Error(), "not negative") {
		t.Errorf("mistakes: %v", err)
	}
}
