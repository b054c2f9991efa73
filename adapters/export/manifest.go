package export

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/domain"
)

// ManifestFile is the manifest's name in its directory.
const ManifestFile = "manifest.json"

const manifestVersion = 1

// Manifest says what a directory holds of which log, and how far it is.
type Manifest struct {
	Version int    `json:"version"`
	Log     string `json:"log"` // identity
	Epoch   uint64 `json:"epoch"`
	Format  string `json:"format"`
	// SegmentEvents are how many sequences of a partition are written at a time.
	SegmentEvents  uint64   `json:"segment_events"`
	MachineVersion uint32   `json:"machine_version"` // that folded
	Tables         []string `json:"tables"`
	Filter         Filter   `json:"filter"`

	After    domain.Position `json:"after"`
	Through  domain.Position `json:"through"`
	Complete bool            `json:"complete"`

	// Revealed are the records of the personal data that is in it.
	Revealed []Revealed `json:"revealed,omitempty"`

	Segments []Segment `json:"segments"`
	// Folded says that the tables of orders' folds are there, as of Through.
	Folded bool `json:"folded"`
	// LeftOut are the events that are not in them, for they cannot follow their orders'
	// histories.
	LeftOut uint64 `json:"left_out,omitzero"`
	Files   []File `json:"files"`
}

// Segment is a range of one partition that was read and written.
type Segment struct {
	Partition int    `json:"partition"`
	After     uint64 `json:"after"`
	Through   uint64 `json:"through"`
}

// File is one file of rows. Path is below the directory, with slashes.
type File struct {
	Table string `json:"table"`
	Path  string `json:"path"`
	Rows  int64  `json:"rows"`
	// First and Last are the least and the greatest recorded time of its rows.
	First  time.Time `json:"first_recorded_at"`
	Last   time.Time `json:"last_recorded_at"`
	Bytes  int64     `json:"bytes"`
	SHA256 string    `json:"sha256"`
}

// Rows are how many rows of table there are.
func (m *Manifest) Rows(table string) int64 {
	var n int64
	for i := range m.Files {
		if m.Files[i].Table == table {
			n += m.Files[i].Rows
		}
	}
	return n
}

// reached is the last sequence of partition that was written without a hole.
func (m *Manifest) reached(partition int) uint64 {
	at := m.After.At(partition)
	for _, s := range m.Segments {
		if s.Partition == partition && s.After == at {
			at = s.Through
		}
	}
	return at
}

// ReadManifest reads that of dir. An error of kind NotFound: there is none.
func ReadManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	text, err := os.ReadFile(path) //nolint:gosec // the directory that the caller names
	if os.IsNotExist(err) {
		return nil, domain.Errorf(domain.NotFound, "%s holds no export: there is no %s", dir, ManifestFile)
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // names the file
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "read %s: %w", path, err)
	}
	if m.Version != manifestVersion {
		return nil, domain.Errorf(domain.Refused, "%s is of version %d, not %d", path, m.Version, manifestVersion)
	}
	return m, nil
}

// save replaces the manifest of dir, durably.
func (m *Manifest) save(dir string) error {
	text, err := json.Marshal(m, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("write %s: %w", ManifestFile, err)
	}
	path := filepath.Join(dir, ManifestFile)
	if err := writeSynced(path+".tmp", append(text, '\n')); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err //nolint:wrapcheck // names the file
	}
	return syncPath(dir)
}

func writeSynced(path string, text []byte) (err error) {
	f, err := os.Create(path) //nolint:gosec // the directory that the caller names
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err //nolint:wrapcheck // names the file
}

// Check holds the files of dir to its manifest, and the manifest to itself, and
// hands every problem to report, a line each.
func Check(dir string, report func(problem string)) (*Manifest, error) {
	m, err := ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	m.checkRanges(report)
	listed := make(map[string]bool, len(m.Files))
	for i := range m.Files {
		f := &m.Files[i]
		if listed[f.Path] {
			report(f.Path + ": listed twice")
		}
		listed[f.Path] = true
		if problem := f.check(dir); problem != "" {
			report(f.Path + ": " + problem)
		}
	}
	for _, table := range m.Tables {
		err := filepath.WalkDir(filepath.Join(dir, table), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			inside, err := filepath.Rel(dir, path)
			if name := filepath.ToSlash(inside); err == nil && !listed[name] {
				report(name + ": not listed")
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			return nil, err //nolint:wrapcheck // names the file
		}
	}
	return m, nil
}

// checkRanges says where the manifest contradicts itself.
func (m *Manifest) checkRanges(report func(string)) {
	if !m.Complete {
		report(ManifestFile + ": not complete: the export was interrupted; run it again")
		return
	}
	var events int64
	ofLog := slices.ContainsFunc(m.Tables, isOfLog)
	for p := range m.Through.Partitions() {
		from, to := m.After.At(p), max(m.After.At(p), m.Through.At(p))
		if got := m.reached(p); ofLog && got != to {
			report(fmt.Sprintf("%s: partition %d ends at %d, not at %d", ManifestFile, p, got, to))
		}
		events += int64(to - from) //nolint:gosec // a count
	}
	if slices.Contains(m.Tables, TableEvents) && m.Filter.isZero() && m.Rows(TableEvents) != events {
		report(fmt.Sprintf("%s: %d events of %d", ManifestFile, m.Rows(TableEvents), events))
	}
}

// check says what is wrong with the file; "" when nothing is.
func (f *File) check(dir string) string {
	if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
		return "outside of the directory"
	}
	file, err := os.Open(filepath.Join(dir, filepath.FromSlash(f.Path))) //nolint:gosec // it is local to the directory
	if os.IsNotExist(err) {
		return "missing"
	}
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	n, err := io.Copy(hash, file)
	switch {
	case err != nil:
		return err.Error()
	case n != f.Bytes:
		return fmt.Sprintf("%d bytes, not %d", n, f.Bytes)
	case hex.EncodeToString(hash.Sum(nil)) != strings.ToLower(f.SHA256):
		return "its SHA-256 differs"
	}
	return ""
}
