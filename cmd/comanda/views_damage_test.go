package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDamagedViewsAreNamedAndBuiltAnew flips a bit in the head of the pages of the views'
// file that hold orders: verify says what to do, and serve does it.
func TestDamagedViewsAreNamedAndBuiltAnew(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	first := s.expect("loja-aprovei", pointBody(t, 1), "applied", "approved")
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	path := filepath.Join(dir, viewsFile)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const flags, leaf = 8, 2 // bbolt, internal/common/page.go
	for at := 2 * os.Getpagesize(); at < len(whole); at += os.Getpagesize() {
		page := whole[at : at+os.Getpagesize()]
		if page[flags] == leaf && bytes.Contains(page, []byte(first.OrderID)) && !bytes.Contains(page, []byte("version/")) {
			page[flags] = 0
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := command(t, "verify", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(errOut, "the file is damaged") || !strings.Contains(errOut, "delete the file") {
		t.Errorf("verify ends with %d and says %s%s", code, out, errOut)
	}
	s = startServer(t, dir, sourcesYAML) // verified when the test ends
	refunded := s.expect("loja-aprovei", strings.ReplaceAll(fixture(t, "aprovei-refunded"), "VCP1O8SB9GJ", "POINT-1"), "applied", "refunded")
	await(t, "the views are built anew", func() bool {
		_, out, _ := command(t, "views", "status", "--data-dir", dir)
		return strings.Contains(out, "promoted")
	})
	if got := s.order(refunded); got.GetRevision() != refunded.Revision {
		t.Errorf("the order is %v", got)
	}
}
