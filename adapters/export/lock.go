package export

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"comanda.internal/domain"
)

// lock makes dir and takes it for one export: two that write the same files would each
// list what the other replaced. The kernel gives it back when the file is closed, or the
// process ends.
func lock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err //nolint:wrapcheck // names the directory
	}
	f, err := os.Open(dir) //nolint:gosec // the directory that the caller names
	if err != nil {
		return nil, err //nolint:wrapcheck // names the directory
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = domain.Errorf(domain.Unavailable, "another export is writing to %s: wait for its end, or name another directory", dir)
	} else {
		err = fmt.Errorf("lock %s: %w", dir, err)
	}
	return nil, errors.Join(err, f.Close())
}
