package waiting_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/timeline"
	"comanda.internal/projections/waiting"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a room on real views of a script.
type house struct {
	*waiting.Room

	log    *projectiontest.Script
	runner *projections.Runner
	looks  *looks
}

// looks counts and announces what is read of the orders.
type looks struct {
	*orders.View

	n      atomic.Int64
	looked chan struct{}
}

func (l *looks) Get(id domain.OrderID) (*comandav1.Order, bool, error) {
	defer l.note()
	return l.View.Get(id)
}

func (l *looks) List(f orders.Filter, p orders.Page) ([]*comandav1.Order, string, error) {
	defer l.note()
	return l.View.List(f, p)
}

func (l *looks) note() {
	l.n.Add(1)
	l.looked <- struct{}{}
}

func newHouse(t *testing.T) *house {
	t.Helper()
	file, err := projections.Open(filepath.Join(t.TempDir(), "views.db"))
	must(t, err)
	h := &house{log: projectiontest.NewScript(2), looks: &looks{View: orders.New(file), looked: make(chan struct{}, 100_000)}}
	h.Room = waiting.New(h.looks)
	h.runner, err = projections.New(projections.Config{}, projections.Deps{
		Log: h.log, Machine: order.Default(), Clock: time.Now, Logger: slog.New(slog.DiscardHandler), Committed: h.Committed,
	}, file, timeline.New(file), h.looks.View)
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- h.runner.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		must(t, file.Close())
	})
	<-h.runner.Ready()
	return h
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record stores a fact and waits until the views have it.
func (h *house) record(t *testing.T, kind domain.Kind, number, reference string) {
	t.Helper()
	written, ok := h.log.Record(t, "loja", domain.Fact{
		Kind: kind, Provider: "comanda", ProviderOrderID: number, Key: kind.String(), Reference: reference,
	})
	if !ok {
		t.Fatal("a duplicate")
	}
	must(t, h.runner.Wait(t.Context(), written.Position()))
}

func idOf(number string) domain.OrderID {
	return domain.Identity{Tenant: "loja", Provider: "comanda", ProviderOrderID: number}.OrderID()
}

type ending struct {
	waiting.Answer

	err error
}

// wait begins a wait that has looked once when it returns, in vain or not.
func (h *house) wait(ctx context.Context, target waiting.Target, condition waiting.Condition) <-chan ending {
	end := make(chan ending, 1)
	go func() {
		answer, err := h.Order(ctx, target, condition)
		end <- ending{answer, err}
	}()
	<-h.looks.looked
	return end
}

func (e ending) check(t *testing.T, met bool, status comandav1.OrderStatus, revision uint64) {
	t.Helper()
	must(t, e.err)
	if e.Met != met || e.Order.GetStatus() != status || e.Order.GetRevision() != revision {
		t.Errorf("met %t, %v; want %t, %v at revision %d", e.Met, e.Order, met, status, revision)
	}
}

// past is a deadline that has passed.
func past(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	t.Cleanup(cancel)
	return ctx
}

const (
	pending  = comandav1.OrderStatus_ORDER_STATUS_PENDING
	approved = comandav1.OrderStatus_ORDER_STATUS_APPROVED
	refused  = comandav1.OrderStatus_ORDER_STATUS_REFUSED
)

func TestAnOrderThatDoesNotExistYet(t *testing.T) {
	for name, target := range map[string]waiting.Target{
		"by id":                         {Order: idOf("A-1")},
		"by id, of the tenant":          {Order: idOf("A-1"), Tenant: "loja"},
		"by the tenant's own reference": {Tenant: "loja", Reference: "EX1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			end := h.wait(t.Context(), target, waiting.Condition{Settled: true})
			h.record(t, domain.KindPending, "A-1", "EX1")
			<-h.looks.looked // woken, and not satisfied
			h.record(t, domain.KindApproved, "A-1", "EX1")
			(<-end).check(t, true, approved, 2)
			if n := h.Waiting(); n != 0 {
				t.Errorf("%d wait still", n)
			}
		})
	}
}

func TestWhatIsSoAlreadyIsAnsweredAtOnce(t *testing.T) {
	h := newHouse(t)
	h.record(t, domain.KindPending, "A-1", "")
	for name, condition := range map[string]waiting.Condition{
		"it exists":          {},
		"in one of statuses": {Statuses: []domain.Status{domain.StatusApproved, domain.StatusPending}},
		"at a revision":      {Revision: 1},
	} {
		answer, err := h.Order(past(t), waiting.Target{Order: idOf("A-1")}, condition)
		t.Log(name)
		ending{answer, err}.check(t, true, pending, 1)
	}
}

func TestTheDeadlineAnswersWhatTheOrderIs(t *testing.T) {
	h := newHouse(t)
	h.record(t, domain.KindPending, "A-1", "EX1")
	for name, condition := range map[string]waiting.Condition{
		"another status":        {Statuses: []domain.Status{domain.StatusApproved}},
		"a later revision":      {Revision: 2},
		"no longer pending":     {Settled: true},
		"status, not revision":  {Statuses: []domain.Status{domain.StatusPending}, Revision: 2},
		"revision, not settled": {Revision: 1, Settled: true},
	} {
		for _, target := range []waiting.Target{{Order: idOf("A-1")}, {Tenant: "loja", Reference: "EX1"}} {
			answer, err := h.Order(past(t), target, condition)
			t.Log(name, target)
			ending{answer, err}.check(t, false, pending, 1)
		}
	}
	for _, target := range []waiting.Target{
		{Order: idOf("A-2")}, {Order: idOf("A-1"), Tenant: "outra"}, {Tenant: "outra", Reference: "EX1"}, {Tenant: "loja", Reference: "EX2"},
	} {
		answer, err := h.Order(past(t), target, waiting.Condition{})
		if err != nil || answer.Met || answer.Order != nil {
			t.Errorf("%v is %v, %v", target, answer, err)
		}
	}
}

// TestAReferenceIsMetByAnyOfItsOrders: a second attempt is another order.
func TestAReferenceIsMetByAnyOfItsOrders(t *testing.T) {
	h := newHouse(t)
	target := waiting.Target{Tenant: "loja", Reference: "EX1"}
	h.record(t, domain.KindRefused, "A-1", "EX1")
	end := h.wait(t.Context(), target, waiting.Condition{Statuses: []domain.Status{domain.StatusApproved}})
	h.record(t, domain.KindPending, "A-2", "EX1")
	h.record(t, domain.KindApproved, "A-2", "EX1")
	(<-end).check(t, true, approved, 2)
	answer, err := h.Order(t.Context(), target, waiting.Condition{Statuses: []domain.Status{domain.StatusRefused}})
	ending{answer, err}.check(t, true, refused, 1)
}

func TestAReferenceThatAnOrderGetsLater(t *testing.T) {
	h := newHouse(t)
	h.record(t, domain.KindPending, "A-1", "")
	end := h.wait(t.Context(), waiting.Target{Tenant: "loja", Reference: "EX1"}, waiting.Condition{})
	h.record(t, domain.KindApproved, "A-1", "EX1")
	(<-end).check(t, true, approved, 2)
}

// TestOthersCommitsCostNothing: two thousand waits look once each, whatever is
// committed for other orders.
func TestOthersCommitsCostNothing(t *testing.T) {
	const waits = 2000
	h := newHouse(t)
	var ends []<-chan ending
	for n := range waits {
		ends = append(ends, h.wait(t.Context(), waiting.Target{Order: idOf(fmt.Sprint("W-", n))}, waiting.Condition{}))
	}
	for n := range 50 {
		h.record(t, domain.KindPending, fmt.Sprint("other-", n), "EX")
	}
	if n := h.looks.n.Load(); n != waits || h.Waiting() != waits {
		t.Errorf("%d waits looked %d times", h.Waiting(), n)
	}
	for n := range waits {
		_, ok := h.log.Record(t, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: fmt.Sprint("W-", n), Key: "k"})
		if !ok {
			t.Fatal("a duplicate")
		}
	}
	for _, end := range ends {
		(<-end).check(t, true, pending, 1)
	}
}

func TestAnyOrderMayBeAnotherAfterAPromotion(t *testing.T) {
	h := newHouse(t)
	end := h.wait(t.Context(), waiting.Target{Order: idOf("A-1")}, waiting.Condition{})
	number, err := h.runner.Rebuild(false)
	must(t, err)
	status, err := h.runner.AwaitBuild(t.Context(), number)
	must(t, err)
	if status.Outcome != projections.Promoted {
		t.Fatalf("the build: %+v", status)
	}
	<-h.looks.looked
	h.record(t, domain.KindPending, "A-1", "")
	(<-end).check(t, true, pending, 1)
}

func TestAWaitEnds(t *testing.T) {
	t.Run("with its context", func(t *testing.T) {
		h := newHouse(t)
		ctx, cancel := context.WithCancel(t.Context())
		end := h.wait(ctx, waiting.Target{Order: idOf("A-1")}, waiting.Condition{})
		cancel()
		if e := <-end; !errors.Is(e.err, context.Canceled) {
			t.Errorf("the error is %v", e.err)
		}
	})
	t.Run("with the room", func(t *testing.T) {
		h := newHouse(t)
		end := h.wait(t.Context(), waiting.Target{Order: idOf("A-1")}, waiting.Condition{})
		h.Close()
		if e := <-end; domain.KindOf(e.err) != domain.Unavailable {
			t.Errorf("the error is %v", e.err)
		}
		_, err := h.Order(t.Context(), waiting.Target{Order: idOf("A-1")}, waiting.Condition{})
		if domain.KindOf(err) != domain.Unavailable {
			t.Errorf("a wait that begins then: %v", err)
		}
	})
	t.Run("with a look that fails", func(t *testing.T) {
		h := newHouse(t)
		broken := errors.New("broken")
		if err := h.Until(t.Context(), waiting.ByOrder("ord_x"), func() (bool, error) { return false, broken }); !errors.Is(err, broken) {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestNoCommitIsMissed has looks and commits race.
func TestNoCommitIsMissed(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	for n := range 200 {
		number := fmt.Sprint("R-", n)
		all.Go(func() {
			answer, err := h.Order(t.Context(), waiting.Target{Order: idOf(number)}, waiting.Condition{})
			if err != nil || !answer.Met {
				t.Errorf("%s: %v, %v", number, answer, err)
			}
		})
		if _, ok := h.log.Record(t, "loja", domain.Fact{Kind: domain.KindPending, Provider: "comanda", ProviderOrderID: number, Key: "k"}); !ok {
			t.Fatal("a duplicate")
		}
	}
	all.Wait()
}

// TestTheDeadlineLooksOnceMore has what is waited for come with the deadline.
func TestTheDeadlineLooksOnceMore(t *testing.T) {
	h := newHouse(t)
	looks := 0
	err := h.Until(past(t), waiting.ByOrder("ord_x"), func() (bool, error) {
		looks++
		return looks == 2, nil
	})
	if err != nil || looks != 2 {
		t.Errorf("%d looks, %v", looks, err)
	}
}
