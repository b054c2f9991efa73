package backup

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/snapshot"
)

// plan is what a first reading finds out for the second: how far each new
// partition goes, and where the consumers of the log stand in it.
type plan struct {
	states    []snapshot.State
	consumers map[string]*told
}

// told is a durable consumer, which has the same name in every partition.
type told struct {
	config snapshot.Consumer
	old    map[int]place
	begins []uint64 // in each new partition: its first event there; 0: none yet
}

// place is where a consumer stands in an old partition.
type place struct {
	begin, floor uint64
	last         uint64 // event that is for it
}

func newPlan(partitions int) *plan {
	p := &plan{states: make([]snapshot.State, partitions), consumers: make(map[string]*told)}
	for i := range p.states {
		p.states[i].First = 1
	}
	return p
}

// open notes the consumers of an old partition. Those that live in memory were
// somebody's who is gone.
func (p *plan) open(from int, consumers []snapshot.Consumer) {
	for _, c := range consumers {
		if c.Durable == "" {
			continue
		}
		t := p.consumers[c.Durable]
		if t == nil {
			t = &told{config: c, old: make(map[int]place), begins: make([]uint64, len(p.states))}
			p.consumers[c.Durable] = t
		}
		t.old[from] = place{begin: max(1, c.OptStartSeq), floor: c.AckFloor.Stream}
	}
}

// note counts one message.
func (p *plan) note(from int, m snapshot.Message, to int, sequence uint64) error {
	s := &p.states[to]
	at := time.Unix(0, m.Time).UTC()
	if s.Messages == 0 {
		s.FirstTime = at
	}
	s.Messages, s.Last, s.LastTime = s.Messages+1, sequence, at
	s.Bytes += uint64(len(m.Subject) + len(m.Body))
	for _, t := range p.consumers {
		at, ok := t.old[from]
		if !ok || !matches(t.config.FilterSubject, m.Subject) {
			continue
		}
		if m.Sequence >= at.begin {
			at.last = m.Sequence
			t.old[from] = at
			if t.begins[to] == 0 {
				t.begins[to] = sequence
			}
		}
	}
	return nil
}

// toldEverything refuses a consumer that waits for an event.
func (p *plan) toldEverything() error {
	for _, name := range slices.Sorted(maps.Keys(p.consumers)) {
		for from, at := range p.consumers[name].old {
			if at.last > at.floor {
				return domain.Errorf(domain.Refused, "consumer %s of %s was not told everything, and its place would be lost: "+
					"let a server deliver first, or delete the consumer", name, eventstore.OrdersStream(from))
			}
		}
	}
	return nil
}

// consumersOf are the consumers of a new partition, who were told everything.
func (p *plan) consumersOf(partition int) []snapshot.Consumer {
	out := make([]snapshot.Consumer, 0, len(p.consumers))
	last := p.states[partition].Last
	for _, t := range p.consumers {
		config, state := *t.config.ConsumerConfig, *t.config.ConsumerState
		if config.OptStartSeq > 0 {
			config.OptStartSeq = cmp.Or(t.begins[partition], last+1)
		}
		state.Pending, state.Redelivered = nil, nil
		state.Delivered.Stream, state.Delivered.Consumer = last, last
		state.AckFloor = state.Delivered
		out = append(out, snapshot.Consumer{ConsumerConfig: &config, ConsumerState: &state})
	}
	slices.SortFunc(out, func(a, b snapshot.Consumer) int {
		return cmp.Compare(a.Durable, b.Durable)
	})
	return out
}

// matches reports whether subject is within filter, which may have wildcards; ""
// is everything.
func matches(filter, subject string) bool {
	if filter == "" {
		return true
	}
	want, have := strings.Split(filter, "."), strings.Split(subject, ".")
	for i, token := range want {
		if token == ">" {
			return len(have) > i
		}
		if i >= len(have) || token != "*" && token != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}
