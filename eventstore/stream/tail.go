package stream

import (
	"cmp"
	"sync"
	"sync/atomic"
)

const (
	// tailSize is how many messages a reader remembers of those that its own process
	// stored, unless [Reader.Remember] says otherwise, and tailEach how much memory each
	// may take on average.
	tailSize = 4096
	tailEach = 4 << 10
	// headerSize is about what the map of a header takes, besides its texts.
	headerSize = 450
	// madeSize is about what that takes which is made of a message.
	madeSize = 2 << 10
)

// tail is the newest messages that this process stored, for those who follow the
// stream. The server hands out a message only when it is not syncing the next one: its
// store is locked meanwhile (nats-server 2.15, server/filestore.go, LoadNextMsg and
// flushPendingMsgsLocked), so that with the disk busy a message came one or more fsyncs
// after its acknowledgement. Whoever follows takes what comes next from wherever it is
// first, and passes over what the server hands out again.
type tail struct {
	mu    sync.Mutex
	size  int           // messages; 0: tailSize
	held  []Message     // each at the rest of its sequence; nil before the first
	bytes int           // of what is held
	low   uint64        // nothing below it is held
	high  uint64        // nor above it
	more  chan struct{} // closed when there is more, then replaced
}

// Remember has the reader remember so many messages of those that its process stores,
// before it stores any.
func (r *Reader) Remember(messages int) {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	r.tail.size = messages
}

// Stored tells those who follow the stream that these messages are in it, as the
// server acknowledged them. The reader keeps them; nobody may change them any more.
func (r *Reader) Stored(messages ...Message) {
	t := &r.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held == nil {
		t.held = make([]Message, cmp.Or(t.size, tailSize))
	}
	for i := range messages {
		t.put(&messages[i])
	}
	for ; t.bytes > tailEach*len(t.held) && t.low <= t.high; t.low++ {
		if place := t.place(t.low); place.Sequence == t.low {
			t.bytes -= place.size()
			*place = Message{}
		}
	}
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
}

// place is where the message of a sequence is, if it is held.
func (t *tail) place(sequence uint64) *Message { return &t.held[sequence%uint64(len(t.held))] }

func (t *tail) put(m *Message) {
	size := uint64(len(t.held))
	place := t.place(m.Sequence)
	if place.Sequence > m.Sequence || m.Sequence+size <= t.high { // too late
		return
	}
	t.bytes -= place.size()
	*place = *m
	place.Made = new(atomic.Value)
	t.bytes += place.size()
	t.high = max(t.high, m.Sequence)
	if t.low > m.Sequence || t.low+size <= t.high {
		t.low = t.high - min(t.high, size-1)
	}
}

// size is about what m takes of memory.
func (m *Message) size() int {
	n := len(m.Subject) + len(m.Data) + len(m.RawHeader)
	if m.Header != nil {
		n += headerSize
	}
	if m.Made != nil {
		n += madeSize
	}
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
	clear(t.held)
	t.bytes, t.low, t.high = 0, 0, 0
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

// after appends to batch what follows the sequence last without a hole, up to most
// messages, and says whether something is held behind a hole.
func (t *tail) after(last uint64, batch []Message, most int) (_ []Message, hole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.held != nil && len(batch) < most {
		next := t.place(last + 1)
		if next.Sequence != last+1 {
			return batch, t.high > last
		}
		batch, last = append(batch, *next), next.Sequence
	}
	return batch, false
}
