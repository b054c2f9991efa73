package stream

import "sync"

const (
	// tailSize is how many messages at most a reader remembers of those that its own
	// process stored, and tailBytes how much of headers and data.
	tailSize  = 4096
	tailBytes = 16 << 20
)

// tail is the newest messages that this process stored, for those who follow the
// stream. The server hands out a message only when it is not syncing the next one: its
// store is locked meanwhile (nats-server 2.15, server/filestore.go, LoadNextMsg and
// flushPendingMsgsLocked), so that with the disk busy a message came one or more fsyncs
// after its acknowledgement. Whoever follows takes what comes next from wherever it is
// first, and passes over what the server hands out again.
type tail struct {
	mu    sync.Mutex
	held  [tailSize]Message // at the rest of its sequence
	bytes int               // of what is held
	low   uint64            // nothing below it is held
	high  uint64            // nor above it
	more  chan struct{}     // closed when there is more, then replaced
}

// Stored tells those who follow the stream that these messages are in it, as the
// server acknowledged them. The reader keeps them; nobody may change them any more.
func (r *Reader) Stored(messages ...Message) {
	t := &r.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range messages {
		t.put(&messages[i])
	}
	for ; t.bytes > tailBytes; t.low++ {
		if place := &t.held[t.low%tailSize]; place.Sequence == t.low {
			t.bytes -= place.size()
			*place = Message{}
		}
	}
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

func (t *tail) put(m *Message) {
	place := &t.held[m.Sequence%tailSize]
	if place.Sequence > m.Sequence {
		return
	}
	t.bytes += m.size() - place.size()
	*place = *m
	t.high = max(t.high, m.Sequence)
	if t.low > m.Sequence || t.low+tailSize <= t.high {
		t.low = t.high - min(t.high, tailSize-1)
	}
}

// size is about what m takes of memory.
func (m *Message) size() int {
	n := len(m.Subject) + len(m.Data) + len(m.RawHeader)
	for key, values := range m.Header {
		n += len(key)
		for _, value := range values {
			n += len(value)
		}
	}
	return n
}

// forget has those who follow take what comes next from the server: after a lost
// connection it may be another, or hold less than it did.
func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held, t.bytes, t.low, t.high = [tailSize]Message{}, 0, 0, 0
}

// changed is closed when there is more than now.
func (t *tail) changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.more == nil {
		t.more = make(chan struct{})
	}
	return t.more
}

// after appends to batch all that follows the sequence last without a hole.
func (t *tail) after(last uint64, batch []Message) []Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		next := &t.held[(last+1)%tailSize]
		if next.Sequence != last+1 {
			return batch
		}
		batch, last = append(batch, *next), next.Sequence
	}
}
