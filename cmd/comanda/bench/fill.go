package bench

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/privacy"
)

// FillConfig says which log is filled, and with what. All but Progress are required.
type FillConfig struct {
	Log     *eventstore.Log
	Vault   *privacy.Vault // its Run is running
	Machine *order.Machine
	Events  int
	First   int       // the number of the first order; those after another fill's begin where it ended
	Until   time.Time // when the last event happened; the first a month before
	// Progress is called now and then, from any goroutine, with the events that are stored.
	Progress func(events int)
}

const (
	cohort   = 1000 // orders that are open at a time, and so events in a batch
	cohorts  = 2    // at a time: one is decided and sealed while the server stores the other
	variants = 32   // buyers, with their items and sums
	month    = 30 * 24 * time.Hour
)

// stories are what happens to orders, of every hundred as many as said.
var stories = []struct {
	orders   int
	statuses []string
}{
	{60, []string{"pending", "approved"}},
	{12, []string{"pending", "in_process", "approved"}},
	{10, []string{"pending", "refused", "approved"}},
	{8, []string{"pending", "approved", "refunded"}},
	{5, []string{"pending", "refused"}},
	{3, []string{"pending", "in_process", "approved", "refunded"}},
	{2, []string{"pending", "refused", "in_process", "approved", "chargeback"}},
}

// story is what happens to order n.
func story(n int) []string {
	place := n * 37 % 100 // 37 and 100 have no common divisor: each place once in a hundred
	for _, s := range stories {
		if place < s.orders {
			return s.statuses
		}
		place -= s.orders
	}
	return nil // the stories are a hundred
}

// Fill writes realistic orders of 2 to 5 events into a log that has none of them, as
// fast as it takes them: decided by the machine, sealed, chained and encoded as the
// recorder does it, in atomic batches. The same number of events is the same
// orders. The last order may be cut short. It returns how many orders there are.
func Fill(ctx context.Context, cfg FillConfig) (orders int, err error) {
	f := filler{FillConfig: cfg, webhooks: map[string][]*Webhook{}}
	for left := cfg.Events; left > 0; f.orders++ {
		f.last = min(len(story(f.orders)), left)
		left -= f.last
	}
	for _, s := range stories {
		for _, status := range s.statuses {
			if err := f.prepare(status); err != nil {
				return 0, err
			}
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(cohorts)
	for first := 0; first < f.orders && ctx.Err() == nil; first += cohort {
		group.Go(func() error { return f.cohort(ctx, first) })
	}
	return f.orders, group.Wait()
}

type filler struct {
	FillConfig

	webhooks map[string][]*Webhook // by status, one for each variant
	orders   int
	last     int // events of the last order
	stored   atomic.Int64
}

func (f *filler) prepare(status string) error {
	for v := range variants {
		if len(f.webhooks[status]) == variants {
			return nil
		}
		w, err := NewWebhook(status, uint64(v), f.Until.Add(-month))
		if err != nil {
			return err
		}
		f.webhooks[status] = append(f.webhooks[status], w)
	}
	return nil
}

// filled is an order on its way into the log.
type filled struct {
	n        int
	statuses []string // yet to come
	history  *order.History
	key      *privacy.Key
	after    uint64
	hash     [32]byte
}

// cohort writes the orders from first on, an event of each in every batch.
func (f *filler) cohort(ctx context.Context, first int) error {
	var open []*filled
	for n := first; n < min(first+cohort, f.orders); n++ {
		key, err := f.Vault.Take(ctx)
		if err != nil {
			return err
		}
		statuses := story(n)
		if n == f.orders-1 {
			statuses = statuses[:f.last]
		}
		open = append(open, &filled{n: n, statuses: statuses, key: key})
	}
	for step := 0; len(open) > 0; step++ {
		drafts := make([]eventstore.Draft, len(open))
		for i, o := range open {
			e, err := f.next(o, f.moment(first, step, o.n))
			if err != nil {
				return err
			}
			drafts[i] = eventstore.Draft{Event: e, After: o.after}
		}
		places, err := f.Log.AppendDrafts(ctx, drafts)
		if err != nil {
			return err
		}
		for i, o := range open {
			o.after, o.hash, o.statuses = places[i].Sequence, places[i].Hash, o.statuses[1:]
		}
		open = slices.DeleteFunc(open, func(o *filled) bool { return len(o.statuses) == 0 })
		if stored := f.stored.Add(int64(len(drafts))); f.Progress != nil {
			f.Progress(int(stored))
		}
	}
	return nil
}

// moment is when an order's step happened: time goes on from batch to batch, and
// from order to order within one.
func (f *filler) moment(first, step, n int) time.Time {
	const most = 5 // steps of an order
	each := month / time.Duration(f.orders+cohort) / most
	return f.Until.Add(-month + time.Duration(first*most+step*cohort+n-first)*each).UTC()
}

// next decides and seals the order's next event.
func (f *filler) next(o *filled, at time.Time) (*domain.Event, error) {
	webhook := f.webhooks[o.statuses[0]][o.n%variants]
	id := AppendOrder(nil, int64(f.First+o.n))
	msg, fact := webhook.Of(id, "EX-"+string(id), at)
	d, err := f.Machine.Decide(o.history, fact, order.Meta{Tenant: Tenant, Source: Source, ReceivedAt: at, Now: at})
	if err != nil {
		return nil, err
	}
	if d.Event.Verdict == domain.VerdictDuplicate {
		return nil, domain.Errorf(domain.Internal, "bench: %s of order %d repeats an event", o.statuses[0], o.n)
	}
	o.history, d.Event.PrevHash = d.History, o.hash
	if err := o.key.SealEvent(&d.Event, fact.Personal, msg.ContentType, msg.Body); err != nil {
		return nil, err
	}
	return &d.Event, nil
}
