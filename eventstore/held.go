package eventstore

import (
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/proto/wire"
)

// mostYoung are the events whose orders Verify holds folded. Most events of an
// order come soon after one another; what is folded is many small objects, which
// the collector of garbage follows again and again.
const mostYoung = 1 << 14

// keptOrder is an order that Verify put away: its events as they are encoded, from which it
// is folded again when it has another.
type keptOrder struct {
	partition int
	sequence  uint64
	hash      [32]byte
	revision  uint64
	told      uint64
	broken    bool
	texts     []string
	sequences []uint64
}

// keep adds an event that follows from those before it.
func (o *verifiedOrder) keep(r *read) {
	text := r.text
	if text == "" { // it is in another form in the log
		encoded, err := wire.Encoded(r.event)
		if err != nil { // it was decoded, so it can be encoded; if not, it is read again
			o.broken = true
			return
		}
		text = string(encoded)
	}
	o.texts = append(o.texts, text)
}

// age reports the old orders and puts them away, and makes the young ones old.
func (v *verification) age() error {
	for id, o := range v.old {
		if err := v.finish(o); err != nil {
			return err
		}
		v.kept[id] = keptOrder{
			partition: o.Partition, sequence: o.Sequence, hash: o.Hash, revision: o.revision, told: o.Told,
			broken: o.broken, texts: o.texts, sequences: o.Sequences,
		}
	}
	clear(v.old)
	v.old, v.young = v.young, v.old
	v.bytes += v.held
	v.held = 0
	if v.bytes >= v.opts.EventsInMemory/2 {
		v.older, v.kept, v.bytes = v.kept, make(map[domain.OrderID]keptOrder), 0
	}
	return nil
}

// recall makes an order that is not young so again; nil when it is not held.
func (v *verification) recall(id domain.OrderID) (*verifiedOrder, error) {
	if o := v.old[id]; o != nil {
		delete(v.old, id)
		v.young[id] = o
		return o, nil
	}
	k, ok := v.kept[id]
	if !ok {
		k, ok = v.older[id]
	}
	if !ok {
		return nil, nil //nolint:nilnil // absence is no error
	}
	delete(v.kept, id)
	delete(v.older, id)
	o := &verifiedOrder{
		VerifiedOrder: VerifiedOrder{ID: id, Partition: k.partition, Sequence: k.sequence, Hash: k.hash, Sequences: k.sequences, Told: k.told},
		revision:      k.revision, broken: k.broken, texts: k.texts,
	}
	for _, text := range k.texts {
		var e domain.Event
		_, err := wire.ReadEvent(text, &e)
		if err != nil {
			return nil, fmt.Errorf("recall %s: %w", id, err)
		}
		if o.history, err = o.history.With(&e); err != nil {
			return nil, fmt.Errorf("recall %s: %w", id, err)
		}
		if e.Revision == 1 {
			o.Tenant, o.Source = e.Tenant, e.Source
		}
	}
	v.young[id] = o
	return o, nil
}

// finish reports an order.
func (v *verification) finish(o *verifiedOrder) error {
	if o.broken || v.opts.Order == nil {
		return nil
	}
	if o.State = o.state; o.State == nil {
		machine, err := order.ForVersion(o.history.MachineVersion())
		if err != nil {
			return nil //nolint:nilerr // reported at its event
		}
		o.State = machine.Fold(o.history)
	}
	o.History = o.history
	return v.opts.Order(o.VerifiedOrder)
}
