package blocks

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

const (
	messagesDir = "msgs"
	suffix      = ".blk"

	fixedSize    = 22      // of a record, before the subject
	lengthSize   = 4       // of the header's length
	checksumSize = 8       // at a record's end
	hasHeader    = 1 << 31 // in a record's length
	mostRecord   = 32 << 20

	readSize = 256 << 10
)

var headerEnd = []byte("\r\n\r\n")

// Reader reads one stream from one sequence on. It is not safe for concurrent use.
type Reader struct {
	dir, stream string
	blocks      []uint32 // after the open one
	next        uint64   // sequence

	file     *os.File
	in       *bufio.Reader
	checksum hash.Hash64
	large    []byte // a record that in has no room for
}

// Open begins after the sequence after of the named stream, which is kept in dir. Errors of
// what the files hold are of kind Corrupt, here and in Next.
func Open(dir, name string, after uint64) (*Reader, error) {
	entries, err := os.ReadDir(filepath.Join(dir, messagesDir))
	if err != nil {
		return nil, fmt.Errorf("read the blocks of %s: %w", name, err)
	}
	r := &Reader{dir: filepath.Join(dir, messagesDir), stream: name, next: after + 1, in: bufio.NewReaderSize(nil, readSize)}
	for _, e := range entries {
		index, isBlock := strings.CutSuffix(e.Name(), suffix)
		if n, err := strconv.ParseUint(index, 10, 32); isBlock && err == nil {
			r.blocks = append(r.blocks, uint32(n))
		}
	}
	slices.Sort(r.blocks)
	if err := r.seek(after + 1); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err //nolint:wrapcheck // names the file
}

// seek opens the block that holds a sequence, and goes to its record.
func (r *Reader) seek(sequence uint64) error {
	var failed error
	after, _ := slices.BinarySearchFunc(r.blocks, sequence, func(block uint32, sequence uint64) int {
		first, err := r.first(block)
		if err != nil {
			failed = err
		}
		if first <= sequence {
			return -1
		}
		return 1
	})
	if failed != nil {
		return failed
	}
	r.blocks = r.blocks[max(after-1, 0):]
	if err := r.open(); err != nil {
		return r.end(err)
	}
	for {
		fixed, err := r.in.Peek(fixedSize)
		if err != nil || binary.LittleEndian.Uint64(fixed[4:]) >= sequence {
			return r.end(err)
		}
		size, err := sizeOf(fixed)
		if err != nil {
			return r.corrupt(err)
		}
		if _, err := r.in.Discard(size); err != nil {
			return r.end(err)
		}
	}
}

// end is err but for the end of a file, of which Next tells.
func (r *Reader) end(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read the blocks of %s: %w", r.stream, err)
}

// first is the first sequence of a block; of an empty one that of none.
func (r *Reader) first(block uint32) (uint64, error) {
	f, err := os.Open(r.path(block))
	if err != nil {
		return 0, fmt.Errorf("read the blocks of %s: %w", r.stream, err)
	}
	defer func() { _ = f.Close() }()
	var fixed [fixedSize]byte
	switch _, err := io.ReadFull(f, fixed[:]); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return math.MaxUint64, nil
	case err != nil:
		return 0, fmt.Errorf("read the blocks of %s: %w", r.stream, err)
	}
	return binary.LittleEndian.Uint64(fixed[4:]), nil
}

func (r *Reader) path(block uint32) string {
	return filepath.Join(r.dir, strconv.FormatUint(uint64(block), 10)+suffix)
}

// open opens the next block. [io.EOF] says that there is none.
func (r *Reader) open() error {
	if err := r.Close(); err != nil {
		return err
	}
	if len(r.blocks) == 0 {
		return io.EOF
	}
	block := r.blocks[0]
	r.blocks = r.blocks[1:]
	file, err := os.Open(r.path(block))
	if err != nil {
		return err //nolint:wrapcheck // names the file
	}
	r.file = file
	r.in.Reset(file)
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", r.stream, block)) // server/filestore.go, hashKeyForBlock
	r.checksum, err = highwayhash.NewDigest64(key[:])
	return err //nolint:wrapcheck // cannot be: the key has the right size
}

// Next is the next message. Its header and its data are in memory that take has given for
// the size of both. [io.EOF] says that the files hold no more.
func (r *Reader) Next(take func(size int) []byte) (stream.Message, error) {
	record, err := r.record()
	if err != nil {
		return stream.Message{}, err
	}
	m, err := r.message(record, take)
	if err != nil {
		return stream.Message{}, r.corrupt(err)
	}
	r.next++
	return m, nil
}

// record is the bytes of the next record, valid until the one after it is read.
func (r *Reader) record() ([]byte, error) {
	for {
		if r.file == nil {
			if err := r.open(); err != nil {
				return nil, err
			}
		}
		fixed, err := r.in.Peek(fixedSize)
		if errors.Is(err, io.EOF) && len(fixed) == 0 {
			if err := r.Close(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, r.corrupt(err)
		}
		size, err := sizeOf(fixed)
		if err != nil {
			return nil, r.corrupt(err)
		}
		return r.take(size)
	}
}

// take is the next size bytes.
func (r *Reader) take(size int) ([]byte, error) {
	if size > r.in.Size() {
		r.large = slices.Grow(r.large[:0], size)[:size]
		if _, err := io.ReadFull(r.in, r.large); err != nil {
			return nil, r.corrupt(err)
		}
		return r.large, nil
	}
	record, err := r.in.Peek(size)
	if err != nil {
		return nil, r.corrupt(err)
	}
	_, err = r.in.Discard(size) // what was peeked stays until the next read
	return record, err          //nolint:wrapcheck // cannot be: it was peeked
}

// sizeOf is the size of the record that begins with fixed.
func sizeOf(fixed []byte) (int, error) {
	size := int(binary.LittleEndian.Uint32(fixed) &^ hasHeader)
	if size < fixedSize+checksumSize || size > mostRecord {
		return 0, domain.Errorf(domain.Corrupt, "a record of %d bytes", size)
	}
	return size, nil
}

// message is a record that proves itself.
func (r *Reader) message(record []byte, take func(size int) []byte) (stream.Message, error) {
	rest := record[fixedSize : len(record)-checksumSize]
	subject := int(binary.LittleEndian.Uint16(record[20:]))
	begin := subject + lengthSize
	if binary.LittleEndian.Uint32(record)&hasHeader == 0 || begin > len(rest) {
		return stream.Message{}, domain.Errorf(domain.Corrupt, "a record of %d bytes with a subject of %d, or without a header", len(record), subject)
	}
	header, content := int(binary.LittleEndian.Uint32(rest[subject:])), rest[begin:]
	if header > len(content) || !bytes.HasSuffix(content[:header], headerEnd) { // which no checksum tells, nor where a subject ends
		return stream.Message{}, domain.Errorf(domain.Corrupt, "a record of %d bytes with a header of %d", len(record), header)
	}
	r.checksum.Reset()
	for _, part := range [][]byte{record[4:20], rest[:subject], content} {
		_, _ = r.checksum.Write(part) // never fails
	}
	var sum [checksumSize]byte
	if !bytes.Equal(r.checksum.Sum(sum[:0]), record[len(record)-checksumSize:]) {
		return stream.Message{}, domain.Errorf(domain.Corrupt, "a checksum is wrong")
	}
	sequence := binary.LittleEndian.Uint64(record[4:])
	if sequence != r.next { // or it is marked as erased, or tells of one that was
		return stream.Message{}, domain.Errorf(domain.Corrupt, "a record with sequence %d", sequence)
	}
	body := take(len(content))
	copy(body, content)
	return stream.Message{
		Subject: string(rest[:subject]), Sequence: sequence, RawHeader: body[:header:header], Data: body[header:],
	}, nil
}

// corrupt is err with its place.
func (r *Reader) corrupt(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // Next has another meaning for the other
	}
	return domain.Errorf(domain.Corrupt, "block files of %s at sequence %d: %w", r.stream, r.next, err)
}
