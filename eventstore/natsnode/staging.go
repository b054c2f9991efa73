package natsnode

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// An embedded server stages every atomic batch for a file stream of one replica in
// a file store made for it, below the stream's own directory: five or six files
// and directories made, synced and removed, some ten milliseconds of disk and
// processor (nats-server 2.15, server/jetstream_batching.go, newBatchStore). That is
// for the batch to be finished after a crash in the middle of its commit. Nobody
// needs it: what a caller is told rests on the stream's own fsync, which comes after,
// and events of one batch do not depend on each other. So the directory is a link into
// memory. After a crash the server finishes the batch when the memory is still there,
// as after a kill, and otherwise says in its log that it cannot and leaves what
// was written of it, as after a power failure.
const (
	batchesDir = "batches"  // of a stream
	ramDir     = "/dev/shm" // memory as a file system, on Linux
	ramPrefix  = "comanda-nats-"
	tmpfsMagic = 0x01021994 // statfs(2)
)

// staging is where batches are staged in memory.
type staging struct {
	base string // in memory, of this server alone; "": nowhere

	mu    sync.Mutex
	links map[string]string // in the streams' directories, with where they lead
}

// StageBatches has the embedded server stage the atomic batches of these streams
// in memory, and reports whether it does: not where the system offers no such
// memory, and not for a server of yours. Nothing may be published meanwhile. A second
// call for a stream moves its staging.
func (n *Node) StageBatches(streams ...string) (inMemory bool, err error) {
	if n.embedded == nil || !n.embedded.hasMemory() {
		return false, nil
	}
	if err := n.embedded.stage(streams); err != nil {
		return false, fmt.Errorf("stage batches in memory: %w", err)
	}
	return true, nil
}

// hasMemory makes the directory in memory, if that can be.
func (e *embedded) hasMemory() bool {
	if e.staging.base != "" {
		return true
	}
	var system syscall.Statfs_t
	if err := syscall.Statfs(ramDir, &system); err != nil || system.Type != tmpfsMagic {
		return false
	}
	base, err := os.MkdirTemp(ramDir, ramPrefix)
	if err == nil {
		e.staging.base = base
	}
	return err == nil
}

func (e *embedded) stage(streams []string) error {
	base := e.staging.base
	for _, name := range streams {
		target, link := filepath.Join(base, name), filepath.Join(e.streamsDir(), name, batchesDir)
		if err := os.MkdirAll(target, dirMode); err != nil {
			return err
		}
		// The server removes the directory, or the link of an earlier run, when it
		// starts (server/jetstream.go, EnableJetStream), but not one that nobody used.
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(target, link); err != nil {
			return err
		}
		e.staging.add(link, target)
	}
	return nil
}

func (s *staging) add(link, target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links == nil {
		s.links = map[string]string{}
	}
	s.links[link] = target
}

// keep makes again what somebody removed: without it every batch is refused. Others
// than the server clean up there, such as systemd's logind when a user logs out.
func (s *staging) keep() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, target := range s.links {
		if err := os.MkdirAll(target, dirMode); err != nil {
			return err
		}
	}
	return nil
}

// unstage removes what stage made, once the server has stopped.
func (s *staging) unstage() error {
	if s.base == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := make([]error, 0, len(s.links)+1)
	for link := range s.links {
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	s.links = nil
	return errors.Join(append(errs, os.RemoveAll(s.base))...)
}

func (e *embedded) streamsDir() string {
	return filepath.Join(e.dir, storeDir, "jetstream", coreUser, "streams")
}

// leftStaging are the directories in memory that a run which was killed has
// left. The server needs them when it starts.
func (e *embedded) leftStaging() []string {
	links, _ := filepath.Glob(filepath.Join(e.streamsDir(), "*", batchesDir)) // the pattern is well formed
	var left []string
	for _, link := range links {
		target, err := os.Readlink(link)
		if base := filepath.Dir(target); err == nil && strings.HasPrefix(base, filepath.Join(ramDir, ramPrefix)) {
			left = append(left, base)
		}
	}
	return left
}

func removeAll(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}
