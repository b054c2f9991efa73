package customers_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections"
	"comanda.internal/projections/customers"
)

var (
	ana = &domain.Personal{Name: "Ana", Email: "Ana@example.com", Phone: "+5511999999999", Document: "12ABC34501DE35"}
	// Her sister has her phone.
	bia = &domain.Personal{Name: "Bia", Email: "bia@example.com", Phone: "+5511999999999"}
)

func email(text string) customers.Name { return customers.Name{Kind: customers.Email, Text: text} }

func phone(text string) customers.Name { return customers.Name{Kind: customers.Phone, Text: text} }

func same(t *testing.T, what string, want, got []domain.OrderID) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestOrdersAreFoundByEveryNameTheyEverHad(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	first := s.record("loja", 1, "a", ana)
	x, stop := s.open(path, s.deps())
	second := s.record("loja", 2, "a", ana) // live
	third := s.record("loja", 3, "a", bia)
	other := s.record("outra", 4, "a", ana)
	s.record("loja", 5, "a", nil)

	same(t, "e-mail", sorted(first.OrderID, second.OrderID), s.found(x, "loja", email(" ana@EXAMPLE.com ")))
	same(t, "phone", sorted(first.OrderID, second.OrderID, third.OrderID), s.found(x, "loja", phone("+5511999999999")))
	same(t, "document", sorted(first.OrderID, second.OrderID),
		s.found(x, "loja", customers.Name{Kind: customers.Document, Text: "12ABC34501DE35"}))
	same(t, "either", sorted(first.OrderID, second.OrderID, third.OrderID),
		s.found(x, "loja", email("bia@example.com"), email("ana@example.com")))
	same(t, "all tenants", sorted(first.OrderID, second.OrderID, other.OrderID), s.found(x, "", email("ana@example.com")))
	same(t, "another kind", nil, s.found(x, "loja", phone("ana@example.com")))
	same(t, "another tenant", nil, s.found(x, "outra", email("bia@example.com")))

	s.record("loja", 3, "b", &domain.Personal{Email: "bia@novo.example.com"})
	same(t, "new name", sorted(third.OrderID), s.found(x, "loja", email("bia@novo.example.com")))
	same(t, "old name", sorted(third.OrderID), s.found(x, "loja", email("bia@example.com")))

	stop()
	content, err := os.ReadFile(path)
	must(t, err)
	for _, text := range []string{"ana@", "Ana", "999999", "12ABC3"} {
		if bytes.Contains(bytes.ToLower(content), bytes.ToLower([]byte(text))) {
			t.Errorf("the file holds %q", text)
		}
	}
}

// keyOf is the id of the data key of an order's newest event.
func (s *store) keyOf(id domain.OrderID) (key string) {
	s.t.Helper()
	for partition := range s.log.Partitions() {
		head, err := s.log.Head(s.t.Context())
		must(s.t, err)
		must(s.t, s.log.Scan(s.t.Context(), partition, 0, head.At(partition), func(r *domain.Recorded) error {
			if r.Event.OrderID == id {
				key = r.Event.KeyID
			}
			return nil
		}))
	}
	return key
}

// destroy erases an order as the bucket's own deletion does.
func (s *store) destroy(id domain.OrderID) {
	s.t.Helper()
	m := nats.NewMsg("$KV." + privacy.Bucket + "." + s.keyOf(id))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set("Nats-Rollup", "sub")
	_, err := s.node.Conn().RequestMsgWithContext(s.t.Context(), m)
	must(s.t, err)
}

func TestWhoWasErasedIsNotFound(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	erased, kept := s.record("loja", 1, "a", ana), s.record("loja", 2, "a", ana)
	x, stop := s.open(path, s.deps())
	same(t, "before", sorted(erased.OrderID, kept.OrderID), s.found(x, "loja", email("ana@example.com")))
	s.destroy(erased.OrderID)
	same(t, "after", sorted(kept.OrderID), s.found(x, "loja", email("ana@example.com")))
	stop()
	must(t, os.Remove(path))
	x, _ = s.open(path, s.deps())
	same(t, "made anew", sorted(kept.OrderID), s.found(x, "loja", email("ana@example.com")))
}

func TestItSaysHowFarBehindItIs(t *testing.T) {
	s := newStore(t)
	x, _ := s.open(filepath.Join(t.TempDir(), "customers.db"), s.deps())
	s.record("loja", 1, "a", ana)
	s.found(x, "loja", email("ana@example.com")) // waits for it
	head, err := s.log.Head(t.Context())
	must(t, err)
	now := time.Now().Add(time.Hour)
	if b := x.Status(head, now); b.Name != "customers" || b.Version == 0 || !b.Position.Equal(head) || b.LagEvents != 0 || b.Lag != 0 || b.FileBytes == 0 {
		t.Errorf("level with the log it is %+v", b)
	}
	if b := x.Status(head.With(0, head.At(0)+5), now); b.LagEvents != 5 || b.Lag < time.Hour || !b.Position.Equal(head) {
		t.Errorf("five events behind it is %+v", b)
	}
}

// counting is a vault that counts what it opens.
type counting struct {
	customers.Vault

	opened  chan domain.EventID
	peppers customers.Vault
	pepper  byte
}

func (c *counting) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	c.opened <- e.ID
	return c.Vault.Reveal(ctx, e)
}

func (c *counting) Pepper(tenant domain.TenantID) [sha256.Size]byte {
	pepper := c.peppers.Pepper(tenant)
	pepper[0] ^= c.pepper
	return pepper
}

func TestItGoesOnWhereItWasUnlessItIsOfSomethingElse(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	var orders []domain.OrderID
	for n := range 3 {
		orders = append(orders, s.record("loja", n, "a", ana).OrderID)
	}
	vault := &counting{Vault: s.vault, peppers: s.vault, opened: make(chan domain.EventID, 100)}
	deps := s.deps()
	deps.Vault = vault
	// again opens the index, and says how many events it opened.
	again := func(name string, want int) {
		t.Helper()
		x, stop := s.open(path, deps)
		same(t, name, sorted(orders...), s.found(x, "loja", email("ana@example.com")))
		stop()
		if got := len(vault.opened); got != want {
			t.Errorf("%s: it opened %d events, want %d", name, got, want)
		}
		for len(vault.opened) > 0 {
			<-vault.opened
		}
	}
	again("new", 3)
	again("there", 0)
	orders = append(orders, s.record("loja", 3, "a", ana).OrderID)
	again("grown", 1)
	vault.pepper = 1
	again("another key-encryption key", 4)
	must(t, os.WriteFile(path, []byte("no file of bbolt's, but long enough to be one"), 0o600))
	again("damaged", 4)

	// The same file with a log that has another event in its place.
	other := newStore(t)
	deps.Log = &renamed{Log: other.log, identity: s.log.Identity()}
	other.record("loja", 100, "a", bia)
	for n := range 8 { // as long in both partitions, at least
		other.record("loja", n, "other", bia)
	}
	vault.Vault = other.vault
	x, stop := other.open(path, deps)
	same(t, "another log: who was there", nil, other.found(x, "loja", email("ana@example.com")))
	if got := len(other.found(x, "loja", email("bia@example.com"))); got != 9 {
		t.Errorf("another log: %d orders, want 9", got)
	}
	stop()
}

// attempt opens the index, looks ana up when it is ready, and closes it.
func (s *store) attempt(path string) (found []domain.OrderID, err error) {
	s.t.Helper()
	x, err := customers.Open(path, s.deps())
	must(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Run(ctx) }()
	<-x.Ready()
	found, err = x.Orders(ctx, "loja", []customers.Name{email("ana@example.com")})
	cancel()
	return found, errors.Join(err, <-ended, x.Close())
}

// A page somewhere in the file that is none, over which bbolt panics, costs the index and
// nothing else, wherever it is: one start at the most ends with an error.
func TestADamagedPageIsMadeAnew(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	var orders []domain.OrderID
	for n := range 40 { // more than a page of entries
		orders = append(orders, s.record("loja", n, "a", ana).OrderID)
	}
	_, stop := s.open(path, s.deps())
	stop()
	whole, err := os.ReadFile(path)
	must(t, err)
	size := os.Getpagesize()
	for page := 2; page < 12; page++ {
		damaged := slices.Clone(whole)
		copy(damaged[page*size:], bytes.Repeat([]byte{0xff}, size))
		must(t, os.WriteFile(path, damaged, 0o600))
		orders = append(orders, s.record("loja", 100+page, "a", ana).OrderID) // to be put
		found, err := s.attempt(path)
		if err != nil {
			t.Logf("page %d: %v", page, err)
			found, err = s.attempt(path)
		}
		must(t, err)
		same(t, fmt.Sprint("page ", page), sorted(orders...), found)
	}
}

// renamed is a log under another's identity, as one that lost its end and went on.
type renamed struct {
	projections.Log

	identity string
}

func (r *renamed) Identity() string { return r.identity }

func TestNobodyIsFoundBeforeItIsMade(t *testing.T) {
	s := newStore(t)
	written := s.record("loja", 1, "a", ana)
	deps := s.deps()
	begin := make(chan struct{})
	deps.Begin = begin
	x, err := customers.Open(filepath.Join(t.TempDir(), "customers.db"), deps)
	must(t, err)
	t.Cleanup(func() { must(t, x.Close()) })
	spawn(t, x.Run)
	if _, err := x.Orders(t.Context(), "loja", []customers.Name{email("ana@example.com")}); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("look up: %v", err)
	}
	if err := x.Wait(t.Context(), written.Position); domain.KindOf(err) != domain.Unavailable {
		t.Errorf("wait: %v", err)
	}
	close(begin)
	<-x.Ready()
	same(t, "made", sorted(written.OrderID), s.found(x, "loja", email("ana@example.com")))
	if _, err := customers.Open(filepath.Join(t.TempDir(), "none", "customers.db"), s.deps()); err == nil {
		t.Error("it opened a file in a directory that is not there")
	}
}

// broken is a vault that cannot open an event, and once cannot answer.
type broken struct {
	customers.Vault

	order  domain.OrderID
	refuse chan struct{} // of one
}

func (b *broken) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	select {
	case <-b.refuse:
		return domain.Personal{}, domain.Errorf(domain.Unavailable, "not now")
	default:
	}
	if e.OrderID == b.order {
		return domain.Personal{}, domain.Errorf(domain.Corrupt, "bad seal")
	}
	return b.Vault.Reveal(ctx, e)
}

func TestABrokenSealIsPassedOverAndAnAnswerWaitedFor(t *testing.T) {
	s := newStore(t)
	bad, good := s.record("loja", 1, "a", ana), s.record("loja", 2, "a", ana)
	vault := &broken{Vault: s.vault, order: bad.OrderID, refuse: make(chan struct{}, 1)}
	vault.refuse <- struct{}{}
	registry := prometheus.NewRegistry()
	deps := s.deps()
	deps.Vault, deps.Registerer = vault, registry
	x, _ := s.open(filepath.Join(t.TempDir(), "customers.db"), deps)
	same(t, "the other", sorted(good.OrderID), s.found(x, "loja", email("ana@example.com")))
	families, err := registry.Gather()
	must(t, err)
	if len(families) != 1 || families[0].GetMetric()[0].GetCounter().GetValue() != 1 {
		t.Errorf("the metrics are %v, want one event that was not opened", families)
	}
}
