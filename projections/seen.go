package projections

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
)

// The views' file is written once a second, but what was shown must not be
// forgotten for as long: where the log loses its last events, as by a flipped bit and
// a kill, only who remembers them notices. So what the views have read is written to a
// small file beside theirs, without fsync, which a kill leaves. Its content is
// seenMagic, the CRC-32 of the rest, the log's identity with its length, and for each
// partition that was read its number, sequence and hash, with their count; integers
// are big-endian. A torn one counts for nothing.
const (
	seenSuffix = ".seen"
	seenMagic  = "seen1\n"
)

// seen is what the views have read, on disk without fsync. A nil one notes nothing:
// it is of views that nobody reads yet.
type seen struct{ file *os.File }

func openSeen(views string, fresh bool) (*seen, error) {
	flags := os.O_RDWR | os.O_CREATE
	if fresh { // what is there is of views that are gone
		flags |= os.O_TRUNC
	}
	file, err := os.OpenFile(views+seenSuffix, flags, 0o600) //nolint:gosec // beside the views
	if err != nil {
		return nil, fmt.Errorf("remember what the views have read: %w", err)
	}
	return &seen{file: file}, nil
}

// close may be called again, as bbolt's.
func (s *seen) close() error {
	if s == nil {
		return nil
	}
	if err := s.file.Close(); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	return nil
}

// note writes marks: some microseconds.
func (s *seen) note(identity string, marks []mark) error {
	if s == nil {
		return nil
	}
	body := append([]byte{byte(len(identity))}, identity...) //nolint:gosec // 32 hex digits
	count := len(body)
	body = binary.BigEndian.AppendUint16(body, 0)
	for partition, m := range marks {
		if m.sequence == 0 {
			continue
		}
		body = binary.BigEndian.AppendUint16(body, uint16(partition))
		body = binary.BigEndian.AppendUint64(body, m.sequence)
		body = append(body, m.hash[:]...)
		binary.BigEndian.PutUint16(body[count:], binary.BigEndian.Uint16(body[count:])+1)
	}
	text := binary.BigEndian.AppendUint32([]byte(seenMagic), crc32.ChecksumIEEE(body))
	_, err := s.file.WriteAt(append(text, body...), 0)
	return err
}

const seenEntry = 2 + 8 + hashSize

// read gives back what was noted; nothing when that is torn, or never was.
func (s *seen) read() (identity string, marks map[int]mark, err error) {
	text, err := io.ReadAll(io.NewSectionReader(s.file, 0, 1<<20))
	if err != nil {
		return "", nil, fmt.Errorf("read what the views have read: %w", err)
	}
	const head = len(seenMagic) + 4
	if len(text) < head+1 || string(text[:len(seenMagic)]) != seenMagic {
		return "", nil, nil
	}
	sum, body := binary.BigEndian.Uint32(text[len(seenMagic):]), text[head:]
	entries := 1 + int(body[0]) + 2
	if len(body) < entries {
		return "", nil, nil
	}
	end := entries + seenEntry*int(binary.BigEndian.Uint16(body[entries-2:]))
	if len(body) < end || crc32.ChecksumIEEE(body[:end]) != sum { // behind end may be what a longer one left
		return "", nil, nil
	}
	identity, marks = string(body[1:entries-2]), map[int]mark{}
	for entry := body[entries:end]; len(entry) > 0; entry = entry[seenEntry:] {
		m := mark{sequence: binary.BigEndian.Uint64(entry[2:])}
		copy(m.hash[:], entry[10:])
		marks[int(binary.BigEndian.Uint16(entry))] = m
	}
	return identity, marks, nil
}

// Remembered calls yield with the newest event of each partition that the file
// holds, and then with a newer one where the views are known to have read it: the
// log's identity, the event's sequence and its hash.
func (f *File) Remembered(yield func(log string, partition int, sequence uint64, hash [32]byte)) error {
	return f.Snapshot(func(s *Snapshot) error {
		log, marks, err := f.seen.read()
		if err != nil {
			return err
		}
		if log != s.Log() {
			clear(marks)
		}
		err = s.Marks(func(partition int, sequence uint64, hash [32]byte) {
			yield(s.Log(), partition, sequence, hash)
			if marks[partition].sequence <= sequence {
				delete(marks, partition)
			}
		})
		for partition, m := range marks {
			yield(s.Log(), partition, m.sequence, m.hash)
		}
		return err
	})
}

// exists reports whether there is a file at path.
func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
