package privacy

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/eventstore/stream"
)

const (
	refillBatch = 256 // keys in one atomic batch: one fsync
	refillRetry = time.Second
)

// Run keeps the pool full until ctx ends, and then stops what Open started.
func (v *Vault) Run(ctx context.Context) error {
	if v.master == nil || v.cfg.Existing {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		// Below a full batch the work waits: a batch costs an fsync whatever its size.
		if missing := cap(v.pool) - len(v.pool); missing >= min(refillBatch, cap(v.pool)) {
			if err := v.fill(ctx, min(missing, refillBatch)); err != nil && ctx.Err() == nil {
				v.cfg.Logger.WarnContext(ctx, "data keys could not be stored; trying again", "error", err)
				v.pause(ctx)
			}
			continue
		}
		select {
		case <-v.want:
		case <-ctx.Done():
		}
	}
	if err := v.publisher.Close(); err != nil {
		return fmt.Errorf("close the key bucket: %w", err)
	}
	return nil
}

// refill wakes Run.
func (v *Vault) refill() {
	select {
	case v.want <- struct{}{}:
	default:
	}
}

func (v *Vault) pause(ctx context.Context) {
	timer := time.NewTimer(refillRetry)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// fill makes n keys, stores them, and only then puts them into the pool. When
// the answer is unknown the keys are forgotten: stored or not, nobody uses them.
func (v *Vault) fill(ctx context.Context, n int) error {
	keys := make([]*Key, n)
	records := make([]*nats.Msg, n)
	for i := range keys {
		secret := make([]byte, keySize)
		_, _ = rand.Read(secret) // never fails
		aead, err := newGCM(secret)
		if err != nil {
			return err
		}
		keys[i] = &Key{id: newKeyID(), aead: aead}
		records[i] = &nats.Msg{Subject: bucketSubject + keys[i].id, Data: v.master.wrap(keys[i].id, secret)}
	}
	ctx, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	if _, err := v.publisher.PublishBatch(ctx, records); err != nil {
		return fmt.Errorf("store data keys: %w", err)
	}
	for _, k := range keys {
		v.Return(k)
	}
	select {
	case <-v.ready:
	default:
		close(v.ready)
	}
	return nil
}

// newKeyID is "key_" and 26 lower-case base32 characters, at random.
func newKeyID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return "key_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
