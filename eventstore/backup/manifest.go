package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
)

const (
	manifestFile = "manifest.json"
	fileSuffix   = ".snapshot"
	format       = 1

	fileMode = 0o600
	dirMode  = 0o700
)

// Manifest says what is in a backup.
type Manifest struct {
	Format  int       `json:"format"`
	Created time.Time `json:"created"` // when the backup began
	// Log and Epoch are the log's, Head its last position in the backup.
	Log        string          `json:"log"`
	Epoch      uint64          `json:"epoch"`
	Partitions int             `json:"partitions"`
	Head       domain.Position `json:"head"`
	Events     uint64          `json:"events"`
	// Streams are in the order in which they are restored.
	Streams []Stream `json:"streams"`
	// Checksum is SHA-256, in hex, of the manifest with this field empty.
	Checksum string `json:"checksum"`
}

// Stream is one stream in a backup. Its file is named for it.
type Stream struct {
	Name string `json:"name"`
	// Messages may be one or another less than the state's count in a stream
	// from which messages go while it is copied.
	Messages uint64        `json:"messages"`
	Size     int64         `json:"size"`
	SHA256   string        `json:"sha256"`
	Info     snapshot.Info `json:"info"`
}

func (s *Stream) file() string { return s.Name + fileSuffix }

// Backup is a backup whose every file is as it was written.
type Backup struct {
	Manifest

	dir     string
	lineage eventstore.Lineage
	fresh   bool // of a log that nobody has used yet
}

// sealed is the manifest's text, with its checksum.
func (m Manifest) sealed() ([]byte, error) {
	m.Checksum = ""
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	sum := sha256.Sum256(text)
	m.Checksum = hex.EncodeToString(sum[:])
	if text, err = json.MarshalIndent(m, "", " "); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return append(text, '\n'), nil
}

func (m Manifest) write(dir string) error {
	text, err := m.sealed()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode) //nolint:gosec // the operator names the directory
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	_, werr := f.Write(text)
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	d, err := os.Open(dir) //nolint:gosec // the operator names the directory
	if err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("write the manifest: %w", err)
	}
	return nil
}

// Open reads the manifest of the backup in dir and checks every file against it.
// A file that is not as it was written is an error of kind Corrupt that names it.
func Open(dir string) (*Backup, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifestFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, os.ErrNotExist) {
		return nil, domain.Errorf(domain.NotFound, "%s is not a backup, or one that was not finished: it has no %s", dir, manifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	b := &Backup{dir: dir}
	err = json.Unmarshal(text, &b.Manifest)
	if err == nil && b.Format != format {
		return nil, domain.Errorf(domain.Invalid, "backup %s has format %d: this Comanda reads %d", dir, b.Format, format)
	}
	if err == nil {
		var sealed []byte
		if sealed, err = b.sealed(); err == nil && !bytes.Equal(sealed, text) {
			err = errors.New("its checksum is another")
		}
	}
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "backup %s: %s was changed: %w", dir, manifestFile, err)
	}
	for i := range b.Streams {
		if err := b.check(&b.Streams[i]); err != nil {
			return nil, err
		}
	}
	if b.lineage, err = b.readLineage(); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "backup %s: %w", dir, err)
	}
	return b, nil
}

// check compares a file with the manifest.
func (b *Backup) check(s *Stream) error {
	f, err := b.open(s)
	if err != nil {
		return domain.Errorf(domain.Corrupt, "backup %s: %w", b.dir, err)
	}
	defer func() { _ = f.Close() }()
	hash := sha256.New()
	size, err := io.Copy(hash, f)
	switch {
	case err != nil:
		return fmt.Errorf("read backup %s: %w", b.dir, err)
	case size != s.Size:
		return domain.Errorf(domain.Corrupt, "backup %s: %s has %d bytes, should have %d", b.dir, s.file(), size, s.Size)
	case hex.EncodeToString(hash.Sum(nil)) != s.SHA256:
		return domain.Errorf(domain.Corrupt, "backup %s: %s was changed: its SHA-256 is another", b.dir, s.file())
	}
	return nil
}

func (b *Backup) open(s *Stream) (*os.File, error) {
	return os.Open(filepath.Join(b.dir, s.file())) //nolint:wrapcheck // names the file
}

// stream is the stream of this name; nil when the backup has none.
func (m *Manifest) stream(name string) *Stream {
	for i := range m.Streams {
		if m.Streams[i].Name == name {
			return &m.Streams[i]
		}
	}
	return nil
}

// readLineage is who the log is, by the first partition's metadata.
func (m *Manifest) readLineage() (eventstore.Lineage, error) {
	first := m.stream(eventstore.OrdersStream(0))
	if first == nil {
		return eventstore.Lineage{}, domain.Errorf(domain.Corrupt, "there is no %s", eventstore.OrdersStream(0))
	}
	var config struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(first.Info.Config, &config); err != nil {
		return eventstore.Lineage{}, domain.Errorf(domain.Corrupt, "configuration of %s: %w", first.Name, err)
	}
	return eventstore.ParseLineage(config.Metadata) //nolint:wrapcheck // it names the stream
}
