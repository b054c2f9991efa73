package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	views := filepath.Join(dir, viewsFile)
	flip(t, views)
	code, out, errOut := command(t, "verify", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(out, "view_differs") || !strings.Contains(out, "timeline") {
		t.Errorf("verify ends with %d and says %s%s", code, out, errOut)
	}
	code, out, _ = command(t, "verify", "-o", "json", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(out, `"rule":"view_differs"`) {
		t.Errorf("verify -o json ends with %d and says %s", code, out)
	}
	flip(t, views) // back, for the check at the end of every test
}

// flip changes one byte of the first event of a timeline, or changes it back.
func flip(t *testing.T, views string) {
	t.Helper()
	db, err := bbolt.Open(views, 0o600, nil)
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

// A build that waits is held to the log as well, and its problems are told apart.
func TestVerifyFindsAChangedBuild(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	must(t, "views", "rebuild", "--no-promote", "--data-dir", dir)
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	flip(t, filepath.Join(dir, viewsFile+".next"))
	startServer(t, dir, sourcesYAML)
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	found := ""
	for patience.Err() == nil && !strings.Contains(found, "of the build that waits") { // as soon as it has caught up
		_, found, _ = command(t, "verify", "--data-dir", dir)
	}
	for _, part := range []string{"of the build that waits", "view_differs", "timeline"} {
		if !strings.Contains(found, part) {
			t.Errorf("verify does not say %q: %s", part, found)
		}
	}
	must(t, "views", "cancel", "--discard", "--data-dir", dir)
}
