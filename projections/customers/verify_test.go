package customers_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
	"go.etcd.io/bbolt"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/projections/customers"
)

// proven is what a check of x finds and compares.
func (s *store) proven(x *customers.Index) ([]customers.Problem, customers.Proof) {
	s.t.Helper()
	var problems []customers.Problem
	var read, total uint64
	found, err := x.Verify(s.t.Context(), func(p customers.Problem) { problems = append(problems, p) }, func(n, of uint64) { read, total = n, of })
	must(s.t, err)
	if read != total {
		s.t.Errorf("it told of %d events of %d", read, total)
	}
	return problems, found
}

// wantProof wants no problems, and so many entries.
func (s *store) wantProof(x *customers.Index, entries, leftOver uint64) {
	s.t.Helper()
	head, err := s.log.Head(s.t.Context())
	must(s.t, err)
	must(s.t, x.Wait(s.t.Context(), head))
	problems, found := s.proven(x)
	if len(problems) > 0 || found.Entries != entries || found.LeftOver != leftOver || !found.Position.Equal(head) {
		s.t.Errorf("it found %+v and compared %+v, want no problems, %d entries and %d left over", problems, found, entries, leftOver)
	}
}

// spoil changes the file of an index, from its entries on.
func spoil(t *testing.T, path string, change func(entries *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("entries"))) }))
	must(t, db.Close())
}

func TestARightIndexIsProven(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	s.record("loja", 1, "a", ana)
	x, stop := s.open(path, s.deps())
	s.record("loja", 1, "b", ana)
	s.record("outra", 2, "a", bia)
	s.record("outra", 3, "a", nil)
	s.wantProof(x, 5, 0)
	s.record("loja", 2, "b", bia) // after a check, another
	s.wantProof(x, 7, 0)
	stop()
	x, err := customers.Look(path, s.deps())
	must(t, err)
	s.wantProof(x, 7, 0)
	s.record("loja", 4, "a", ana) // beyond where it stopped
	if problems, found := s.proven(x); len(problems) > 0 || found.Entries != 7 {
		t.Errorf("an index behind the log: %+v, %+v", problems, found)
	}
	must(t, x.Close())
}

func TestAnIndexThatGoesOnIsProven(t *testing.T) {
	s := newStore(t)
	x, _ := s.open(filepath.Join(t.TempDir(), "customers.db"), s.deps())
	for n := range 20 {
		s.record("loja", n, "a", ana)
		if problems, _ := s.proven(x); len(problems) > 0 {
			t.Fatalf("while it goes on: %+v", problems)
		}
	}
	s.wantProof(x, 60, 0)
}

func TestWhatWasNotSealedIsProven(t *testing.T) {
	s := newStore(t)
	s.openWith(privacy.Disabled())
	path := filepath.Join(t.TempDir(), "customers.db")
	s.record("loja", 1, "a", ana)
	x, stop := s.open(path, s.deps())
	s.wantProof(x, 3, 0)
	stop()
	x, _ = s.open(path, s.deps())
	s.wantProof(x, 3, 0)
}

func TestEntriesOfWhoWasErasedAreLeftOver(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	erased := s.record("loja", 1, "a", ana)
	s.record("loja", 2, "a", bia)
	x, stop := s.open(path, s.deps())
	s.wantProof(x, 5, 0)
	s.destroy(erased.OrderID)
	s.wantProof(x, 5, 0) // this process remembers the key
	stop()
	s.forget()
	x, stop = s.open(path, s.deps())
	s.wantProof(x, 2, 3)
	s.record("loja", 1, "b", &domain.Personal{Phone: ana.Phone, Email: "ana@novo.example.com"}) // under another key
	s.wantProof(x, 4, 2)
	stop()
	s.forget()
	spoil(t, path, func(b *bbolt.Bucket) error { // what nobody can know: it finds nothing
		k, _ := b.Cursor().First()
		other := slices.Clone(k)
		other[len("loja")+1] ^= 1
		return b.Put(other, []byte("key_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
	})
	x, _ = s.open(path, s.deps())
	s.wantProof(x, 4, 3)
}

func TestWhatThisProcessAloneCanOpenIsNotWanted(t *testing.T) {
	s := newStore(t)
	path := filepath.Join(t.TempDir(), "customers.db")
	first := s.record("loja", 1, "a", ana)
	old := s.vault // which goes on remembering the key
	_, stop := s.open(path, s.deps())
	stop()
	js, err := jetstream.New(s.node.Conn())
	must(t, err)
	keys, err := js.KeyValue(t.Context(), privacy.Bucket)
	must(t, err)
	key, err := keys.Get(t.Context(), s.keyOf(first.OrderID))
	must(t, err)
	s.destroy(first.OrderID)
	spoil(t, path, func(b *bbolt.Bucket) error {
		k, _ := b.Cursor().First()
		return b.Delete(slices.Clone(k))
	})
	x, stop := s.open(path, s.deps())
	s.wantProof(x, 2, 0)
	stop()

	must(t, os.Remove(path))
	s.forget()
	s.record("loja", 1, "b", &domain.Personal{Phone: ana.Phone, Email: "ana@novo.example.com"}) // under another key
	deps := s.deps()
	deps.Vault = old
	x, _ = s.open(path, deps)
	s.wantProof(x, 4, 0) // of the phone with the other
	_, err = keys.Put(t.Context(), key.Key(), key.Value())
	must(t, err)
	s.wantProof(x, 4, 0) // though the first is there again
}

func TestAWrongIndexIsNotProven(t *testing.T) {
	s := newStore(t)
	written := s.record("loja", 1, "a", ana)
	s.record("loja", 1, "b", ana)
	place := customers.Problem{OrderID: written.OrderID}
	for p := range s.log.Partitions() {
		if written.Position.At(p) > 0 {
			place.Partition, place.Sequence = p, written.Position.At(p)
		}
	}
	of := func(rule customers.Rule, id domain.OrderID, detail string) customers.Problem {
		if rule == customers.Extra {
			return customers.Problem{Rule: rule, OrderID: id, Detail: detail}
		}
		p := place
		p.Rule, p.Detail = rule, detail
		return p
	}
	first := func(b *bbolt.Bucket) (k, v []byte) {
		k, v = b.Cursor().First()
		return slices.Clone(k), slices.Clone(v)
	}
	later := of(customers.Differs, "", "an entry of this order in the customer index names another data key")
	later.Sequence++
	for name, c := range map[string]struct {
		change func(*bbolt.Bucket) error
		want   customers.Problem
	}{
		"missing": {func(b *bbolt.Bucket) error {
			k, _ := first(b)
			return b.Delete(k)
		}, of(customers.Missing, "", "the customer index lacks an entry of this order")},
		"another key": {func(b *bbolt.Bucket) error {
			k, _ := first(b)
			return b.Put(k, []byte("key_aaaaaaaaaaaaaaaaaaaaaaaaaa"))
		}, later},
		"another's name": {func(b *bbolt.Bucket) error {
			k, v := first(b)
			k[len("loja")+1] ^= 1
			return b.Put(k, v)
		}, of(customers.Extra, written.OrderID, "the customer index has an entry of this order that the log does not give")},
		"no key": {func(b *bbolt.Bucket) error {
			k, _ := first(b)
			k[len("loja")+1] ^= 1
			return b.Put(k, []byte("a key.>"))
		}, of(customers.Extra, written.OrderID, "the customer index has an entry of this order that names no data key")},
		"no entry": {func(b *bbolt.Bucket) error {
			_, v := first(b)
			return b.Put([]byte("\xffana@example.com"), v)
		}, of(customers.Extra, "", "the customer index has an entry that is none")},
	} {
		t.Run(name, func(t *testing.T) {
			s := *s
			s.t = t
			path := filepath.Join(t.TempDir(), "customers.db")
			_, stop := s.open(path, s.deps())
			stop()
			spoil(t, path, c.change)
			x, stop := s.open(path, s.deps())
			problems, _ := s.proven(x)
			if diff := cmp.Diff([]customers.Problem{c.want}, problems); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			stop()
			x, err := customers.Look(path, s.deps())
			must(t, err)
			problems, _ = s.proven(x)
			if diff := cmp.Diff([]customers.Problem{c.want}, problems); diff != "" {
				t.Errorf("stopped (-want +got):\n%s", diff)
			}
			must(t, x.Close())
		})
	}
}

func TestAnIndexThatIsNotMadeIsNotProven(t *testing.T) {
	s := newStore(t)
	s.record("loja", 1, "a", ana)
	path := filepath.Join(t.TempDir(), "customers.db")
	wants := func(what string, want domain.ErrorKind, err error) {
		t.Helper()
		if domain.KindOf(err) != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	_, err := customers.Look(path, s.deps())
	wants("not there", domain.NotFound, err)
	deps := s.deps()
	deps.Begin = make(chan struct{})
	x, err := customers.Open(path, deps)
	must(t, err)
	verify := func(ctx context.Context, x *customers.Index) error {
		_, err := x.Verify(ctx, func(p customers.Problem) { t.Errorf("%+v", p) }, func(uint64, uint64) {})
		return err
	}
	wants("being made", domain.Unavailable, verify(t.Context(), x))
	_, err = customers.Look(path, s.deps())
	wants("another has it", domain.Unavailable, err)
	must(t, x.Close())

	x, stop := s.open(path, s.deps())
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := verify(ended, x); err == nil || ended.Err() == nil {
		t.Errorf("ended: %v", err)
	}
	stop()
	deps.Log = &renamed{Log: s.log, identity: "another"}
	_, err = customers.Look(path, deps)
	wants("of another log", domain.Unavailable, err)

	other := newStore(t) // shorter, and then as long
	deps = s.deps()
	deps.Log = &renamed{Log: other.log, identity: s.log.Identity()}
	x, err = customers.Look(path, deps)
	must(t, err)
	wants("of a longer log", domain.Unavailable, verify(t.Context(), x))
	other.record("loja", 1, "a", nil)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x, err = customers.Look(path, deps)
	must(t, err)
	problems, _ := s.proven(x)
	if len(problems) == 0 || problems[0].Detail != "the customer index remembers another event here" {
		t.Errorf("a log with another event: %+v", problems)
	}
	must(t, x.Close())
}
