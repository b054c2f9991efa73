package customers_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/customers"
	"comanda.internal/projections/projectiontest"
)

// sealing is a script that keeps personal data where the log seals it: an order gets
// another telephone number with every event, and another data key with every third.
type sealing struct{ *projectiontest.Script }

func (s sealing) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	return s.Script.Follow(ctx, partition, after, func(events []domain.Recorded) error {
		events = slices.Clone(events)
		for i := range events {
			e := &events[i].Event
			if e.Fact.Personal == nil {
				continue
			}
			sealed, err := json.Marshal(domain.Personal{
				Name: e.Fact.Personal.Name, Email: e.Fact.Personal.Email, Phone: fmt.Sprintf("+55119%08d", e.Revision),
			})
			if err != nil {
				return err
			}
			e.SealedPersonal, e.KeyID = sealed, fmt.Sprintf("key_%s_%d", e.OrderID, e.Revision/3)
		}
		return handle(events)
	})
}

// opening is the vault of a sealing.
type opening struct{}

func (opening) Reveal(_ context.Context, e *domain.Event) (p domain.Personal, err error) {
	return p, json.Unmarshal(e.SealedPersonal, &p)
}

func (opening) Pepper(tenant domain.TenantID) [sha256.Size]byte {
	return sha256.Sum256([]byte("pepper of " + tenant))
}

func (opening) Held(_ context.Context, ids []string) (map[string]bool, error) {
	held := map[string]bool{}
	for _, id := range ids {
		held[id] = true
	}
	return held, nil
}

func TestConformance(t *testing.T) {
	open := func(
		tb testing.TB, path string, log *projectiontest.Script, cfg projections.Config, at func(projections.Point),
	) projectiontest.Beside {
		tb.Helper()
		x, err := customers.Open(path, customers.Deps{
			Log: sealing{log}, Vault: opening{}, Begin: begun, Logger: slog.New(slog.DiscardHandler), Clock: time.Now,
			FlushBytes: cfg.FlushBytes, At: at,
		})
		if err != nil {
			tb.Fatal(err)
		}
		return x
	}
	projectiontest.RunIndex(t, projectiontest.Index{Open: open, Points: customers.Points(), Opened: customers.PointBuildOpened})
}
