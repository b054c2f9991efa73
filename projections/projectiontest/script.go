package projectiontest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/proto/wire"
)

// Epoch is when the first event of a script is recorded; each next one is
// recorded [Script.Every] later.
var Epoch = time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)

// Script is a log of events that were decided by the real machine. Its exported
// fields may be set before it is followed.
type Script struct {
	// Name is what Identity answers. Default "script".
	Name string
	// Restores is what Epoch answers.
	Restores uint64
	// Cut chooses how many of n events the next batch has, 1 to n; nil takes all.
	// It is called under a lock.
	Cut func(n int) int
	// Every is the time between recordings. Default a second.
	Every time.Duration
	// Twice hands every batch over a second time, sequence for sequence.
	Twice bool

	mu         sync.Mutex
	partitions [][]domain.Recorded
	histories  map[domain.OrderID]*order.History
	hashes     map[domain.OrderID][32]byte
	recorded   int
	grown      chan struct{} // closed when events come, then replaced
}

var _ projections.Log = (*Script)(nil)

// NewScript is an empty script of so many partitions.
func NewScript(partitions int) *Script {
	return &Script{
		Name:       "script",
		partitions: make([][]domain.Recorded, partitions),
		histories:  map[domain.OrderID]*order.History{},
		hashes:     map[domain.OrderID][32]byte{},
		grown:      make(chan struct{}),
	}
}

// Record decides fact and appends its event; ok is false when it was a duplicate.
func (s *Script) Record(tb testing.TB, tenant domain.TenantID, fact domain.Fact) (event domain.Recorded, ok bool) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fact.Identity(tenant).OrderID()
	now := Epoch.Add(time.Duration(s.recorded) * cmp.Or(s.Every, time.Second))
	personal := fact.Personal
	decision, err := order.Default().Decide(s.histories[id], fact, order.Meta{
		Tenant: tenant, Source: domain.SourceID(fact.Provider + "-in"), ReceivedAt: now, Now: now,
	})
	if err != nil {
		tb.Fatalf("decide: %v", err)
	}
	if decision.Event.Verdict == domain.VerdictDuplicate {
		return domain.Recorded{}, false
	}
	e := decision.Event
	e.PrevHash = s.hashes[id]
	stored, err := wire.Encode(&e)
	if err != nil {
		tb.Fatal(err)
	}
	s.histories[id] = decision.History
	s.hashes[id] = sha256.Sum256(stored)
	s.recorded++
	e.Fact.Personal = personal // a view that would store it is found out
	return s.append(e, s.hashes[id]), true
}

// Append appends an event that nobody decided.
func (s *Script) Append(e domain.Event) domain.Recorded {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recorded++
	return s.append(e, sha256.Sum256([]byte(e.ID)))
}

func (s *Script) append(e domain.Event, hash [32]byte) domain.Recorded {
	partition := int(e.OrderID.Slot()) * len(s.partitions) / 256
	r := domain.Recorded{
		Event: e, Partition: partition, Sequence: uint64(len(s.partitions[partition]) + 1), Hash: hash,
	}
	s.partitions[partition] = append(s.partitions[partition], r)
	close(s.grown)
	s.grown = make(chan struct{})
	return r
}

// Events are all events by order, each order's by revision.
func (s *Script) Events() map[domain.OrderID][]domain.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[domain.OrderID][]domain.Event{}
	for _, events := range s.partitions {
		for i := range events {
			out[events[i].Event.OrderID] = append(out[events[i].Event.OrderID], events[i].Event)
		}
	}
	return out
}

// Copy is a script of the same events so far, with nothing else set.
func (s *Script) Copy() *Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := NewScript(len(s.partitions))
	for partition, events := range s.partitions {
		out.partitions[partition] = slices.Clip(events)
	}
	return out
}

// Change calls change with the events of a partition and keeps what it returns.
// Only a script that nobody follows may be changed.
func (s *Script) Change(partition int, change func([]domain.Recorded) []domain.Recorded) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partitions[partition] = change(slices.Clone(s.partitions[partition]))
}

// Identity implements [projections.Log].
func (s *Script) Identity() string { return s.Name }

// Epoch implements [projections.Log].
func (s *Script) Epoch() uint64 { return s.Restores }

// Partitions implements [projections.Log].
func (s *Script) Partitions() int { return len(s.partitions) }

// Head implements [projections.Log].
func (s *Script) Head(context.Context) (domain.Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var p domain.Position
	for partition, events := range s.partitions {
		p = p.With(partition, uint64(len(events)))
	}
	return p, nil
}

// Follow implements [projections.Log].
func (s *Script) Follow(ctx context.Context, partition int, after uint64, handle func([]domain.Recorded) error) error {
	for {
		s.mu.Lock()
		rest, grown := s.partitions[partition][after:], s.grown
		s.mu.Unlock()
		for len(rest) > 0 {
			n := s.cut(len(rest))
			for range s.times() {
				if err := handle(rest[:n]); err != nil {
					return err
				}
			}
			rest, after = rest[n:], after+uint64(n) //nolint:gosec // a length
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil
		}
	}
}

// Scan implements [projections.Log].
func (s *Script) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	s.mu.Lock()
	events := s.partitions[partition][after:upTo]
	s.mu.Unlock()
	for i := range events {
		if err := errors.Join(ctx.Err(), handle(&events[i])); err != nil {
			return err
		}
	}
	return nil
}

// Stored implements [projections.Log].
func (s *Script) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	var events []domain.Stored
	err := s.Scan(ctx, partition, after, upTo, func(r *domain.Recorded) error {
		encoded, err := wire.Encoded(r)
		events = append(events, domain.Stored{
			Order: r.Event.OrderID, Partition: partition, Sequence: r.Sequence, Hash: r.Hash, Encoded: encoded,
		})
		return err
	})
	if err != nil {
		return err
	}
	for len(events) > 0 {
		n := s.cut(len(events))
		if err := handle(slices.Clone(events[:n])); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (s *Script) cut(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Cut != nil {
		return s.Cut(n)
	}
	return n
}

func (s *Script) times() int {
	if s.Twice {
		return 2
	}
	return 1
}

// Limits are the tenants that a list may be limited to; nil: it is not.
func Limits() [][]domain.TenantID {
	return [][]domain.TenantID{nil, nil, nil, {}, {"loja"}, {"outra"}, {"loja", "outra"}, {"outra", "loja", "loja"}, {"nobody", "outra"}}
}

// Fill records n random facts about some orders of two tenants, in no sensible
// order: repeats, conflicts, corrections, shared references and undated facts are
// among them. The same seed gives the same events.
func (s *Script) Fill(tb testing.TB, seed uint64, orders, n int) {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // reproducible on purpose
	for range n {
		s.Record(tb, []domain.TenantID{"loja", "outra"}[r.IntN(2)], randomFact(r, orders))
	}
}

func randomFact(r *rand.Rand, orders int) domain.Fact {
	number := r.IntN(orders)
	f := domain.Fact{
		Kind:            domain.KindStarted + domain.Kind(r.IntN(int(domain.KindFlagged))), //nolint:gosec // within the kinds
		Provider:        "comanda",
		Account:         "principal",
		ProviderOrderID: fmt.Sprintf("A-%d", number),
		Key:             fmt.Sprintf("key-%d", r.IntN(20)),
		Amounts:         domain.Amounts{Currency: "BRL", Total: domain.Minor(12_000)},
		Payment:         domain.Payment{Method: "pix"},
		UTM:             domain.UTMOf(map[string]string{"utm_source": "x", "utm_medium": "y", "utm_campaign": "z"}),
		Personal:        &domain.Personal{Name: CanaryName, Email: CanaryEmail},
	}
	if number%2 == 0 {
		f.Reference = fmt.Sprintf("EX%03d", number/6)
	}
	if r.IntN(3) > 0 {
		f.OccurredAt = Epoch.Add(-time.Duration(r.IntN(100)) * time.Minute)
	}
	switch f.Kind {
	case domain.KindApproved:
		f.Amounts.Paid = domain.Minor(12_000)
	case domain.KindPartiallyRefunded:
		f.Amounts.Refunded = domain.Minor(int64(1 + r.IntN(11_999)))
	case domain.KindDetails:
		f.Items = []domain.Item{{Code: "SKU123", Title: "Camiseta", UnitPrice: domain.Minor(6_000), Quantity: 2}}
	case domain.KindShipping:
		f.Shipping = &domain.Shipping{Event: "posted", TrackingCode: fmt.Sprintf("BR%d", r.IntN(9))}
	case domain.KindFlagged:
		f.Reason = domain.ReasonBlocked
	default:
	}
	return f
}

// What identifies the person of every fact that Fill records.
const (
	CanaryName  = "Fulana Canario de Tal"
	CanaryEmail = "canario@example.com"
)
