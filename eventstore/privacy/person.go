package privacy

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// heldAtOnce are the questions of Held that wait for an answer at the same time.
const heldAtOnce = 16

// Pepper is a secret of the tenant's, derived from the key-encryption key: what people
// are hashed with, so that nobody without that key can find out whose hash it is by
// trying. A disabled vault's is no secret.
func (v *Vault) Pepper(tenant domain.TenantID) [sha256.Size]byte {
	var of []byte
	if v.master != nil {
		of = v.master.peppers
	}
	h := hmac.New(sha256.New, of)
	_, _ = h.Write([]byte(tenant))
	return [sha256.Size]byte(h.Sum(nil))
}

// Held are those of the data keys that were not destroyed, as the bucket says now: what
// this process remembers of them does not count.
func (v *Vault) Held(ctx context.Context, ids []string) (map[string]bool, error) {
	held := make(map[string]bool, len(ids))
	if v.master == nil {
		for _, id := range ids {
			held[id] = true
		}
		return held, nil
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(heldAtOnce)
	for _, id := range ids {
		group.Go(func() error {
			// Through the leader: another's answer may be from before a key was destroyed.
			m, err := v.reader.Last(ctx, bucketSubject+id)
			switch {
			case errors.Is(err, stream.ErrNotFound):
				return nil
			case err != nil:
				return domain.Errorf(domain.Unavailable, "read data key %s: %w", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(m.Data) > 0 {
				held[id] = true
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("look for data keys: %w", err)
	}
	return held, nil
}
