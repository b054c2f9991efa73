package snapshot

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/archive"

	"comanda.internal/domain"
)

const (
	stateEntry     = "state.json"
	consumerPrefix = "consumers/"
	// mostEntry bounds one entry: what a server takes as a payload at the most.
	mostEntry = 64 << 20
	// readSize is of the reads from the decompressor; those of an archive's reader are of two pages.
	readSize = 64 << 10
)

// Consumer is a consumer and how far it is.
type Consumer = server.SnapshotConsumerState

// Message is a stored message. Its Body is the header's bytes, then the data's.
type Message struct {
	Subject  string
	Sequence uint64
	Time     int64 // Unix nanoseconds
	Header   int   // bytes of Body that are the header
	Body     []byte
}

// Reader reads a snapshot: its state and consumers at once, then its messages.
type Reader struct {
	State     State
	Consumers []Consumer

	archive *archive.Reader
	last    uint64
	seen    uint64
	buf     []byte
	take    func(size int) []byte // nil: buf is used again
}

// NewReader reads r up to the first message. Errors of what r holds are of kind Corrupt.
func NewReader(r io.Reader) (*Reader, error) {
	s := &Reader{archive: archive.NewReader(bufio.NewReaderSize(s2.NewReader(r), readSize))}
	if err := s.entry(stateEntry, &s.State); err != nil {
		return nil, err
	}
	for range s.State.Consumers {
		var c Consumer
		if err := s.entry(consumerPrefix, &c); err != nil {
			return nil, err
		}
		if c.ConsumerConfig == nil || c.ConsumerState == nil {
			return nil, domain.Errorf(domain.Corrupt, "a consumer without configuration or state")
		}
		s.Consumers = append(s.Consumers, c)
	}
	return s, nil
}

// entry reads a JSON entry whose name begins with prefix.
func (s *Reader) entry(prefix string, into any) error {
	header, err := s.archive.Next()
	if err != nil {
		return corrupt(err)
	}
	if !strings.HasPrefix(header.Name, prefix) || header.Sequence != 0 {
		return domain.Errorf(domain.Corrupt, "%q where %s should be", header.Name, prefix)
	}
	if err := s.body(header); err != nil {
		return err
	}
	if err := json.Unmarshal(s.buf, into); err != nil {
		return domain.Errorf(domain.Corrupt, "%s: %w", header.Name, err)
	}
	return nil
}

func (s *Reader) body(header *archive.Header) error {
	size := header.HeaderSize + header.PayloadSize
	if size > mostEntry {
		return domain.Errorf(domain.Corrupt, "an entry of %d bytes", size)
	}
	switch {
	case s.take != nil:
		s.buf = s.take(int(size))
	case int64(cap(s.buf)) < size:
		s.buf = make([]byte, size)
	default:
		s.buf = s.buf[:size]
	}
	if _, err := io.ReadFull(s.archive, s.buf); err != nil {
		return corrupt(err)
	}
	return nil
}

// Into is Next, and the message's body is in memory that take has given for its size.
func (s *Reader) Into(take func(size int) []byte) (Message, error) {
	s.take = take
	return s.Next()
}

// Next is the next message, whose body holds until the next call; io.EOF after
// the last, when the snapshot was whole: as many messages as its state says, and
// the end mark.
func (s *Reader) Next() (Message, error) {
	header, err := s.archive.Next()
	if err != nil {
		return Message{}, corrupt(err)
	}
	if header.Sequence == 0 && header.Name == "" {
		// A message that is deleted while the server copies it is counted and not copied.
		if s.seen > s.State.Messages {
			return Message{}, domain.Errorf(domain.Corrupt, "%d messages, %d at the most", s.seen, s.State.Messages)
		}
		return Message{}, io.EOF
	}
	if header.Sequence <= s.last || header.Sequence > s.State.Last {
		return Message{}, domain.Errorf(domain.Corrupt, "message %d after %d of %d", header.Sequence, s.last, s.State.Last)
	}
	s.last = header.Sequence
	s.seen++
	if err := s.body(header); err != nil {
		return Message{}, err
	}
	return Message{
		Subject: header.Name, Sequence: header.Sequence, Time: header.Timestamp, Header: int(header.HeaderSize), Body: s.buf,
	}, nil
}

// corrupt is err of reading an archive; what ends too early was cut short.
func corrupt(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return domain.Errorf(domain.Corrupt, "it is cut short")
	}
	return domain.Errorf(domain.Corrupt, "it cannot be read: %w", err)
}

// Writer writes a snapshot.
type Writer struct {
	compressor *s2.Writer
	archive    *archive.Writer
}

// NewWriter begins a snapshot of a stream with this state and these consumers.
func NewWriter(w io.Writer, state State, consumers []Consumer) (*Writer, error) {
	compressor := s2.NewWriter(w, s2.WriterConcurrency(1))
	s := &Writer{compressor: compressor, archive: archive.NewWriter(compressor)}
	state.Consumers = len(consumers)
	if err := s.entry(stateEntry, state); err != nil {
		return nil, err
	}
	for _, c := range consumers {
		if err := s.entry(consumerPrefix+name(c), c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func name(c Consumer) string {
	if c.Durable != "" {
		return c.Durable
	}
	return c.Name
}

func (s *Writer) entry(name string, content any) error {
	body, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return s.write(&archive.Header{Name: name, PayloadSize: int64(len(body))}, body)
}

func (s *Writer) write(header *archive.Header, body []byte) error {
	if err := s.archive.WriteHeader(header); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	if _, err := s.archive.Write(body); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	return nil
}

// Write adds a message.
func (s *Writer) Write(m Message) error {
	return s.write(&archive.Header{
		Name: m.Subject, Sequence: m.Sequence, Timestamp: m.Time,
		HeaderSize: int64(m.Header), PayloadSize: int64(len(m.Body) - m.Header),
	}, m.Body)
}

// Close ends the snapshot with its mark. It does not close what it writes to.
func (s *Writer) Close() error {
	if err := s.write(&archive.Header{}, nil); err != nil {
		return err
	}
	if err := s.compressor.Close(); err != nil {
		return fmt.Errorf("write a snapshot: %w", err)
	}
	return nil
}
