package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// Bucket is the KV bucket that holds the blocked orders of all endpoints.
const Bucket = "NOTIFY"

// markerTTL is how long the bucket keeps the mark of a removed record, so that
// orders which were blocked once do not fill its index for ever.
const markerTTL = time.Hour

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
var errChanged = errors.New("blockade changed")

// book keeps the blockades of one endpoint.
type book struct {
	kv       jetstream.KeyValue
	endpoint string
}

// openBucket finds or makes the bucket.
func openBucket(ctx context.Context, js jetstream.JetStream, replicas int) (kv jetstream.KeyValue, created bool, err error) {
	kv, err = js.KeyValue(ctx, Bucket)
	created = errors.Is(err, jetstream.ErrBucketNotFound)
	if created {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: Bucket, Description: "orders whose delivery to an endpoint failed", History: 1,
			Storage: jetstream.FileStorage, Replicas: max(replicas, 1), LimitMarkerTTL: markerTTL,
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("open bucket %s: %w", Bucket, err)
	}
	return kv, created, nil
}

func (b book) key(id domain.OrderID) string { return b.endpoint + "." + string(id) }

// order is the order of an entry's key.
func (b book) order(key string) domain.OrderID {
	return domain.OrderID(strings.TrimPrefix(key, b.endpoint+"."))
}

// get is the order's record; nil when it is not blocked.
func (b book) get(ctx context.Context, id domain.OrderID) (*blockade, error) {
	entry, err := b.kv.Get(ctx, b.key(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the blockade of %s: %w", id, err)
	}
	return readBlockade(entry)
}

// put stores r over the record that r.stamp names, 0 for none, and stamps it.
// errChanged: that is not the record any more.
func (b book) put(ctx context.Context, id domain.OrderID, r *blockade) error {
	value, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write the blockade of %s: %w", id, err)
	}
	var stamp uint64
	if r.stamp == 0 {
		stamp, err = b.kv.Create(ctx, b.key(id), value)
	} else {
		stamp, err = b.kv.Update(ctx, b.key(id), value, r.stamp)
	}
	if err != nil {
		return b.conflict(id, err)
	}
	r.stamp = stamp
	return nil
}

// remove ends the blockade r. errChanged as with put.
func (b book) remove(ctx context.Context, id domain.OrderID, r *blockade) error {
	err := b.kv.Purge(ctx, b.key(id), jetstream.LastRevision(r.stamp), jetstream.PurgeTTL(markerTTL))
	if err != nil {
		return b.conflict(id, err)
	}
	return nil
}

// conflict tells a lost race from every other error.
func (b book) conflict(id domain.OrderID, err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return errChanged
	}
	return fmt.Errorf("store the blockade of %s: %w", id, err)
}

// readBlockade is the record of an entry; nil when the entry marks its removal.
func readBlockade(entry jetstream.KeyValueEntry) (*blockade, error) {
	if entry.Operation() != jetstream.KeyValuePut {
		return nil, nil
	}
	r := &blockade{stamp: entry.Revision()}
	if err := json.Unmarshal(entry.Value(), r); err != nil {
		return nil, domain.Errorf(domain.Corrupt, "read the blockade %s: %w", entry.Key(), err)
	}
	return r, nil
}
