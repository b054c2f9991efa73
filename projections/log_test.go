package projections_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/proof"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// realLog is the log on an embedded server.
type realLog struct {
	*eventstore.Log

	recorder *eventstore.Recorder
	close    func()
}

func openLog(t *testing.T, dir string) *realLog {
	t.Helper()
	node, err := natsnode.Start(t.Context(), natsnode.Config{DataDir: filepath.Join(dir, "nats"), Listen: natsnode.None})
	must(t, err)
	vault, err := privacy.Open(t.Context(), node.Conn(), privacy.Config{KeyFile: filepath.Join(dir, "kek"), PoolSize: 32, Wait: 20 * time.Second})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- vault.Run(ctx) }()
	l := new(realLog)
	l.Log, err = eventstore.Open(t.Context(), node.Conn(), eventstore.Config{Partitions: 2, Vault: vault})
	must(t, err)
	l.recorder, err = eventstore.NewRecorder(l.Log, vault, order.Default(), eventstore.RecorderConfig{Clock: time.Now})
	must(t, err)
	closed := false
	l.close = func() {
		if closed {
			return
		}
		closed = true
		cancel()
		must(t, <-ended)
		must(t, l.Close())
		must(t, node.Close())
	}
	t.Cleanup(l.close)
	return l
}

// tester is a [testing.T], or one of rapid.
type tester interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}

func must(t tester, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record stores three facts about each of n orders, in a different order for each.
func (l *realLog) record(t *testing.T, from, n int) domain.Position {
	t.Helper()
	var written domain.Position
	kinds := []domain.Kind{domain.KindPending, domain.KindApproved, domain.KindRefunded}
	for i := range 3 * n {
		number := from + i%n
		now := time.Now()
		message := domain.Message{Source: "loja-checkout", Tenant: "loja", Provider: "comanda", Body: []byte("{}"), ReceivedAt: now}
		outcomes, err := l.recorder.Record(t.Context(), message, []domain.Fact{{
			Kind: kinds[(number+i/n)%3], Provider: "comanda", ProviderOrderID: fmt.Sprint("A-", number), Key: fmt.Sprint(i / n),
			OccurredAt: now.UTC(), Reference: fmt.Sprint("EX", number/2),
			UTM:      domain.UTMOf(map[string]string{"utm_source": "a", "utm_medium": "b", "utm_campaign": "c"}),
			Personal: &domain.Personal{Name: projectiontest.CanaryName, Email: projectiontest.CanaryEmail},
		}})
		must(t, err)
		written = written.Merge(outcomes[0].Position)
	}
	return written
}

// copyDir keeps credentials and keys private, which [os.CopyFS] does not.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	must(t, os.CopyFS(to, os.DirFS(from)))
	must(t, filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}))
}

func TestViewsOfARealLog(t *testing.T) {
	log, path := openLog(t, t.TempDir()), viewsPath(t)
	live := projectiontest.Start(t, path, log, views, projections.Config{})
	<-live.Runner.Ready()
	written := log.record(t, 0, 20)
	must(t, live.Runner.Wait(t.Context(), written))
	want := live.Dump()

	var problems []string
	checker := proof.New(live.File, live.Runner, order.Default(), func(p *comandav1.VerifyProblem) { problems = append(problems, p.String()) })
	report, err := log.Verify(t.Context(), eventstore.VerifyOptions{Order: func(o eventstore.VerifiedOrder) error {
		return checker.Order(t.Context(), proof.Order{ID: o.ID, Source: o.Source, State: o.State, Partition: o.Partition, Sequence: o.Sequence})
	}})
	must(t, err)
	must(t, checker.Flush(t.Context()))
	must(t, checker.Finish(report.Head))
	if len(problems) > 0 || report.ProblemCount > 0 || checker.Compared() != 20 {
		t.Errorf("of %d orders: %v, %v", checker.Compared(), problems, report.Problems)
	}

	live.Stop()
	live.Close()
	stored, err := os.ReadFile(path)
	must(t, err)
	for _, canary := range []string{projectiontest.CanaryName, projectiontest.CanaryEmail} {
		if bytes.Contains(stored, []byte(canary)) {
			t.Errorf("the file holds %q", canary)
		}
	}
	must(t, os.Remove(path))
	if diff := cmp.Diff(string(want), string(build(t, path, log))); diff != "" {
		t.Errorf("deleted and rebuilt (-live +rebuilt):\n%s", diff)
	}
}

func TestABackupOfTheLogThatIsOlderThanTheViewsIsNoticed(t *testing.T) {
	dir, backup, path := t.TempDir(), t.TempDir(), viewsPath(t)
	log := openLog(t, dir)
	log.record(t, 0, 2)
	log.close()
	copyDir(t, backup, dir)

	log = openLog(t, dir)
	log.record(t, 10, 2)
	build(t, path, log)
	log.close()

	for _, restored := range []struct {
		name   string
		record int // orders, after the restore
	}{{"as it was", 0}, {"and written to since", 5}} {
		t.Run(restored.name, func(t *testing.T) {
			dir := t.TempDir()
			copyDir(t, dir, backup)
			log := openLog(t, dir)
			log.record(t, 100, restored.record)
			runner, err := newRunner(t, path, deps(log))
			must(t, err)
			if err := runner.Run(t.Context()); domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "went backwards") {
				t.Errorf("error = %v, want one of kind corrupt that says so", err)
			}
		})
	}
}
