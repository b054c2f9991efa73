package eventstore

import (
	"container/list"
	"context"
	"sync"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore/privacy"
)

// slot is what is remembered of one order. Whoever holds it is alone with the
// order in this process; nothing else is locked meanwhile.
type slot struct {
	busy  chan struct{} // holds one value while the slot is held
	users int           // holders and those who wait; guarded by the shard

	element *list.Element // in the shard's order of use; guarded by the shard
	weight  int           // as counted by the shard

	known     bool // what follows is the log's, not an assumption
	history   *order.History
	sequences []uint64 // of the events, by revision
	lastHash  [32]byte
	keyID     string
	key       *privacy.Key // nil: not looked up yet
}

// expected is the sequence after which the order's next event is appended.
func (s *slot) expected() uint64 {
	if len(s.sequences) == 0 {
		return 0
	}
	return s.sequences[len(s.sequences)-1]
}

// forget makes the order unknown again: it is assumed new until a conflict says otherwise.
func (s *slot) forget() {
	s.known, s.history, s.sequences, s.lastHash, s.keyID, s.key = false, nil, nil, [32]byte{}, "", nil
}

// histories remembers orders, up to a number of events, and forgets the least
// recently used.
type histories struct {
	shards [historyShards]historyShard
	limit  int // events a shard
}

const historyShards = 64

type historyShard struct {
	mu     sync.Mutex
	slots  map[domain.OrderID]*slot
	idle   *list.List // of domain.OrderID, the last used first
	weight int        // of the idle slots
}

func newHistories(events int) *histories {
	h := &histories{limit: max(1, events/historyShards)}
	for i := range h.shards {
		h.shards[i].slots = make(map[domain.OrderID]*slot)
		h.shards[i].idle = list.New()
	}
	return h
}

func (h *histories) shard(id domain.OrderID) *historyShard {
	return &h.shards[id.Slot()%historyShards]
}

// hold waits until this order is the caller's alone, or ctx ends.
func (h *histories) hold(ctx context.Context, id domain.OrderID) (*slot, error) {
	shard := h.shard(id)
	shard.mu.Lock()
	s := shard.slots[id]
	if s == nil {
		s = &slot{busy: make(chan struct{}, 1)}
		shard.slots[id] = s
	}
	if s.element != nil {
		shard.idle.Remove(s.element)
		s.element, shard.weight = nil, shard.weight-s.weight
	}
	s.users++
	shard.mu.Unlock()
	select {
	case s.busy <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		h.leave(id, s)
		return nil, domain.Errorf(domain.Unavailable, "wait for %s: %w", id, ctx.Err())
	}
}

// release gives the order back.
func (h *histories) release(id domain.OrderID, s *slot) {
	<-s.busy
	h.leave(id, s)
}

// leave counts a user out; without users the slot may be forgotten.
func (h *histories) leave(id domain.OrderID, s *slot) {
	shard := h.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	s.users--
	if s.users > 0 {
		return
	}
	if !s.known {
		delete(shard.slots, id)
		return
	}
	s.weight = 1 + len(s.sequences)
	s.element = shard.idle.PushFront(id)
	for shard.weight += s.weight; shard.weight > h.limit; {
		last := shard.idle.Back()
		old, _ := shard.idle.Remove(last).(domain.OrderID)
		shard.weight -= shard.slots[old].weight
		delete(shard.slots, old)
	}
}
