package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeRefusesALogThatWentBackwards puts a backup of the log under views
// that have read more. Where the log grew since, it is as long as they remember,
// and still another one: serve says so before anything can come in.
func TestServeRefusesALogThatWentBackwards(t *testing.T) {
	dir, backup := t.TempDir(), t.TempDir()
	log, views := filepath.Join(dir, natsDir), filepath.Join(dir, viewsFile)
	write := func(orders ...string) {
		s := startServer(t, dir, sourcesYAML)
		for _, order := range orders {
			s.post("loja-aprovei", fixture(t, "aprovei-approved", "VCP1O8SB9GJ", order))
		}
		if code := s.stop(); code != exitOK {
			t.Fatalf("serve ended with %d", code)
		}
		s.verify() // which lets the views catch up
	}
	write("A")
	copyPrivate(t, backup, log)
	write("B", "C")
	if err := os.Rename(views, views+".kept"); err != nil {
		t.Fatal(err)
	}
	refuse := func() {
		t.Helper()
		code, out, errOut := command(t, "serve", "--data-dir", dir, "--config", filepath.Join(dir, "config.yaml"),
			"--http", "127.0.0.1:0", "--grpc", "none", "--ops", "none", "--nats-listen", "none")
		if code != exitFailed || !strings.Contains(errOut, "went backwards") || strings.Contains(out, readyLine) {
			t.Errorf("serve ends with %d and says %s%s", code, out, errOut)
		}
	}
	replace := func(path, with string) {
		t.Helper()
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		copyPrivate(t, path, with)
	}
	replace(log, backup)
	replace(views, views+".kept")
	refuse()

	replace(log, backup)
	forget(t, dir, viewsFile, scrubFile) // as who puts a backup in the log's place must
	write("D", "E", "F")
	replace(views, views+".kept")
	refuse()
	if code, out, errOut := command(t, "verify", "--data-dir", dir); code != exitFailed ||
		!strings.Contains(out, "backwards: partition 0 sequence 3 : the views have read another event at sequence 3") {
		t.Errorf("verify ends with %d and says %s%s", code, out, errOut)
	}
	if err := os.Remove(views); err != nil { // they are built anew of what is there
		t.Fatal(err)
	}
}

// copyPrivate copies a file or a tree to a place where there is none, for its owner alone.
func copyPrivate(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
