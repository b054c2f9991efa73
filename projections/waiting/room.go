package waiting

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"comanda.internal/domain"
	"comanda.internal/projections"
)

// Key is what a wait is for: an order, or a tenant's reference.
type Key struct {
	tenant domain.TenantID // "": text is an order id
	text   string
}

// ByOrder is the key of one order.
func ByOrder(id domain.OrderID) Key { return Key{text: string(id)} }

// ByReference is the key of all orders of a tenant that have a reference.
func ByReference(tenant domain.TenantID, reference string) Key {
	return Key{tenant: tenant, text: reference}
}

// Room is where callers wait. It is safe for concurrent use.
type Room struct {
	orders Orders

	mu      sync.Mutex
	waiters map[Key]map[*waiter]struct{}
	closed  chan struct{}
	close   func()
}

// waiter is one call. What wakes it while it looks is remembered.
type waiter struct{ woken chan struct{} }

// New is a room for those who wait for what orders holds. Its [Room.Committed] is
// to be told of the commits: see [projections.Deps].
func New(orders Orders) *Room {
	r := &Room{orders: orders, waiters: map[Key]map[*waiter]struct{}{}, closed: make(chan struct{})}
	r.close = sync.OnceFunc(func() { close(r.closed) })
	return r
}

// Close ends every wait, and those to come, with an error of kind Unavailable.
func (r *Room) Close() { r.close() }

// Committed wakes those who wait for one of the changed orders, or everybody for
// nil. It blocks for nobody.
func (r *Room) Committed(changes []projections.Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiters) == 0 {
		return
	}
	if changes == nil {
		for key := range r.waiters {
			r.wake(key)
		}
		return
	}
	for i := range changes {
		c := &changes[i]
		r.wake(ByOrder(c.Order))
		tenant, reference := c.State.Identity.Tenant, c.State.Reference
		r.wake(ByReference(tenant, reference))
		if c.Before != nil && c.Before.Reference != reference {
			r.wake(ByReference(tenant, c.Before.Reference))
		}
	}
}

func (r *Room) wake(key Key) {
	for w := range r.waiters[key] {
		select {
		case w.woken <- struct{}{}:
		default: // it will look anyway
		}
	}
}

// Until calls met, which looks whether what is waited for has come: now, and again
// after every commit that changes key, and when a deadline of ctx passes, until it says
// so. The error is met's, or the context's, or of kind Unavailable when the room was closed.
func (r *Room) Until(ctx context.Context, key Key, met func() (bool, error)) error {
	w := &waiter{woken: make(chan struct{}, 1)}
	r.enter(key, w)
	defer r.leave(key, w)
	for {
		if done, err := met(); done || err != nil {
			return err
		}
		select {
		case <-w.woken:
		case <-r.closed:
			return domain.Errorf(domain.Unavailable, "comanda is stopping")
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) { // a commit may have come with it
				if done, err := met(); done || err != nil {
					return err
				}
			}
			return fmt.Errorf("wait for a change: %w", ctx.Err())
		}
	}
}

// Waiting is how many calls wait now.
func (r *Room) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, waiters := range r.waiters {
		n += len(waiters)
	}
	return n
}

func (r *Room) enter(key Key, w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.waiters[key] == nil {
		r.waiters[key] = map[*waiter]struct{}{}
	}
	r.waiters[key][w] = struct{}{}
}

func (r *Room) leave(key Key, w *waiter) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiters[key], w)
	if len(r.waiters[key]) == 0 {
		delete(r.waiters, key)
	}
}
