package stream

import "sync"

// tailSize is how many messages a reader remembers of those that its own process stored.
const tailSize = 1024

// tail is the newest messages that this process stored, for those who follow the
// stream. The server hands out a message only when it is not syncing the next one: its
// store is locked meanwhile (nats-server 2.15, server/filestore.go, LoadNextMsg and
// flushPendingMsgsLocked), so that with the disk busy a message came one or more fsyncs
// after its acknowledgement. Whoever follows takes what comes next from wherever it is
// first, and passes over what the server hands out again.
type tail struct {
	mu   sync.Mutex
	held [tailSize]Message // at the rest of its sequence
	more chan struct{}     // closed when there is more, then replaced
}

// Stored tells those who follow the stream that these messages are in it, as the
// server acknowledged them. The reader keeps them; nobody may change them any more.
func (r *Reader) Stored(messages ...Message) {
	t := &r.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range messages {
		place := &t.held[messages[i].Sequence%tailSize]
		if place.Sequence <= messages[i].Sequence {
			*place = messages[i]
		}
	}
	if t.more != nil {
		close(t.more)
		t.more = nil
	}
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
