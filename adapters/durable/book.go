package durable

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

// markerTTL is how long a bucket keeps the mark of a removed record, so that
// what was written once does not fill its index for ever.
const markerTTL = time.Hour

// ErrChanged is a record that somebody else changed in the meantime.
var ErrChanged = errors.New("the record changed")

// OpenBucket finds or makes a KV bucket of records. created: its directories are not
// yet durable.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name, description string, replicas int) (kv jetstream.KeyValue, created bool, err error) {
	kv, err = js.KeyValue(ctx, name)
	created = errors.Is(err, jetstream.ErrBucketNotFound)
	if created {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: name, Description: description, History: 1,
			Storage: jetstream.FileStorage, Replicas: max(replicas, 1), LimitMarkerTTL: markerTTL,
		})
	}
	if err != nil {
		return nil, false, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return kv, created, nil
}

// Book keeps records, as JSON, in a bucket: those whose keys begin with Prefix. A
// record's stamp is its revision in the bucket; 0 is that of one that is not stored.
type Book struct {
	KV     jetstream.KeyValue
	Prefix string
}

// ID is the record that an entry is of.
func (b Book) ID(entry jetstream.KeyValueEntry) string {
	return strings.TrimPrefix(entry.Key(), b.Prefix)
}

// Get reads the record into r. The stamp is 0 when there is none.
func (b Book) Get(ctx context.Context, id string, r any) (stamp uint64, err error) {
	entry, err := b.KV.Get(ctx, b.Prefix+id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the record of %s: %w", id, err)
	}
	return entry.Revision(), Decode(entry, r)
}

// Put stores r over the record with the stamp, and answers its own. ErrChanged: that
// is not the record any more.
func (b Book) Put(ctx context.Context, id string, r any, stamp uint64) (uint64, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("write the record of %s: %w", id, err)
	}
	if stamp == 0 {
		stamp, err = b.KV.Create(ctx, b.Prefix+id, value)
	} else {
		stamp, err = b.KV.Update(ctx, b.Prefix+id, value, stamp)
	}
	if err != nil {
		return 0, conflict(id, err)
	}
	return stamp, nil
}

// Remove removes the record with the stamp. ErrChanged as with Put.
func (b Book) Remove(ctx context.Context, id string, stamp uint64) error {
	err := b.KV.Purge(ctx, b.Prefix+id, jetstream.LastRevision(stamp), jetstream.PurgeTTL(markerTTL))
	if err != nil {
		return conflict(id, err)
	}
	return nil
}

// conflict tells a lost race from every other error.
func conflict(id string, err error) error {
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return ErrChanged
	}
	return fmt.Errorf("store the record of %s: %w", id, err)
}

// Removed reports whether an entry marks the removal of its record.
func Removed(entry jetstream.KeyValueEntry) bool { return entry.Operation() != jetstream.KeyValuePut }

// Decode reads the record of an entry that is none of its removal.
func Decode(entry jetstream.KeyValueEntry, r any) error {
	if err := json.Unmarshal(entry.Value(), r); err != nil {
		return domain.Errorf(domain.Corrupt, "read the record %s: %w", entry.Key(), err)
	}
	return nil
}
