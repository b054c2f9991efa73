package natsnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"comanda.internal/domain"
)

const (
	dirMode  fs.FileMode = 0o700
	lockFile             = "lock"
	storeDir             = "nats"
)

// ErrInUse says that another process runs a server on the data directory.
var ErrInUse = errors.New("in use by another process")

// SyncAll makes every file and directory below root durable: what a server wrote
// there with UnsafeNoFsync, once it is closed, or with a restore, while it runs.
func SyncAll(root string) error {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // as in syncTree
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path) //nolint:gosec // below our own data directory
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return fmt.Errorf("sync files: %w", err)
	}
	return syncTree(root)
}

// lockDir makes dir and takes it for this process. Closing the file gives it back.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, privateMode) //nolint:gosec // the operator names the directory
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, domain.Errorf(domain.Unavailable, "data directory %s is %w", dir, ErrInUse)
	}
	return nil, fmt.Errorf("lock the data directory: %w", err)
}

// syncTree fsyncs every directory from root down.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a temporary directory of the server's own
		case err != nil:
			return fmt.Errorf("sync directories: %w", err)
		case entry.IsDir():
			return syncDir(path)
		}
		return nil
	})
}

// writeWhole puts a file at path at once: a crash leaves the old one or the new one.
func writeWhole(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, privateMode) //nolint:gosec // in our own data directory
	if err != nil {
		return err //nolint:wrapcheck // the caller says of what
	}
	_, werr := f.Write(data)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err //nolint:wrapcheck // as above
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path) //nolint:gosec // below our own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}
