package eventstore_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// call is one operation on one order: an append of a fact, on whatever revision
// the recorder found it, or a read of the order's events.
type call struct {
	order int
	fact  domain.EventID // "": a read
}

// result is what the operation answered. An append without an answer may have
// happened, may happen later, or never.
type result struct {
	unknown   bool
	duplicate bool
	revision  int
	events    string // of a read: ids, each with a dot behind it
}

// orderModel is what one order is: a list of events. The append that is answered
// with revision n found n-1 events; a duplicate is at its revision already; a read
// sees all of them.
var orderModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byOrder := map[int][]porcupine.Operation{}
		for _, op := range history {
			n := op.Input.(call).order
			byOrder[n] = append(byOrder[n], op)
		}
		var parts [][]porcupine.Operation
		for _, ops := range byOrder {
			parts = append(parts, ops)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		events, in, out := state.(string), input.(call), output.(result)
		place := strings.Index(events, string(in.fact)+".")
		revision := func(at int) int { return strings.Count(events[:at], ".") + 1 }
		switch {
		case in.fact == "":
			return out.events == events, events
		case out.unknown && place >= 0:
			return true, events
		case out.duplicate:
			return place >= 0 && revision(place) == out.revision, events
		case out.unknown, place < 0 && revision(len(events)) == out.revision:
			return true, events + string(in.fact) + "."
		default:
			return false, events
		}
	},
}

// race is many clients of several instances on few orders, and the history of
// what they did. Each call has a number; done hears of each that returned, and of
// an append without an answer.
type race struct {
	t      *testing.T
	stores []*store
	calls  int
	first  int // number of an order
	orders int
	each   int // clients of a store; 0: two
	done   func(n int, unknown bool)

	begun time.Time
	next  atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation
	acks  []time.Duration // when appends were acknowledged
}

const raceSeed = 20260509 // of the clients' choices; what they meet is the machine's

// run has every client make calls until all are made, reads every order once more,
// and answers the history. before runs between the two, when nobody writes.
func (r *race) run(before func()) []porcupine.Operation {
	r.t.Helper()
	r.begun = time.Now()
	var clients sync.WaitGroup
	each := cmp.Or(r.each, 2)
	for i, s := range r.stores {
		for c := range each {
			rng := rand.New(rand.NewPCG(raceSeed, uint64(i*each+c)))
			clients.Go(func() { r.client(i*each+c, s, rng) })
		}
	}
	clients.Wait()
	if before != nil {
		before()
	}
	for n := r.first; n < r.first+r.orders; n++ {
		if !r.read(0, r.stores[0], n) {
			r.t.Errorf("order %d cannot be read in the end", n)
		}
	}
	return settled(r.ops)
}

// settled leaves out the appends without an answer whose event is not in the last
// read of its order: nobody wrote any more then, and no event is ever removed, so
// they never happened. Each of them would double what porcupine has to look at.
func settled(ops []porcupine.Operation) []porcupine.Operation {
	last := map[int]string{}
	for _, op := range ops {
		if in := op.Input.(call); in.fact == "" {
			last[in.order] = op.Output.(result).events
		}
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op porcupine.Operation) bool {
		in := op.Input.(call)
		return op.Output.(result).unknown && !strings.Contains(last[in.order], string(in.fact)+".")
	})
}

func (r *race) client(id int, s *store, rng *rand.Rand) {
	for {
		n := int(r.next.Add(1))
		if n > r.calls {
			return
		}
		order, unknown := r.first+rng.IntN(r.orders), false
		switch rng.IntN(10) {
		case 0, 1:
			r.read(id, s, order)
		case 2: // somebody's earlier fact, which may be on its way still
			unknown = !r.append(id, s, order, rng.IntN(n))
		default:
			unknown = !r.append(id, s, order, n)
		}
		if r.done != nil {
			r.done(n, unknown)
		}
	}
}

// append records the order's fact number i, and reports whether that is acknowledged.
func (r *race) append(client int, s *store, n, i int) bool {
	f := details(n, i)
	in := call{order: n, fact: domain.NewEventID(source, orderID(n), f.Kind, f.Key)}
	from := time.Since(r.begun)
	out, err := s.Record(r.t.Context(), message(), []domain.Fact{f})
	to := time.Since(r.begun)
	if err != nil {
		r.add(porcupine.Operation{ClientId: client, Input: in, Output: result{unknown: true}, Call: int64(from), Return: math.MaxInt64})
		return false
	}
	o := result{duplicate: out[0].Verdict == domain.VerdictDuplicate, revision: int(out[0].Revision)}
	r.add(porcupine.Operation{ClientId: client, Input: in, Output: o, Call: int64(from), Return: int64(to)})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acks = append(r.acks, to)
	return true
}

// read reads the order as it lies in the stream, without the log's own checks. A
// read that fails saw nothing, and is no part of the history.
func (r *race) read(client int, s *store, n int) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	reader := stream.NewReader(newJS(r.t, s), "ORDERS-00", discardLog)
	var events strings.Builder
	from := time.Since(r.begun)
	err := reader.Subject(ctx, "orders.*.*."+string(orderID(n)), func(m stream.Message) error {
		events.WriteString(m.Header.Get("Nats-Msg-Id") + ".")
		return nil
	})
	to := time.Since(r.begun)
	if err != nil {
		return false
	}
	r.add(porcupine.Operation{
		ClientId: client, Input: call{order: n}, Output: result{events: events.String()}, Call: int64(from), Return: int64(to),
	})
	return true
}

func (r *race) add(op porcupine.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
}

// silence is the longest time without an acknowledgement, and when it ended.
func (r *race) silence() (longest, ended time.Duration) {
	acks := slices.Sorted(slices.Values(r.acks))
	for i, at := range acks[1:] {
		if d := at - acks[i]; d > longest {
			longest, ended = d, at
		}
	}
	return longest, ended
}

// unknown counts the appends without an answer.
func (r *race) unknown() (n int) {
	for _, op := range r.ops {
		if op.Output.(result).unknown {
			n++
		}
	}
	return n
}

// check asks porcupine whether some order of the calls explains every answer.
func check(history []porcupine.Operation) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(orderModel, history, time.Minute)
}
