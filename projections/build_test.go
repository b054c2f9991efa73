package projections_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/kv"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
)

// plain hides that a projection can be built.
type plain struct{ projections.Projection }

func TestAViewThatCannotBeBuiltIsApplied(t *testing.T) {
	s := filled(t)
	applied := func(r projections.Reader) (projections.Facts, []projections.Projection) {
		facts, others := views(r)
		for i := range others {
			others[i] = plain{others[i]}
		}
		return facts, others
	}
	f := projectiontest.Start(t, viewsPath(t), s, applied, projectiontest.AtOnce)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

// startBuild runs the views of s, told to build, and returns what was logged when
// they hold all of it.
func startBuild(t *testing.T, path string, s *projectiontest.Script) (*projections.File, string) {
	t.Helper()
	var logged bytes.Buffer
	d := deps(s)
	d.Logger = slog.New(slog.NewTextHandler(&logged, nil))
	file := openFile(t, path)
	facts, others := views(file)
	r, err := projections.New(projectiontest.AtOnce, d, file, facts, others...)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	head, err := s.Head(ctx)
	must(t, err)
	<-r.Ready()
	must(t, r.Wait(ctx, head))
	cancel()
	must(t, <-ended)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	must(t, err)
	if !slices.Equal(left, []string{path, path + ".seen"}) {
		t.Errorf("there are files %v, want %s and what it has seen alone", left, path)
	}
	return file, logged.String()
}

func dump(t *testing.T, f *projections.File) []byte {
	t.Helper()
	var out bytes.Buffer
	must(t, f.Dump(&out))
	return out.Bytes()
}

func TestViewsThatAreFarBehindAreBuilt(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	build(t, path, s)
	s.Fill(t, 8, 40, 300)
	must(t, os.WriteFile(path+".building", []byte("of a build that was cut off"), 0o600))
	file, logged := startBuild(t, path, s)
	if !strings.Contains(logged, `msg="views are built"`) {
		t.Errorf("they were not: %s", logged)
	}
	if !bytes.Equal(dump(t, file), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

func TestViewsThatAreNearlyUpToDateAreNotBuilt(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	build(t, path, s)
	s.Fill(t, 8, 40, 10)
	_, logged := startBuild(t, path, s)
	if strings.Contains(logged, "built") {
		t.Errorf("they were: %s", logged)
	}
}

func TestAnOrderThatIsParkedIsLeftOutOfABuild(t *testing.T) {
	s := filled(t)
	bad := s.Events()[firstOrder(s)][0]
	bad.ID, bad.Revision = "bad", 999
	s.Append(bad)
	s.Fill(t, 9, 10, 100) // which knows nothing of it, and has more of the order
	file, logged := startBuild(t, viewsPath(t), s)
	if !strings.Contains(logged, `msg="views are built"`) {
		t.Errorf("logged: %s", logged)
	}
	parked := 0
	must(t, file.Snapshot(func(s *projections.Snapshot) error {
		return s.Parked(func(domain.OrderID, string) { parked++ })
	}))
	if parked != 1 {
		t.Errorf("%d orders are parked, want the one", parked)
	}
	if !bytes.Equal(dump(t, file), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
}

func firstOrder(s *projectiontest.Script) domain.OrderID {
	var ids []domain.OrderID
	for id := range s.Events() {
		ids = append(ids, id)
	}
	return slices.Min(ids)
}

// TestReadersDuringABuild reads while files take one another's place, and wants to
// see whole views only: none or all.
func TestReadersDuringABuild(t *testing.T) {
	s := filled(t)
	orders := len(s.Events())
	file := openFile(t, viewsPath(t))
	facts, others := views(file)
	r, err := projections.New(projectiontest.AtOnce, deps(s), file, facts, others...)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				n := 0
				err := file.View(func(tx *kv.Tx) error {
					return tx.Bucket("orders", "rows").ForEach(func(_, _ []byte) error { n++; return nil })
				})
				if err != nil || (n != 0 && n != orders) {
					t.Errorf("%d rows, %v; want none or %d", n, err, orders)
					return
				}
			}
		})
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-r.Ready()
	cancel()
	readers.Wait()
	must(t, <-ended)
}

// heldLog waits at its first scan's last event.
type heldLog struct {
	*projectiontest.Script

	first         sync.Once
	reached, goOn chan struct{}
}

func (l *heldLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	return l.Script.Stored(ctx, partition, after, upTo, func(events []domain.Stored) error {
		if events[len(events)-1].Sequence == upTo {
			l.first.Do(func() {
				close(l.reached)
				<-l.goOn
			})
		}
		return handle(events)
	})
}

// TestABuildAtTheStartIsSeen has views of another version, whose rows mean nothing any
// more, be made anew: nobody reads the old ones meanwhile, and how far it is can be asked.
func TestABuildAtTheStartIsSeen(t *testing.T) {
	s := &heldLog{Script: filled(t), reached: make(chan struct{}), goOn: make(chan struct{})}
	path := viewsPath(t)
	build(t, path, s.Script)
	file := openFile(t, path)
	facts, others := views(file)
	others[0] = renumbered{orders.New(file)}
	r, err := projections.New(projectiontest.AtOnce, deps(s), file, facts, others...)
	must(t, err)
	if _, building := r.Starting(); building {
		t.Error("it is built before it is run")
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	<-s.reached
	must(t, file.View(func(tx *kv.Tx) error {
		return tx.Bucket("orders", "rows").ForEach(func(k, _ []byte) error { return fmt.Errorf("%s is read of the old views", k) })
	}))
	p, building := r.Starting()
	status, err := r.Status(ctx)
	must(t, err)
	b := status.Build
	if !building || p.Total == 0 || p.Folded != 0 || status.CaughtUp || b == nil || b.Number != 0 || b.Progress.Total != p.Total || !b.Wanted {
		t.Errorf("the build is %+v, %v; the status %+v", p, building, b)
	}
	close(s.goOn)
	<-r.Ready()
	status, err = r.Status(ctx)
	must(t, err)
	if p, building := r.Starting(); building || !status.CaughtUp || status.Build != nil || p.Folded != p.Total {
		t.Errorf("afterwards it is %+v, %v; the status %+v", p, building, status.Build)
	}
	cancel()
	must(t, <-ended)
}

// newerLog holds an event with a field that this program does not know.
type newerLog struct {
	*projectiontest.Script

	read atomic.Int32 // times that the event was
}

func (l *newerLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	return l.Script.Stored(ctx, partition, after, upTo, func(events []domain.Stored) error {
		if partition == 0 && events[0].Sequence == 1 {
			events[0].Encoded = protowire.AppendVarint(protowire.AppendTag(slices.Clone(events[0].Encoded), 127, protowire.VarintType), 1)
			l.read.Add(1)
		}
		return handle(events)
	})
}

// TestAnEventInAnotherFormIsWrittenInOurs wants the bytes that following gives.
func TestAnEventInAnotherFormIsWrittenInOurs(t *testing.T) {
	s := &newerLog{Script: filled(t)}
	f := projectiontest.Start(t, viewsPath(t), s, views, projectiontest.AtOnce)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s.Script)) {
		t.Error("the views hold other bytes")
	}
	if n := s.read.Load(); n != 2 {
		t.Errorf("the build began %d times, want 2", n)
	}
}

// TestABuiltFileIsWhole has bbolt check what no bbolt wrote.
func TestABuiltFileIsWhole(t *testing.T) {
	path := viewsPath(t)
	f := projectiontest.Start(t, path, filled(t), views, projectiontest.AtOnce)
	f.Wait()
	f.Stop()
	f.Close()
	db, err := kv.OpenBolt(path)
	must(t, err)
	defer func() { must(t, db.Close()) }()
	must(t, db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Error(err)
		}
		return nil
	}))
}

// brokenLog ends with an error after some events.
type brokenLog struct {
	*projectiontest.Script

	mu     sync.Mutex
	broken bool
}

var errTorn = errors.New("torn")

func (l *brokenLog) Stored(ctx context.Context, partition int, after, upTo uint64, handle func([]domain.Stored) error) error {
	l.mu.Lock()
	tear := !l.broken
	l.broken = true
	l.mu.Unlock()
	if tear {
		return errors.Join(l.Script.Stored(ctx, partition, after, upTo/2, handle), errTorn)
	}
	return l.Script.Stored(ctx, partition, after, upTo, handle)
}

func TestABuildThatFailsIsNoLoss(t *testing.T) {
	s, path := filled(t), viewsPath(t)
	f := projectiontest.Start(t, path, &brokenLog{Script: s}, views, projectiontest.AtOnce)
	f.Wait()
	if !bytes.Equal(f.Dump(), build(t, viewsPath(t), s)) {
		t.Error("the views hold other bytes")
	}
	if _, err := os.Stat(path + ".building"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unfinished build is still there: %v", err)
	}
}

func TestSorterSortsInMemoryAndInRuns(t *testing.T) {
	var keys, want []string
	for i := range 500 {
		key := fmt.Sprintf("%x", (i*7919)%1000)
		keys, want = append(keys, key), append(want, key)
	}
	slices.Sort(want)
	var both []string
	for _, key := range want {
		both = append(both, key, "of "+key)
	}
	for _, most := range []int{1, 40, 1 << 20} {
		got, err := projections.Sorted(filepath.Join(t.TempDir(), "entries"), most, keys)
		if diff := cmp.Diff(both, got); diff != "" || err != nil {
			t.Errorf("with %d bytes in memory: %v (-want +got):\n%s", most, err, diff)
		}
	}
}

// Keys have much in common, begin one another, and hold zeros.
func TestSorterSortsKeysThatAreAlike(t *testing.T) {
	path := filepath.Join(t.TempDir(), "entries")
	rapid.Check(t, func(t *rapid.T) {
		prefix := rapid.SampledFrom([]string{"", "\x04loja", "\x04loja\x00\x00\x00\x00\x00\x00\x00\x00\x00"}).Draw(t, "prefix")
		tails := rapid.SliceOfNDistinct(rapid.StringOfN(rapid.SampledFrom([]rune("\x00\x01a")), 0, 12, -1), 1, 60, rapid.ID[string]).Draw(t, "tails")
		var keys, want []string
		for _, tail := range tails {
			keys = append(keys, prefix+tail)
		}
		for _, key := range slices.Sorted(slices.Values(keys)) {
			want = append(want, key, "of "+key)
		}
		most := rapid.SampledFrom([]int{1, 100, 1 << 20}).Draw(t, "most")
		got, err := projections.Sorted(path, most, keys)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Fatalf("with %d bytes in memory: %v (-want +got):\n%s", most, err, diff)
		}
	})
}

func TestOrdersAreFoldedWhole(t *testing.T) {
	for _, c := range []struct {
		orders []string
		most   int
		want   int
	}{
		{nil, 2, 0},
		{[]string{"a"}, 2, 1},
		{[]string{"a", "b"}, 2, 2},
		{[]string{"a", "b", "c"}, 2, 2},
		{[]string{"a", "b", "b", "b", "c"}, 2, 4},
		{[]string{"a", "a", "a"}, 2, 3},
		{[]string{"a", "b", "b"}, 1, 1},
	} {
		if got := projections.WholeOrders(c.orders, c.most); got != c.want {
			t.Errorf("of %v, %d at least: %d, want %d", c.orders, c.most, got, c.want)
		}
	}
}

func TestRangesAscendWithOrderIDs(t *testing.T) {
	seen := map[int]bool{}
	var ids []domain.OrderID
	for i := range 5000 {
		ids = append(ids, domain.Identity{Tenant: "loja", ProviderOrderID: fmt.Sprint(i)}.OrderID())
	}
	slices.Sort(ids)
	last := 0
	for _, id := range ids {
		n := projections.RangeOf(id)
		if n < last || n > 255 {
			t.Fatalf("%s is in range %d, after %d", id, n, last)
		}
		seen[n], last = true, n
	}
	if len(seen) != 256 {
		t.Errorf("5,000 orders are in %d ranges", len(seen))
	}
}

// TestAnOrderIsSpilledAndReadAgain has more events in one range than are held in memory.
func TestAnOrderIsSpilledAndReadAgain(t *testing.T) {
	s := projectiontest.NewScript(1)
	fact := domain.Fact{Kind: domain.KindDetails, Provider: "comanda", ProviderOrderID: "A-1", Detail: strings.Repeat("x", 500)}
	for i := range 100 {
		fact.Key = fmt.Sprint(i)
		s.Record(t, "loja", fact)
	}
	file, logged := startBuild(t, viewsPath(t), s)
	if !strings.Contains(logged, `msg="views are built"`) || !bytes.Equal(dump(t, file), build(t, viewsPath(t), s)) {
		t.Errorf("the views hold other bytes, or were not built: %s", logged)
	}
}
