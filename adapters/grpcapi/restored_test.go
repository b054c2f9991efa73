package grpcapi_test

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/mirror"
	"comanda.internal/eventstore/natsnode"
)

// restore serves the log of a backup from a server of its own.
func restore(t *testing.T, b *backup.Backup) *server {
	t.Helper()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: t.TempDir(), Listen: natsnode.None, UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	must(t, b.Restore(t.Context(), node.Conn(), backup.RestoreOptions{}))
	return serveLog(t, node)
}

// serveLog serves the log that is on node.
func serveLog(t *testing.T, node *natsnode.Node) *server {
	t.Helper()
	log, err := eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Existing: true})
	must(t, err)
	t.Cleanup(func() { must(t, log.Close()) })
	return serve(t, grpcapi.Config{}, grpcapi.Deps{
		Views: readyViews(), Log: log, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
}

func backedUp(t *testing.T, s *store) *backup.Backup {
	t.Helper()
	b, err := backup.Create(t.Context(), s.node.Conn(), filepath.Join(t.TempDir(), "backup"), backup.Options{Clock: time.Now})
	must(t, err)
	return b
}

// refuses wants a token refused as one of a place that the log does not have.
func refuses(t *testing.T, s *server, what, token, kind string) {
	t.Helper()
	stream, err := s.events.Subscribe(t.Context(), from(token))
	must(t, err)
	_, err = stream.Recv()
	if st := status.Convert(err); st.Code() != codes.FailedPrecondition || subjectOf(st) != kind {
		t.Errorf("%s: %v, want FAILED_PRECONDITION about %s", what, err, kind)
	}
}

// TestTokensAfterARestore resumes, on restored logs, with every token of before
// the backup, and with those of after it.
func TestTokensAfterARestore(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	want := store.fill(4)
	b := backedUp(t, store)
	whole := subscribe(t, s, fromBeginning())
	var ids, before []string
	for range want {
		e := whole.event()
		ids, before = append(ids, e.GetEvent().GetEventId()), append(before, e.GetResumeToken())
	}
	store.record(50, domain.KindPending)
	after := whole.event().GetResumeToken()

	one, two := restore(t, b), restore(t, b)
	var token string // of the restored log
	for n, old := range before {
		rest := subscribe(t, one, from(old))
		same(t, want, append(ids[:n+1:n+1], rest.catchUp()...))
		token = rest.token
	}
	refuses(t, one, "a token of after the backup", after, "EPOCH")
	if again := subscribe(t, one, from(token)).catchUp(); len(again) > 0 {
		t.Errorf("its own token tells %v again", again)
	}
	refuses(t, two, "a token of another restore", token, "EPOCH")
	refuses(t, s, "a token of the restored log on the old one", token, "EPOCH")

	moved, err := b.Repartition(t.Context(), filepath.Join(t.TempDir(), "moved"), 8)
	must(t, err)
	refuses(t, restore(t, moved), "a token of another partitioning", before[0], "LOG")
}

// TestTokensAfterAPromotion resumes on a mirror that was promoted.
func TestTokensAfterAPromotion(t *testing.T) {
	store := newStore(t)
	s := serve(t, grpcapi.Config{}, store.deps())
	want := store.fill(4)
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: t.TempDir(), Listen: natsnode.None, UnsafeNoFsync: true})
	must(t, err)
	t.Cleanup(func() { must(t, node.Close()) })
	beside := t.TempDir()
	m, err := mirror.Open(t.Context(), mirror.Config{Source: store.node.Conn(), Target: node.Conn(), Dir: beside})
	must(t, err)
	_, err = m.Pass(t.Context())
	must(t, err)
	must(t, m.Close())

	whole := subscribe(t, s, fromBeginning())
	var ids, before []string
	for range want {
		e := whole.event()
		ids, before = append(ids, e.GetEvent().GetEventId()), append(before, e.GetResumeToken())
	}
	store.record(50, domain.KindPending) // acknowledged, and not in the mirror
	after := whole.event().GetResumeToken()

	_, err = mirror.Promote(t.Context(), node.Conn(), beside, node.SyncDirs)
	must(t, err)
	promoted := serveLog(t, node)
	var token string // of the promoted log
	for n, old := range before {
		rest := subscribe(t, promoted, from(old))
		same(t, want, append(ids[:n+1:n+1], rest.catchUp()...))
		token = rest.token
	}
	refuses(t, promoted, "a token of after the mirror's head", after, "EPOCH")
	refuses(t, s, "a token of the promoted log on the source", token, "EPOCH")
}
