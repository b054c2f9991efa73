package projections_test

import (
	"encoding/binary"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/proof"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func views(r projections.Reader) (projections.Facts, []projections.Projection) { return proof.Views(r) }

func viewsPath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "views.db")
}

func filled(t *testing.T) *projectiontest.Script {
	t.Helper()
	s := projectiontest.NewScript(2)
	s.Fill(t, 7, 10, 100)
	return s
}

func openFile(t *testing.T, path string) *projections.File {
	t.Helper()
	file, err := projections.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	return file
}

func deps(log projections.Log) projections.Deps {
	return projections.Deps{
		Log: log, Machine: order.Default(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	}
}

// newRunner is a runner of all views on a file that is closed with the test.
func newRunner(t *testing.T, path string, d projections.Deps) (*projections.Runner, error) {
	t.Helper()
	file := openFile(t, path)
	facts, others := views(file)
	return projections.New(projectiontest.EachBatch, d, file, facts, others...)
}

// build reads all of log into the file at path and closes it.
func build(t *testing.T, path string, log projections.Log) []byte {
	t.Helper()
	f := projectiontest.Start(t, path, log, views, projections.Config{})
	f.Wait()
	f.Stop()
	defer f.Close()
	return f.Dump()
}

// oldMachine has the views at path be folded by the machine before this one.
func oldMachine(t *testing.T, path string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("machine"), binary.BigEndian.AppendUint32(nil, order.Default().Version()-1))
	}))
	must(t, db.Close())
}
