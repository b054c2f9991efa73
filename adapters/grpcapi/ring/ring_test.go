package ring_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script is a log that tells of events when the test says so.
type script struct {
	batches []chan batch // by partition
	fails   chan error
	follows chan int // partitions, when somebody begins to follow them
}

// batch is what is handed over at once; done is closed when it was.
type batch struct {
	events []domain.Recorded
	done   chan struct{}
}

func newScript(partitions int) *script {
	s := &script{fails: make(chan error), follows: make(chan int, 100)}
	for range partitions {
		s.batches = append(s.batches, make(chan batch))
	}
	return s
}

func (s *script) Partitions() int { return len(s.batches) }

func (s *script) Follow(ctx context.Context, partition int, _ uint64, handle func([]domain.Recorded) error) error {
	s.follows <- partition
	for {
		select {
		case b := <-s.batches[partition]:
			err := handle(b.events)
			close(b.done)
			if err != nil {
				return err
			}
		case err := <-s.fails:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// tell has the ring follow n events of a partition after the sequence after. Those
// of a sequence that is a multiple of 10 are of tenant ten, others of one.
func (s *script) tell(partition int, after uint64, n int) {
	b := batch{done: make(chan struct{})}
	for i := range n {
		sequence := after + uint64(i) + 1
		tenant := domain.TenantID("one")
		if sequence%10 == 0 {
			tenant = "ten"
		}
		b.events = append(b.events, domain.Recorded{
			Partition: partition, Sequence: sequence, Encoded: []byte(strings.Repeat("x", 100) + strconv.FormatUint(sequence, 10)),
			Event: domain.Event{Tenant: tenant, Source: "s", OrderID: "o", Fact: domain.Fact{Reference: fmt.Sprint("r", sequence)}},
		})
	}
	s.batches[partition] <- b
	<-b.done
}

func tens(e *ring.Entry) bool { return e.Tenant == "ten" }

func everything(*ring.Entry) bool { return true }

// model is one reader, and what it should see.
type model struct {
	*ring.Reader

	at     []uint64
	asleep bool
}

// TestAReaderSeesAllOrIsToldOfTheGap has readers sleep, wake and take while events
// come, and holds every one of them to the log.
func TestAReaderSeesAllOrIsToldOfTheGap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		partitions := rapid.IntRange(1, 3).Draw(t, "partitions")
		log := newScript(partitions)
		r := ring.New(log, rapid.IntRange(1, 20_000).Draw(t, "bytes"))
		heads := make([]uint64, partitions)
		for p := range heads {
			heads[p] = rapid.Uint64Range(0, 3).Draw(t, "head")
		}
		var readers []*model
		join := func() {
			m := &model{at: make([]uint64, partitions)}
			for p := range m.at {
				m.at[p] = rapid.Uint64Range(0, heads[p]).Draw(t, "at")
			}
			m.Reader = r.Join(t.Context(), domain.PositionOf(heads), domain.PositionOf(m.at), tens, 7)
			readers = append(readers, m)
		}
		join()
		defer func() {
			for _, m := range readers {
				m.Leave()
			}
		}()
		one := func(t *rapid.T) *model { return readers[rapid.IntRange(0, len(readers)-1).Draw(t, "reader")] }
		t.Repeat(map[string]func(*rapid.T){
			"join": func(*rapid.T) { join() },
			"tell": func(t *rapid.T) {
				p, n := rapid.IntRange(0, partitions-1).Draw(t, "partition"), rapid.IntRange(1, 30).Draw(t, "n")
				log.tell(p, heads[p], n)
				heads[p] += uint64(n)
			},
			"take":  func(t *rapid.T) { one(t).take(t, heads) },
			"sleep": func(t *rapid.T) { one(t).sleep(t, heads) },
			"":      func(t *rapid.T) { checkHeads(t, readers, heads) },
		})
	})
}

func (m *model) take(t *rapid.T, heads []uint64) {
	m.wake(t)
	entries, gap := m.Take(make([]*ring.Entry, 0, 8))
	switch {
	case gap != nil:
		if gap.After != m.at[gap.Partition] || gap.UpTo != heads[gap.Partition] || gap.After >= gap.UpTo || len(entries) > 0 {
			t.Fatalf("at %v of %v: gap %+v, and %d entries", m.at, heads, gap, len(entries))
		}
		m.advance(gap.Partition, gap.UpTo) // as if read from the log
	case len(entries) == 0:
		if !slices.Equal(m.at, heads) {
			t.Fatalf("at %v of %v: nothing to take", m.at, heads)
		}
	}
	for _, e := range entries {
		if e.Sequence != m.at[e.Partition]+1 || !strings.HasSuffix(string(e.Event), "x"+strconv.FormatUint(e.Sequence, 10)) ||
			e.Reference != fmt.Sprint("r", e.Sequence) || e.Source != "s" || e.Order != "o" || tens(e) != (e.Sequence%10 == 0) {
			t.Fatalf("after %d: %+v", m.at[e.Partition], e)
		}
		m.advance(e.Partition, e.Sequence)
	}
}

func (m *model) advance(partition int, sequence uint64) {
	m.Advance(partition, sequence)
	m.at[partition] = sequence
}

func (m *model) sleep(t *rapid.T, heads []uint64) {
	m.wake(t)
	m.Mark()
	if m.asleep = m.Sleep(); m.asleep != slices.Equal(m.at, heads) {
		t.Fatalf("at %v of %v: asleep %v", m.at, heads, m.asleep)
	}
}

// wake ends a sleep: the reader was moved up to what it wants, and it was woken
// for that, or for its patience.
func (m *model) wake(t *rapid.T) {
	if !m.asleep {
		return
	}
	m.asleep = false
	woken := false
	select {
	case <-m.Awake():
		woken = true
	default:
	}
	head, lag := m.Head()
	m.Wake()
	at := m.At()
	wants := false
	for p := range m.at {
		for next := m.at[p] + 1; next <= at.At(p); next++ {
			if next%10 == 0 {
				t.Fatalf("asleep after %d of partition %d, it was moved past %d, which it wants", m.at[p], p, next)
			}
		}
		wants = wants || at.At(p) < head.At(p)
		m.at[p] = at.At(p)
	}
	if patience := m.Passed() >= 7; woken != (wants || patience) || !wants && lag > 0 {
		t.Fatalf("woken %v, though it passed %d and lags by %d at %v of %v", woken, m.Passed(), lag, m.at, head)
	}
}

func checkHeads(t *rapid.T, readers []*model, heads []uint64) {
	for _, m := range readers {
		if head, _ := m.Head(); !head.Equal(domain.PositionOf(heads)) {
			t.Fatalf("head %v, want %v", head, heads)
		}
	}
}

// TestTheRingIsBounded wants at most the bytes that were allowed, whoever reads
// nothing.
func TestTheRingIsBounded(t *testing.T) {
	log := newScript(1)
	r := ring.New(log, 100_000)
	reader := r.Join(t.Context(), domain.Position{}, domain.Position{}, everything, 1)
	defer reader.Leave()
	for n := range 100 {
		log.tell(0, uint64(n)*100, 100)
	}
	_, gap := reader.Take(nil)
	if gap == nil || gap.UpTo != 10_000 {
		t.Fatalf("gap %+v", gap)
	}
	low := 0
	for at := uint64(10_000); gap == nil || gap.After != at; low++ { // from the newest down to the first that is gone
		at--
		again := r.Join(t.Context(), domain.Position{}, domain.PositionOf([]uint64{at}), everything, 1)
		_, gap = again.Take(nil)
		again.Leave()
	}
	if size := low * (768 + 100); low < 100 || size > 100_000+1000 {
		t.Errorf("the ring holds %d entries of some 870 bytes", low)
	}
}

// TestOneFollowerForAll counts who follows, and for how long.
func TestOneFollowerForAll(t *testing.T) {
	log := newScript(4)
	r := ring.New(log, 0)
	for range 3 {
		var readers []*ring.Reader
		for range 50 {
			readers = append(readers, r.Join(t.Context(), domain.Position{}, domain.Position{}, everything, 1))
		}
		seen := map[int]bool{}
		for range 4 {
			seen[<-log.follows] = true
		}
		if len(seen) != 4 || len(log.follows) > 0 {
			t.Errorf("followed are %v, and %d more", seen, len(log.follows))
		}
		for _, reader := range readers {
			reader.Leave() // the last waits for the followers; goleak looks for what is left
		}
	}
}

// TestAFollowerThatFails ends all readers of then, and none that joins later.
func TestAFollowerThatFails(t *testing.T) {
	log := newScript(2)
	r := ring.New(log, 0)
	one := r.Join(t.Context(), domain.Position{}, domain.Position{}, everything, 1)
	two := r.Join(t.Context(), domain.Position{}, domain.Position{}, everything, 1)
	broken := errors.New("broken")
	log.fails <- broken
	for _, reader := range []*ring.Reader{one, two} {
		<-reader.Failed()
		if err := reader.Err(); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
	one.Leave()
	three := r.Join(t.Context(), domain.Position{}, domain.Position{}, everything, 1)
	two.Leave() // ends nothing of the third's
	log.tell(1, 0, 3)
	if entries, _ := three.Take(make([]*ring.Entry, 0, 8)); len(entries) != 3 {
		t.Errorf("%d entries", len(entries))
	}
	three.Leave()
}
