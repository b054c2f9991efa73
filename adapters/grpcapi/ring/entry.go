package ring

import (
	"fmt"
	"slices"
	"sync/atomic"

	"comanda.internal/domain"
	"comanda.internal/proto/wire"
)

// Entry is an event as a subscriber is told it, and what filters ask of it. But for
// Made it is never changed.
type Entry struct {
	Partition int
	Sequence  uint64

	Tenant    domain.TenantID
	Source    domain.SourceID
	Order     domain.OrderID
	Reference string
	Kind      domain.Kind
	Verdict   domain.Verdict
	From, To  domain.Status

	// Event is the event, encoded as comanda.v1.Event.
	Event []byte
	// Made has room for what one who sends the entry makes of it, and others use.
	Made atomic.Value
}

// EntryOf is the entry of r, with which it shares memory.
func EntryOf(r *domain.Recorded) (Entry, error) {
	encoded, err := wire.Encoded(r)
	if err != nil {
		return Entry{}, fmt.Errorf("encode %s: %w", r.Event.ID, err)
	}
	e := &r.Event
	return Entry{
		Partition: r.Partition, Sequence: r.Sequence,
		Tenant: e.Tenant, Source: e.Source, Order: e.OrderID, Reference: e.Fact.Reference,
		Kind: e.Fact.Kind, Verdict: e.Verdict, From: e.From, To: e.To, Event: encoded,
	}, nil
}

// kept is the entry of r with memory of its own: r's is that of the stored
// message, with sealed parts that nobody is told.
func kept(r *domain.Recorded) (*Entry, error) {
	e, err := EntryOf(r)
	if err != nil {
		return nil, err
	}
	e.Event = slices.Clone(e.Event)
	all := string(e.Tenant) + string(e.Source) + string(e.Order) + e.Reference // one allocation for four texts
	cut := func(n int) string {
		text := all[:n]
		all = all[n:]
		return text
	}
	e.Tenant, e.Source = domain.TenantID(cut(len(e.Tenant))), domain.SourceID(cut(len(e.Source)))
	e.Order, e.Reference = domain.OrderID(cut(len(e.Order))), cut(len(e.Reference))
	return &e, nil
}

// entrySize is about what an entry takes beside its event, with what is made of it.
const entrySize = 768

func (e *Entry) size() int { return entrySize + len(e.Event) }
