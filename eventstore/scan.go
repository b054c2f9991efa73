package eventstore

import (
	"context"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore/stream"
)

// scanned are messages that were read and decoded, while those before them are
// checked.
type scanned struct {
	messages []stream.Message
	events   []domain.Recorded
	texts    []string
	broken   []error
	contents []order.Content // when they are verified
}

// read is one message, and its event.
type read struct {
	message *stream.Message
	event   *domain.Recorded
	text    string         // see decode
	broken  error          // why it is no event; nil: it is
	content *order.Content // nil: not known
}

// scansAhead is how many of them there are; each has a thousand messages at most.
const scansAhead = 4

// Scan hands every event of a partition after the sequence after and up to upTo to
// handle, in order, while the next ones are read and decoded. It returns the error
// of handle, or one of kind Corrupt: an event that cannot be read, or one that is
// missing. Whether an event belongs where it is, Verify says.
//
// The event is valid until handle returns; what it points to stays.
func (l *Log) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	if partition < 0 || partition >= len(l.readers) {
		return domain.Errorf(domain.Invalid, "partition %d: the log has %d", partition, len(l.readers))
	}
	last := after
	_, err := l.scan(ctx, partition, after, upTo, false, func(r *read) error {
		sequence := r.message.Sequence
		if sequence != last+1 {
			return eventsMissing(partition, last, sequence)
		}
		if r.broken != nil {
			return domain.Errorf(domain.Corrupt, "%s at %d: %w", OrdersStream(partition), sequence, r.broken)
		}
		last = sequence
		return handle(r.event)
	})
	if err == nil && last < upTo {
		return eventsMissing(partition, last, upTo+1)
	}
	return err
}

func eventsMissing(partition int, last, next uint64) error {
	return domain.Errorf(domain.Corrupt, "%s: sequence %d follows %d: events are missing", OrdersStream(partition), next, last)
}

// scan reads in one goroutine, decodes in another and calls check, whose error ends it, in the
// caller's, with each message and its event, or why it is none. The event is valid until check
// returns. What is verified comes with its content, and what it points to is valid no longer, but
// for its texts. damaged is as in [Log.read].
func (l *Log) scan(
	ctx context.Context, p int, since, head uint64, verified bool, check func(*read) error,
) (damaged uint64, err error) {
	if since >= head {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	free, taken, decoded := make(chan *scanned, scansAhead), make(chan *scanned, scansAhead), make(chan *scanned, scansAhead)
	for range scansAhead {
		free <- new(scanned)
	}
	ended := make(chan error, 1)
	go func() {
		defer close(taken)
		var err error
		damaged, err = l.read(ctx, p, since, head, verified, func(ms []stream.Message) error {
			s := <-free // checked, or left over
			s.messages = append(s.messages[:0], ms...)
			taken <- s // there is room for all of them
			return ctx.Err()
		})
		ended <- err
	}()
	go func() {
		defer close(decoded)
		for s := range taken {
			s.decode(p, verified)
			decoded <- s
		}
	}()
	for s := range decoded {
		for i := 0; i < len(s.messages) && err == nil; i++ {
			err = check(s.read(i))
		}
		if err != nil {
			cancel() // what was read meanwhile is passed over
		}
		free <- s
	}
	if failed := <-ended; err == nil {
		err = failed
	}
	return damaged, err
}

// decode takes the place of what s held, but for its messages.
func (s *scanned) decode(p int, verified bool) {
	ms := s.messages
	s.texts, s.broken, s.contents = s.texts[:0], s.broken[:0], s.contents[:0]
	if len(s.events) < len(ms) {
		s.events = make([]domain.Recorded, len(ms))
	}
	for i := range ms {
		text, broken := decode(p, &ms[i], &s.events[i])
		s.texts, s.broken = append(s.texts, text), append(s.broken, broken)
		if verified {
			s.contents = append(s.contents, order.ContentOf(&s.events[i].Event))
		}
	}
}

func (s *scanned) read(i int) *read {
	r := &read{message: &s.messages[i], event: &s.events[i], text: s.texts[i], broken: s.broken[i]}
	if i < len(s.contents) {
		r.content = &s.contents[i]
	}
	return r
}
