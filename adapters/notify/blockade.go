package notify

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
)

// Bucket is the KV bucket that holds the blocked orders of all endpoints.
const Bucket = "NOTIFY"

// blockade is what is kept of an order that is blocked for an endpoint, in the
// bucket as JSON.
type blockade struct {
	// Revision is the order's first one that may not be delivered yet.
	Revision uint64 `json:"revision"`
	// Seen is the last revision that was acknowledged because this record holds it.
	Seen uint64 `json:"seen"`
	// Attempts is how many attempts of the delivery that is due were begun.
	Attempts int `json:"attempts"`
	// NextAt is when the next one may be made. While one is being made it lies
	// after its end, so that another instance takes over if this one dies.
	NextAt time.Time `json:"next_at"`
	// Dead says that the schedule is used up and an operator is waited for.
	Dead   bool   `json:"dead,omitempty"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`

	// stamp is the record's revision in the bucket; 0: not stored.
	stamp uint64
}

// errChanged is a record that somebody else changed in the meantime.
var errChanged = durable.ErrChanged

// book keeps the blockades of one endpoint.
type book struct{ durable.Book }

// newBook is the book of an endpoint in the bucket.
func newBook(kv jetstream.KeyValue, endpoint string) book {
	return book{durable.Book{KV: kv, Prefix: endpoint + "."}}
}

// order is the order of an entry.
func (b book) order(entry jetstream.KeyValueEntry) domain.OrderID { return domain.OrderID(b.ID(entry)) }

// get is the order's record; nil when it is not blocked.
func (b book) get(ctx context.Context, id domain.OrderID) (*blockade, error) {
	r := new(blockade)
	var err error
	if r.stamp, err = b.Get(ctx, string(id), r); err != nil || r.stamp == 0 {
		return nil, err //nolint:wrapcheck // the book names the order
	}
	return r, nil
}

// put stores r over the record that r.stamp names, 0 for none, and stamps it.
// errChanged: that is not the record any more.
func (b book) put(ctx context.Context, id domain.OrderID, r *blockade) error {
	stamp, err := b.Put(ctx, string(id), r, r.stamp)
	if err != nil {
		return err //nolint:wrapcheck // the book names the order
	}
	r.stamp = stamp
	return nil
}

// remove ends the blockade r. errChanged as with put.
func (b book) remove(ctx context.Context, id domain.OrderID, r *blockade) error {
	return b.Remove(ctx, string(id), r.stamp) //nolint:wrapcheck // the book names the order
}

// readBlockade is the record of an entry; nil when the entry marks its removal.
func readBlockade(entry jetstream.KeyValueEntry) (*blockade, error) {
	if durable.Removed(entry) {
		return nil, nil
	}
	r := &blockade{stamp: entry.Revision()}
	return r, durable.Decode(entry, r) //nolint:wrapcheck // names the key
}
