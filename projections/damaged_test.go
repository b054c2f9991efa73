package projections_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/projections"
)

// A file that was cut, or lost pages, says what to do about it; what bbolt does
// with such files is to panic, or to read behind their end.
func TestADamagedFileIsCorrupt(t *testing.T) {
	path := viewsPath(t)
	build(t, path, filled(t))
	whole, err := os.ReadFile(path)
	must(t, err)
	page := os.Getpagesize()
	for name, damaged := range map[string][]byte{
		"less than its head":           whole[:page+page/4],
		"only its first pages":         whole[:3*page],
		"its head overwritten":         append(make([]byte, 2*page), whole[2*page:]...),
		"all but its head overwritten": append(whole[:2*page:2*page], make([]byte, len(whole)-2*page)...),
		"no file of views":             []byte(strings.Repeat("?", len(whole))),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "views.db")
			must(t, os.WriteFile(path, damaged, 0o600))
			_, err := projections.Open(path)
			if domain.KindOf(err) != domain.Corrupt || !strings.Contains(err.Error(), "delete the file") {
				t.Errorf("error = %v, want one of kind corrupt that says what to do", err)
			}
		})
	}
	if _, err := projections.Open(t.TempDir()); err == nil || domain.KindOf(err) == domain.Corrupt {
		t.Errorf("a directory: error = %v, want one that does not advise to delete it", err)
	}
}
