package kv_test

import (
	"os"
	"path/filepath"
)

// temp is a directory of one run of a property: a rapid.T has no TempDir that
// ends with the run.
type temp struct{ dir, path string }

func makeTemp() (temp, error) {
	dir, err := os.MkdirTemp("", "kv-")
	return temp{dir: dir, path: filepath.Join(dir, "db")}, err
}

func (t temp) remove() { _ = os.RemoveAll(t.dir) }
