package customers_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/customers"
)

// rebuilt builds x anew and waits until that has the outcome.
func (s *store) rebuilt(x *customers.Index, outcome string) projections.BuildStatus {
	s.t.Helper()
	number, err := x.Rebuild()
	must(s.t, err)
	b, err := x.AwaitBuild(s.t.Context(), number)
	must(s.t, err)
	if b.Outcome != outcome || b.Number != number {
		s.t.Fatalf("the build is %+v, want it %s", b, outcome)
	}
	return b
}

func (s *store) head() domain.Position {
	s.t.Helper()
	head, err := s.log.Head(s.t.Context())
	must(s.t, err)
	return head
}

// What is left of a person who was erased is in the file until it is built anew, and in no
// byte of it after, though this process still remembers the key.
func TestARebuildLeavesNothingOfWhoWasErased(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	erased, kept := s.record("loja", 1, "a", ana), s.record("loja", 2, "a", ana)
	x, stop := s.open(path, s.deps())
	same(t, "before", sorted(erased.OrderID, kept.OrderID), s.found(x, "loja", email("ana@example.com")))
	s.destroy(erased.OrderID)
	s.wantProof(x, 6, 0) // by what this process remembers
	holds := func(id domain.OrderID) bool {
		var dump bytes.Buffer
		must(t, x.Dump(&dump)) // which also writes it to the file
		content, err := os.ReadFile(path)
		must(t, err)
		return bytes.Contains(content, []byte(id))
	}
	if !holds(erased.OrderID) || !holds(kept.OrderID) {
		t.Error("the file does not hold both orders before: the search is wrong")
	}
	b := s.rebuilt(x, projections.Promoted)
	if !b.Position.Equal(s.head()) || b.Progress.Total == 0 || b.Progress.Read != b.Progress.Total || b.Began.IsZero() {
		t.Errorf("the build is %+v", b)
	}
	if holds(erased.OrderID) || !holds(kept.OrderID) {
		t.Error("after a rebuild the file holds the erased, or not the kept")
	}
	third := s.record("loja", 3, "a", ana) // it goes on
	same(t, "after", sorted(kept.OrderID, third.OrderID), s.found(x, "loja", email("ana@example.com")))
	stop()
	s.forget()
	x, _ = s.open(path, s.deps())
	s.wantProof(x, 6, 0)
}

// gated is a vault that waits with an order's personal data, once it is told to.
type gated struct {
	customers.Vault

	shut chan struct{} // of one, in it: the next waits
	came chan struct{}
	open chan struct{}
}

func newGated(of customers.Vault) *gated {
	return &gated{Vault: of, shut: make(chan struct{}, 1), came: make(chan struct{}), open: make(chan struct{})}
}

func (g *gated) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	select {
	case <-g.shut:
		close(g.came)
		select {
		case <-g.open:
		case <-ctx.Done():
			return domain.Personal{}, ctx.Err()
		}
	default:
	}
	return g.Vault.Reveal(ctx, e)
}

func TestTheIndexAnswersWhileAnotherIsBuilt(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	first := s.record("loja", 1, "a", ana)
	deps := s.deps()
	vault := newGated(s.vault)
	deps.Vault = vault
	x, stop := s.open(path, deps)
	if x.Status(s.head(), time.Now()).Build != nil {
		t.Error("there is a build before any")
	}
	vault.shut <- struct{}{}
	number, err := x.Rebuild()
	must(t, err)
	<-vault.came // the build is on its way
	if _, err := x.Rebuild(); domain.KindOf(err) != domain.Refused {
		t.Errorf("a second build: %v", err)
	}
	second := s.record("loja", 2, "a", ana)
	same(t, "meanwhile", sorted(first.OrderID, second.OrderID), s.found(x, "loja", email("ana@example.com")))
	if b := x.Status(s.head(), time.Now()).Build; b == nil || b.Number != number || b.Outcome != "" || b.CaughtUp || b.FileBytes == 0 {
		t.Errorf("meanwhile the build is %+v", b)
	}
	close(vault.open)
	if b, err := x.AwaitBuild(t.Context(), number); err != nil || b.Outcome != projections.Promoted {
		t.Errorf("the build is %+v, %v", b, err)
	}
	if b := x.Status(s.head(), time.Now()).Build; b == nil || b.Outcome != projections.Promoted {
		t.Errorf("at the end the build is %+v", b)
	}
	same(t, "after", sorted(first.OrderID, second.OrderID), s.found(x, "loja", email("ana@example.com")))
	s.wantProof(x, 6, 0)
	stop()
	if _, err := x.Rebuild(); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("a build of what was stopped: %v", err)
	}
}

func TestABuildIsCancelledOrGoesOnAtTheNextStart(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	order := s.record("loja", 1, "a", ana).OrderID
	deps := s.deps()
	vault := newGated(s.vault)
	deps.Vault = vault
	x, stop := s.open(path, deps)
	if _, err := x.CancelBuild(); domain.KindOf(err) != domain.NotFound {
		t.Errorf("cancel nothing: %v", err)
	}
	vault.shut <- struct{}{}
	number, err := x.Rebuild()
	must(t, err)
	<-vault.came
	cancelled, err := x.CancelBuild()
	must(t, err)
	if b, err := x.AwaitBuild(t.Context(), number); err != nil || b.Outcome != projections.Cancelled || cancelled != number {
		t.Errorf("cancelled is %d: %+v, %v", cancelled, b, err)
	}
	if _, err := os.Stat(path + ".next"); !os.IsNotExist(err) {
		t.Errorf("the file of a cancelled build: %v", err)
	}
	if _, err := x.AwaitBuild(t.Context(), 99); domain.KindOf(err) != domain.NotFound {
		t.Errorf("await a build that was not: %v", err)
	}
	same(t, "cancelled", sorted(order), s.found(x, "loja", email("ana@example.com")))

	vault.came = make(chan struct{})
	vault.shut <- struct{}{}
	_, err = x.Rebuild()
	must(t, err)
	<-vault.came
	stop() // and the build with it
	if b := x.Status(s.head(), time.Now()).Build; b.Outcome != projections.Suspended {
		t.Errorf("stopped, the build is %+v", b)
	}
	promoted := make(chan struct{})
	deps = s.deps()
	deps.At = func(p projections.Point) {
		if p == customers.PointPromoted {
			close(promoted)
		}
	}
	x, _ = s.open(path, deps)
	<-promoted
	if _, err := os.Stat(path + ".next"); !os.IsNotExist(err) {
		t.Errorf("the file of a promoted build: %v", err)
	}
	s.wantProof(x, 3, 0)
	same(t, "taken up", sorted(order), s.found(x, "loja", email("ana@example.com")))
}

// A build that cannot be made ends, and the index stays as it is.
func TestABuildThatFailsChangesNothing(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	order := s.record("loja", 1, "a", ana).OrderID
	x, _ := s.open(path, s.deps())
	must(t, os.MkdirAll(filepath.Join(path+".next", "in the way"), 0o700))
	if b := s.rebuilt(x, projections.Failed); b.Detail == "" {
		t.Errorf("it does not say why: %+v", b)
	}
	same(t, "after", sorted(order), s.found(x, "loja", email("ana@example.com")))
	s.wantProof(x, 3, 0)
}

// Whoever looks somebody up while files take each other's place finds them.
func TestNoLookUpMissesWhileBuildsTakeThePlace(t *testing.T) {
	s := newStore(t)
	x, _ := s.open(filepath.Join(t.TempDir(), "customers.db"), s.deps())
	order := s.record("loja", 1, "a", ana).OrderID
	must(t, x.Wait(t.Context(), s.head()))
	end := spawn(t, func(ctx context.Context) error {
		for ctx.Err() == nil {
			found, err := x.Orders(context.WithoutCancel(ctx), "loja", []customers.Name{email("ana@example.com")})
			if err != nil || len(found) != 1 || found[0] != order {
				t.Errorf("found %v, %v", found, err)
				return nil
			}
		}
		return nil
	})
	for n := range 5 {
		s.record("loja", 10+n, "a", bia)
		s.rebuilt(x, projections.Promoted)
		if problems, _ := s.proven(x); len(problems) > 0 {
			t.Errorf("%+v", problems)
		}
	}
	end()
}

// What the new file knows already, when what keeps the index comes to it, is not put again:
// the index never goes back.
func TestWhatABuildHasReadIsNotPutAgain(t *testing.T) {
	s := newStore(t)
	order := s.record("loja", 1, "a", ana).OrderID
	deps := s.deps()
	vault := newGated(s.vault)
	deps.Vault = vault
	var puts atomic.Int32
	deps.At = func(p projections.Point) {
		if p == customers.PointCommit {
			puts.Add(1)
		}
	}
	x, _ := s.open(filepath.Join(t.TempDir(), "customers.db"), deps)
	vault.shut <- struct{}{}
	s.record("loja", 1, "b", bia)
	<-vault.came // what keeps the index waits with it
	s.rebuilt(x, projections.Promoted)
	must(t, x.Wait(t.Context(), s.head()))
	same(t, "of the build", sorted(order), s.found(x, "loja", email("bia@example.com")))
	before := puts.Load()
	close(vault.open)
	s.record("loja", 1, "c", bia)
	must(t, x.Wait(t.Context(), s.head()))
	if n := puts.Load() - before; n != 1 {
		t.Errorf("after the build %d batches were put, want one", n)
	}
	s.wantProof(x, 4, 0)
}

// A build that somebody asks for begins anew, whatever a build before it has left.
func TestARebuildDoesNotGoOnWithWhatWasLeft(t *testing.T) {
	s := newStore(t)
	dir := t.TempDir()
	path, other := filepath.Join(dir, "customers.db"), filepath.Join(dir, "other.db")
	erased := s.record("loja", 1, "a", ana).OrderID
	x, stop := s.open(other, s.deps())
	must(t, x.Wait(t.Context(), s.head()))
	stop()
	x, _ = s.open(path, s.deps())
	s.rebuilt(x, projections.Promoted) // and it has looked for what was left
	must(t, os.Rename(other, path+".next"))
	s.destroy(erased)
	s.rebuilt(x, projections.Promoted)
	var dump bytes.Buffer
	must(t, x.Dump(&dump))
	content, err := os.ReadFile(path)
	must(t, err)
	if bytes.Contains(content, []byte(erased)) {
		t.Error("after a rebuild the file holds the erased")
	}
}
