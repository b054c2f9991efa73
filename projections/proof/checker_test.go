package proof_test

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/attention"
	"comanda.internal/projections/conflicts"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/proof"
	"comanda.internal/projections/queue"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// way is what a checker is told.
type way int

const (
	ofStates way = iota // alone
	ofEvents            // too, as a scrub does
	whole               // and that nothing else comes, as verify does
)

// check folds the orders of s afresh and proves the views of f with it, in every way.
// Of right views that have not moved on no order needs to be compared twice.
func check(t *testing.T, f *projectiontest.Follower, s *projectiontest.Script) (rules map[string][]domain.OrderID, compared uint64) {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	if read := positionOf(t, f); !head.Covers(read) {
		most = len(s.Events())
	}
	rules, compared = checked(t, f, s, ofStates, 0, func() {})
	for _, how := range []way{ofEvents, whole} {
		if told, again := checked(t, f, s, how, most, func() {}); !cmp.Equal(rules, told) || compared != again {
			t.Errorf("told of events (%d) %v of %d orders, else %v of %d", how, told, again, rules, compared)
		}
	}
	return rules, compared
}

func checked(
	t *testing.T, f *projectiontest.Follower, s *projectiontest.Script, how way, most int, meanwhile func(),
) (rules map[string][]domain.OrderID, compared uint64) {
	t.Helper()
	told := how != ofStates
	rules = map[string][]domain.OrderID{}
	c := proof.New(f.File, f.Runner, order.Default(), func(p *comandav1.VerifyProblem) {
		id := domain.OrderID(p.GetOrderId())
		if !slices.Contains(rules[p.GetRule()], id) {
			rules[p.GetRule()] = append(rules[p.GetRule()], id)
			slices.Sort(rules[p.GetRule()])
		}
	})
	if how == whole {
		c.Whole(func(id domain.OrderID) ([]domain.Recorded, error) { return recorded(s, id), nil })
		defer func() {
			if n := c.Unlike(); len(rules) == 0 && n > most {
				t.Errorf("%d orders were compared a second time, want at most %d", n, most)
			}
		}()
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sequences := map[domain.OrderID][]uint64{}
	for partition := range s.Partitions() {
		s.Copy().Change(partition, func(events []domain.Recorded) []domain.Recorded {
			for i := range events {
				if !told {
					break
				}
				if err := c.Event(t.Context(), &events[i]); err != nil {
					t.Fatal(err)
				}
				id := events[i].Event.OrderID
				sequences[id] = append(sequences[id], events[i].Sequence)
			}
			return events
		})
	}
	for id, events := range s.Events() {
		var h *order.History
		for i := range events {
			var err error
			if h, err = h.With(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
		partition := int(id.Slot()) * s.Partitions() / 256
		if err := c.Order(t.Context(), proof.Order{
			ID: id, Source: events[0].Source, State: order.Default().Fold(h), History: h, Partition: partition, Sequence: 1,
			Sequences: sequences[id], Told: uint64(len(sequences[id])),
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	meanwhile()
	if err := c.Finish(head); err != nil {
		t.Fatal(err)
	}
	return rules, c.Compared()
}

// positionOf is what the views have read.
func positionOf(t *testing.T, f *projectiontest.Follower) (read domain.Position) {
	t.Helper()
	err := f.File.Snapshot(func(s *projections.Snapshot) error {
		read = s.Position()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// recorded is an order as the log has it.
func recorded(s *projectiontest.Script, id domain.OrderID) (events []domain.Recorded) {
	for partition := range s.Partitions() {
		s.Copy().Change(partition, func(all []domain.Recorded) []domain.Recorded {
			for i := range all {
				if all[i].Event.OrderID == id {
					events = append(events, all[i])
				}
			}
			return all
		})
	}
	return events
}

func filled(t *testing.T) *projectiontest.Script {
	t.Helper()
	s := projectiontest.NewScript(2)
	s.Fill(t, 11, 12, 150)
	return s
}

func TestRightViewsHaveNoProblem(t *testing.T) {
	s := filled(t)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	f.Wait()
	rules, compared := check(t, f, s)
	if len(rules) > 0 || compared != uint64(len(s.Events())) {
		t.Errorf("problems = %v of %d orders", rules, compared)
	}
}

// Damage to the file's pages, over which bbolt panics, ends the check and not the process.
func TestADamagedPageIsAnError(t *testing.T) {
	s := filled(t)
	path := filepath.Join(t.TempDir(), "views.db")
	f := projectiontest.Start(t, path, s, proof.Views, projections.Config{})
	f.Wait()
	f.Stop()
	f.Close()
	f = projectiontest.Start(t, path, s, proof.Views, projections.Config{})
	f.Wait()
	f.Stop() // it would build them anew
	c := proof.New(f.File, f.Runner, order.Default(), func(p *comandav1.VerifyProblem) { t.Errorf("a problem: %v", p) })
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	if _, err := file.WriteAt(bytes.Repeat([]byte{0xff}, 200*int(page)), 2*page); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for id := range s.Events() {
		if err := c.Order(t.Context(), proof.Order{ID: id, State: order.Default().Fold(nil)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("compared: %v", err)
	}
	if err := c.Finish(domain.Position{}); domain.KindOf(err) != domain.Corrupt {
		t.Errorf("finished: %v", err)
	}
}

func TestViewsMayHaveMovedOnMeanwhile(t *testing.T) {
	s := filled(t)
	then := s.Copy()
	s.Fill(t, 12, 20, 150)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	f.Wait()
	rules, compared := check(t, f, then)
	if len(rules) > 0 || compared != uint64(len(then.Events())) || len(then.Events()) == len(s.Events()) {
		t.Errorf("problems = %v of %d orders", rules, compared)
	}
}

// TestCountsGoOnWhileTheyAreCompared: of orders that had more events after they were
// compared, and of new ones.
func TestCountsGoOnWhileTheyAreCompared(t *testing.T) {
	s := filled(t)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	f.Wait()
	for _, how := range []way{ofEvents, whole} {
		before, orders := len(s.Events()), 0
		rules, compared := checked(t, f, s, how, before, func() {
			s.Fill(t, 13+uint64(how), 20, 150)
			f.Wait()
			orders = len(s.Events())
		})
		if len(rules) > 0 || compared != uint64(before) || orders == before {
			t.Errorf("problems = %v of %d orders, then %d", rules, compared, orders)
		}
	}
}

func TestWhatIsWrongIsFound(t *testing.T) {
	s := filled(t)
	ids := slices.Sorted(maps.Keys(s.Events()))
	contradicted, attended := waiting(t, s)
	referred := ids[slices.IndexFunc(ids, func(id domain.OrderID) bool { return s.Events()[id][0].Fact.Reference != "" })]
	const stranger = domain.OrderID("ord_aaaaaaaaaaaaaaaaaaaaaaaaaa")
	cases := map[string]struct {
		tamper func(orders, timeline *bbolt.Bucket) error
		want   map[string][]domain.OrderID
	}{
		"a field of a row": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				return edit(orders.Bucket([]byte("rows")), []byte(ids[0]), new(comandav1.Order), func(m *comandav1.Order) { m.Method = "cash" })
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {ids[0]}},
		},
		"a missing row": {
			tamper: func(orders, _ *bbolt.Bucket) error { return orders.Bucket([]byte("rows")).Delete([]byte(ids[1])) },
			// its index entries are then of no row
			want: map[string][]domain.OrderID{proof.RuleMissing: {ids[1]}, proof.RuleDiffers: {ids[1]}},
		},
		"a row of no order": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				return orders.Bucket([]byte("rows")).Put([]byte(stranger), nil)
			},
			want: map[string][]domain.OrderID{proof.RuleExtra: {stranger}, proof.RuleDiffers: {stranger}},
		},
		"a timeline of no order": {
			tamper: func(_, timeline *bbolt.Bucket) error {
				return timeline.Bucket([]byte("orders")).Put([]byte(stranger), []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
			},
			want: map[string][]domain.OrderID{proof.RuleExtra: {stranger}},
		},
		"an event of no place in the log": {
			tamper: func(_, timeline *bbolt.Bucket) error {
				events := timeline.Bucket([]byte("events"))
				key, value := events.Cursor().First()
				key = bytes.Clone(key)
				key[len(key)-2]++ // 256 places on
				return events.Put(key, bytes.Clone(value))
			},
			want: map[string][]domain.OrderID{proof.RuleExtra: {""}},
		},
		"a flipped bit in a row": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				rows := orders.Bucket([]byte("rows"))
				stored := slices.Clone(rows.Get([]byte(ids[2])))
				stored[len(stored)-1] ^= 1
				return rows.Put([]byte(ids[2]), stored)
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {ids[2]}},
		},
		"a row that cannot be decoded, and a purchase that lacks an order": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				if err := withoutOrder(orders.Tx().Bucket([]byte("purchases")), "members", referred); err != nil {
					return err
				}
				return orders.Bucket([]byte("rows")).Put([]byte(unlike(ids, referred)), []byte{0xff})
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: slices.Sorted(slices.Values([]domain.OrderID{unlike(ids, referred), referred}))},
		},
		"another amount in the timeline": {
			tamper: func(_, timeline *bbolt.Bucket) error {
				place := bytes.Clone(timeline.Bucket([]byte("orders")).Get([]byte(ids[3]))[:10])
				return edit(timeline.Bucket([]byte("events")), place, new(comandav1.Event), func(m *comandav1.Event) {
					m.Amounts.Total = proto.Int64(1)
					m.Provider = "another"
				})
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {ids[3]}},
		},
		"an event that the timeline does not have": {
			tamper: func(_, timeline *bbolt.Bucket) error {
				places := timeline.Bucket([]byte("orders"))
				all := bytes.Clone(places.Get([]byte(ids[4])))
				return places.Put([]byte(ids[4]), all[:len(all)-10])
			},
			want: map[string][]domain.OrderID{proof.RuleMissing: {ids[4]}, proof.RuleDiffers: {ids[4]}},
		},
		"a purchase that lacks an order": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				return withoutOrder(orders.Tx().Bucket([]byte("purchases")), "members", referred)
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {referred}},
		},
		"a purchase that the list lacks": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				return withoutOrder(orders.Tx().Bucket([]byte("purchases")), "newest", referred)
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {referred}},
		},
		"another status in a purchase": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				members := orders.Tx().Bucket([]byte("purchases")).Bucket([]byte("members"))
				key, value := entryOf(members, referred)
				return members.Put(key, append(value, 0x10, byte(comandav1.OrderStatus_ORDER_STATUS_UNSPECIFIED)))
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {referred}},
		},
		"a conflict that the queue lacks": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("conflicts"))
				key, _ := b.Cursor().First()
				return b.Delete(bytes.Clone(key))
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {contradicted}},
		},
		"attention for what was settled": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("attention"))
				key, value := b.Cursor().First()
				return b.Put(append(bytes.Clone(key), "_of_old"...), bytes.Clone(value))
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {attended}},
		},
		"a count that is one too high": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("stats")).Bucket([]byte("began"))
				key, value := b.Cursor().First()
				value = bytes.Clone(value)
				value[1] += 2 // orders, as a varint
				return b.Put(bytes.Clone(key), value)
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {""}},
		},
		"a count that is missing": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("stats")).Bucket([]byte("left"))
				key, _ := b.Cursor().Last()
				return b.Delete(bytes.Clone(key))
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {""}},
		},
		"a count of nothing": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("stats")).Bucket([]byte("recorded"))
				key, value := b.Cursor().First()
				return b.Put(append(bytes.Clone(key), 0), bytes.Clone(value))
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {""}},
		},
		"a count that cannot be read": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				b := orders.Tx().Bucket([]byte("stats")).Bucket([]byte("standing"))
				key, _ := b.Cursor().First()
				return b.Put(bytes.Clone(key), []byte{0x80})
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {""}},
		},
		"an order in another's purchase": {
			tamper: func(orders, _ *bbolt.Bucket) error {
				members := orders.Tx().Bucket([]byte("purchases")).Bucket([]byte("members"))
				key, value := entryOf(members, referred)
				return members.Put(append(key[:len(key)-30:len(key)-30], stranger...), value)
			},
			want: map[string][]domain.OrderID{proof.RuleDiffers: {stranger}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "views.db")
			f := projectiontest.Start(t, path, s, proof.Views, projections.Config{})
			f.Wait()
			f.Stop()
			f.Close()
			change(t, path, c.tamper)
			f = projectiontest.Start(t, path, s, proof.Views, projections.Config{})
			<-f.Runner.Ready()
			rules, _ := check(t, f, s)
			if diff := cmp.Diff(c.want, rules); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Whatever a check leaves to its end, it says in which field a row differs; and that one
// differs also where the log cannot say any more what the row should be.
func TestWhatDiffersIsNamedAtTheEnd(t *testing.T) {
	s := filled(t)
	id := slices.Sorted(maps.Keys(s.Events()))[0]
	for name, c := range map[string]struct {
		tamper func(orders, timeline *bbolt.Bucket) error
		want   string
	}{
		"a row": {func(orders, _ *bbolt.Bucket) error {
			return edit(orders.Bucket([]byte("rows")), []byte(id), new(comandav1.Order), func(m *comandav1.Order) { m.Method = "cash" })
		}, "of the log: method: the view has cash"},
		"a timeline and no log": {func(_, timeline *bbolt.Bucket) error {
			return timeline.Bucket([]byte("orders")).Delete([]byte(id))
		}, "reading it again: gone"},
	} {
		path := filepath.Join(t.TempDir(), "views.db")
		f := projectiontest.Start(t, path, s, proof.Views, projections.Config{})
		f.Wait()
		f.Stop()
		f.Close()
		change(t, path, c.tamper)
		f = projectiontest.Start(t, path, s, proof.Views, projections.Config{})
		<-f.Runner.Ready()
		var said []string
		checker := proof.New(f.File, f.Runner, order.Default(), func(p *comandav1.VerifyProblem) {
			if p.GetOrderId() != string(id) {
				t.Errorf("%s: a problem of another order: %v", name, p)
			}
			said = append(said, p.GetDetail())
		})
		checker.Whole(func(domain.OrderID) ([]domain.Recorded, error) { return nil, errors.New("gone") })
		tell(t, checker, s)
		if !slices.ContainsFunc(said, func(detail string) bool { return strings.Contains(detail, c.want) }) {
			t.Errorf("%s: said %q, want %q", name, said, c.want)
		}
	}
}

// tell has a checker compare all of s.
func tell(t *testing.T, c *proof.Checker, s *projectiontest.Script) {
	t.Helper()
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id := range s.Events() {
		var h *order.History
		var sequences []uint64
		all := recorded(s, id)
		for i := range all {
			sequences = append(sequences, all[i].Sequence)
			if h, err = h.With(&all[i].Event); err == nil {
				err = c.Event(t.Context(), &all[i])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		last := &all[len(all)-1]
		err := c.Order(t.Context(), proof.Order{
			ID: id, Source: all[0].Event.Source, State: order.Default().Fold(h), History: h, Partition: last.Partition,
			Sequence: last.Sequence, Sequences: sequences, Told: uint64(len(all)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(head); err != nil {
		t.Fatal(err)
	}
}

func TestAParkedOrderIsAProblem(t *testing.T) {
	s := filled(t)
	truth := s.Copy()
	known := slices.Sorted(maps.Keys(s.Events()))[0]
	bad := s.Events()[known][0]
	bad.ID, bad.Revision = "bad", 999
	s.Append(bad)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	f.Wait()
	rules, _ := check(t, f, truth)
	want := map[string][]domain.OrderID{proof.RuleDiffers: {known}}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestASkippedEventIsReportedAsSuch(t *testing.T) {
	s := filled(t)
	truth := s.Copy()
	known := slices.Sorted(maps.Keys(s.Events()))[0]
	bad := s.Events()[known][0]
	bad.ID, bad.Revision = "bad", 999
	s.Append(bad)
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	<-f.Runner.Ready()
	if still, err := f.Runner.SkipParked(t.Context(), known, "made by hand"); still != nil || err != nil {
		t.Fatalf("parked for %+v, %v", still, err)
	}
	rules, _ := check(t, f, truth)
	want := map[string][]domain.OrderID{proof.RuleSkipped: {known}}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func edit[M proto.Message](b *bbolt.Bucket, key []byte, m M, fn func(M)) error {
	if err := proto.Unmarshal(b.Get(key), m); err != nil {
		return err
	}
	fn(m)
	stored, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return b.Put(key, stored)
}

// waiting are the orders of the first entries of the queues: by tenant, then by
// recording of what caused them.
func waiting(t *testing.T, s *projectiontest.Script) (contradicted, attended domain.OrderID) {
	t.Helper()
	f := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, proof.Views, projections.Config{})
	f.Wait()
	last := func(q *queue.View) domain.OrderID {
		items, _, err := q.List(queue.Filter{}, queue.Page{Size: 1000})
		if err != nil || len(items) == 0 {
			t.Fatalf("%d items, %v", len(items), err)
		}
		return domain.OrderID(items[len(items)-1].GetOrderId())
	}
	return last(conflicts.New(f.File)), last(attention.New(f.File))
}

// entryOf are copies of the entry of a bucket whose key ends with an order's id.
func entryOf(b *bbolt.Bucket, id domain.OrderID) (key, value []byte) {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		if bytes.HasSuffix(k, []byte(id)) {
			return bytes.Clone(k), bytes.Clone(v)
		}
	}
	return nil, nil
}

// unlike is the first of ids that is not other.
func unlike(ids []domain.OrderID, other domain.OrderID) domain.OrderID {
	return ids[slices.IndexFunc(ids, func(id domain.OrderID) bool { return id != other })]
}

func withoutOrder(view *bbolt.Bucket, bucket string, id domain.OrderID) error {
	b := view.Bucket([]byte(bucket))
	key, _ := entryOf(b, id)
	return b.Delete(key)
}

func change(t *testing.T, path string, fn func(orders, timeline *bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return fn(tx.Bucket([]byte("orders")), tx.Bucket([]byte("timeline")))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
