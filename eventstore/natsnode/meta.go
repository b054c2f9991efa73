package natsnode

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
)

// Files of a stream and of a consumer.
const (
	metaFile = "meta.inf"
	metaSum  = "meta.sum"
)

// finishMeta finishes what a crash left undone. The server writes the configuration of a
// stream or a consumer, and then a checksum of it, each of them whole (nats-server 2.15,
// server/filestore.go, writeStreamMeta and writeAtomically). When it starts it passes over
// one whose checksum is missing or another configuration's (server/jetstream.go,
// EnableJetStream), which who makes it anew does not write again: a stream whose making or
// change was cut off between the two took events, and was gone at the next start.
//
// What is no configuration of that name is left to the server.
func (e *embedded) finishMeta(logger *slog.Logger) error {
	streams, _ := filepath.Glob(filepath.Join(e.streamsDir(), "*", metaFile)) // the patterns are well formed
	consumers, _ := filepath.Glob(filepath.Join(e.streamsDir(), "*", "obs", "*", metaFile))
	for _, path := range append(streams, consumers...) {
		finished, err := finishSum(filepath.Dir(path))
		if err != nil {
			return fmt.Errorf("finish %s: %w", path, err)
		}
		if finished {
			logger.Warn("a crash left a configuration without its checksum; it was added", "path", path)
		}
	}
	return nil
}

// finishSum reports whether the checksum in dir, a stream's or a consumer's, had to be written.
func finishSum(dir string) (bool, error) {
	meta, err := os.ReadFile(filepath.Join(dir, metaFile)) //nolint:gosec // in our own data directory
	if err != nil {
		return false, err //nolint:wrapcheck // names the file
	}
	name, key := filepath.Base(dir), filepath.Base(dir)
	if up := filepath.Dir(dir); filepath.Base(up) == "obs" { // a consumer of the stream above
		key = filepath.Base(filepath.Dir(up)) + "/" + name
	}
	if !isConfig(meta, name) {
		return false, nil
	}
	sum, err := sumOf(key, meta)
	if err != nil {
		return false, err
	}
	path := filepath.Join(dir, metaSum)
	have, err := os.ReadFile(path) //nolint:gosec // as above
	if err != nil && !errors.Is(err, fs.ErrNotExist) || string(have) == sum {
		return false, err //nolint:wrapcheck // names the file
	}
	return true, writeWhole(path, []byte(sum))
}

// isConfig reports whether meta is the configuration of a stream or consumer of that name.
func isConfig(meta []byte, name string) bool {
	var config struct {
		Name    string `json:"name"`
		Durable string `json:"durable_name"`
	}
	return json.Unmarshal(meta, &config) == nil && (config.Name == name || config.Durable == name)
}

// sumOf is the server's checksum of a configuration.
func sumOf(key string, meta []byte) (string, error) {
	hashed := sha256.Sum256([]byte(key))
	hash, err := highwayhash.NewDigest64(hashed[:])
	if err != nil {
		return "", err //nolint:wrapcheck // a key of another size
	}
	_, _ = hash.Write(meta) // never fails
	return hex.EncodeToString(hash.Sum(nil)), nil
}
