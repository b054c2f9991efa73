package scrub

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"comanda.internal/domain"
)

// Memory is what a scrub remembers across restarts. The zero value remembers nothing.
type Memory struct {
	Log   string `json:"log"` // whose memory it is, with Epoch
	Epoch uint64 `json:"epoch"`
	// Marks are the furthest events that were proven, one a partition.
	Marks []Mark `json:"verified"`
	// VerifiedAt is when something was proven last.
	VerifiedAt time.Time `json:"verified_at"`
	// Cursor is how far the present round is, which began at RoundBegan.
	Cursor     domain.Position `json:"cursor"`
	RoundBegan time.Time       `json:"round_began"`
	// Found counts the problems of this round, Before those of the last; First
	// is one of them in words.
	Found  uint64 `json:"problems_found"`
	Before uint64 `json:"problems_before"`
	First  string `json:"first_problem"`
}

// Mark is an event by its place and the SHA-256 of its stored bytes.
type Mark struct {
	Partition int    `json:"partition"`
	Sequence  uint64 `json:"sequence"`
	Hash      Hash   `json:"hash"`
}

// Hash is hexadecimal in the file.
type Hash [32]byte

// MarshalText writes h in hexadecimal.
func (h Hash) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(h[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return domain.Errorf(domain.Corrupt, "hash %q: not 32 bytes in hexadecimal", text)
	}
	copy(h[:], b)
	return nil
}

// Load reads the file at path; without one it is the zero Memory. A file that
// cannot be read as one is an error of kind Corrupt.
func Load(path string) (Memory, error) {
	var m Memory
	text, err := os.ReadFile(path) //nolint:gosec // named by cmd, in the data directory
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("read what the scrub remembers: %w", err)
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Memory{}, domain.Errorf(domain.Corrupt, "read what the scrub remembers in %s: %w", path, err)
	}
	return m, nil
}

// save replaces the file at path, whole or not at all.
func (m *Memory) save(path string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // as in Load
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// mark remembers the event at a place, unless one further on is known.
func (m *Memory) mark(partition int, sequence uint64, hash [32]byte) {
	for i := range m.Marks {
		if m.Marks[i].Partition == partition {
			if m.Marks[i].Sequence < sequence {
				m.Marks[i] = Mark{partition, sequence, hash}
			}
			return
		}
	}
	m.Marks = append(m.Marks, Mark{partition, sequence, hash})
}
