package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// TestVerifyFindsAChangedView changes one byte of a view behind Comanda's back.
func TestVerifyFindsAChangedView(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	s.verify()
	flip := func() {
		db, err := bbolt.Open(filepath.Join(dir, viewsFile), 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			events := tx.Bucket([]byte("timeline")).Bucket([]byte("events"))
			key, value := events.Cursor().First()
			changed := bytes.Clone(value)
			at := bytes.Index(changed, []byte("X001")) - 1
			changed[at] ^= 1
			return events.Put(bytes.Clone(key), changed)
		})
		if err == nil {
			err = db.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	flip()
	code, out, errOut := command(t, "verify", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(out, "view_differs") || !strings.Contains(out, "timeline") {
		t.Errorf("verify ends with %d and says %s%s", code, out, errOut)
	}
	code, out, _ = command(t, "verify", "-o", "json", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(out, `"rule":"view_differs"`) {
		t.Errorf("verify -o json ends with %d and says %s", code, out)
	}
	flip() // back, for the check at the end of every test
}
