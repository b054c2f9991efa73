package eventstore

import (
	"context"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// scanned are messages that were read and decoded, while those before them are
// checked.
type scanned struct {
	messages []stream.Message
	events   []domain.Recorded
	broken   []error
}

// scansAhead is how many of them there are; each has a thousand messages at most.
const scansAhead = 3

// scan reads and decodes in one goroutine and calls check, whose error ends it, in the
// caller's, with each message and its event, or why it is none. The event is valid until check
// returns.
func (v *verification) scan(
	p int, since, head uint64, check func(m *stream.Message, r *domain.Recorded, broken error) error,
) error {
	ctx, cancel := context.WithCancel(v.ctx)
	defer cancel()
	read, free := make(chan *scanned), make(chan *scanned, scansAhead)
	for range scansAhead {
		free <- new(scanned)
	}
	ended := make(chan error, 1)
	go func() {
		defer close(read)
		ended <- v.log.readers[p].Scan(ctx, since, head, nil, func(ms []stream.Message) error {
			s := <-free // checked, or left over
			s.decode(p, ms)
			select {
			case read <- s:
				return nil
			case <-ctx.Done():
				free <- s
				return ctx.Err()
			}
		})
	}()
	var err error
	for s := range read {
		for i := 0; i < len(s.messages) && err == nil; i++ {
			err = check(&s.messages[i], &s.events[i], s.broken[i])
		}
		if err != nil {
			cancel() // what was read meanwhile is passed over
		}
		free <- s
	}
	if failed := <-ended; err == nil {
		err = failed
	}
	return err
}

// decode takes the place of what s held.
func (s *scanned) decode(p int, ms []stream.Message) {
	s.messages = append(s.messages[:0], ms...)
	s.broken = s.broken[:0]
	if len(s.events) < len(ms) {
		s.events = make([]domain.Recorded, len(ms))
	}
	for i := range ms {
		s.broken = append(s.broken, decode(p, &ms[i], &s.events[i]))
	}
}
