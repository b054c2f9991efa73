package privacy

import (
	"container/list"
	"sync"
)

// keyCache remembers the keys that were opened last.
type keyCache struct {
	mu    sync.Mutex
	size  int
	order *list.List // of *Key, the last used first
	byID  map[string]*list.Element
}

func newKeyCache(size int) *keyCache {
	return &keyCache{size: size, order: list.New(), byID: make(map[string]*list.Element)}
}

func (c *keyCache) get(id string) (*Key, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	k, ok := e.Value.(*Key)
	return k, ok
}

func (c *keyCache) put(k *Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[k.id]; ok {
		return
	}
	c.byID[k.id] = c.order.PushFront(k)
	if c.order.Len() <= c.size {
		return
	}
	last := c.order.Back()
	c.order.Remove(last)
	if old, ok := last.Value.(*Key); ok {
		delete(c.byID, old.id)
	}
}
