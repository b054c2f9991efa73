package eventstore_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/natsnode/natstest"
)

// sink keeps what is logged.
type sink struct{ strings.Builder }

func logger(s *sink) *slog.Logger {
	return slog.New(slog.NewTextHandler(s, nil))
}

func scanned(t *testing.T, s *store, after, upTo uint64) (out []domain.Recorded) {
	t.Helper()
	err := s.Scan(t.Context(), 0, after, upTo, func(r *domain.Recorded) error {
		out = append(out, *r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// undecoded is scanned by Stored.
func undecoded(t *testing.T, s *store, after, upTo uint64) (out []domain.Stored) {
	t.Helper()
	err := s.Stored(t.Context(), 0, after, upTo, func(events []domain.Stored) error {
		out = append(out, events...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// reading is a way in which a log is read in bulk.
type reading struct {
	name  string
	files bool // of the embedded server
}

// readings are all of them.
var readings = []reading{{"files", true}, {"snapshot", false}}

func (r reading) open(t *testing.T, node *natsnode.Node, dir string, cfg eventstore.Config) *store {
	t.Helper()
	if r.files {
		cfg.Files = node.Files()
	}
	return open(t, node.Conn(), dir, cfg, eventstore.RecorderConfig{})
}

// Files, a snapshot and a consumer give the same events, whatever part is asked for, and
// neither more than that.
func TestAllWaysReadTheSame(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	for n := range 10 {
		record(t, s, fact(n, 0, domain.KindPending))
	}
	plain := open(t, node.Conn(), dir, eventstore.Config{BulkFrom: math.MaxUint64}, eventstore.RecorderConfig{})
	for _, way := range readings {
		t.Run(way.name, func(t *testing.T) {
			var said sink
			bulk := way.open(t, node, dir, eventstore.Config{BulkFrom: 1, Logger: logger(&said)})
			for _, part := range [][2]uint64{{0, 10}, {0, 7}, {1, 8}, {2, 10}, {0, 1}, {9, 10}, {4, 4}} {
				want, got := scanned(t, plain, part[0], part[1]), scanned(t, bulk, part[0], part[1])
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("%d to %d (-consumer +bulk):\n%s", part[0], part[1], diff)
				}
				if diff := gocmp.Diff(asStored(want), undecoded(t, bulk, part[0], part[1])); diff != "" {
					t.Errorf("%d to %d, not decoded (-scanned +stored):\n%s", part[0], part[1], diff)
				}
				if uint64(len(got)) != part[1]-part[0] {
					t.Errorf("%d to %d: %d events", part[0], part[1], len(got))
				}
			}
			refused := map[string]int{"files": 0, "snapshot": 2}[way.name] // a tenth of the log is no snapshot's work, in two ways of reading
			if strings.Count(said.String(), "not worth it") != refused || strings.Count(said.String(), "a consumer reads") != refused {
				t.Errorf("all else is read in bulk: %s", said.String())
			}
		})
	}
}

// asStored is what Stored hands over of these events.
func asStored(events []domain.Recorded) (out []domain.Stored) {
	for i := range events {
		r := &events[i]
		out = append(out, domain.Stored{
			Order: r.Event.OrderID, Partition: r.Partition, Sequence: r.Sequence, Hash: r.Hash, Encoded: r.Encoded,
		})
	}
	return out
}

// Verify reads into memory that it uses again: each event is its own all the same, and
// what is kept of orders stays.
func TestVerifyReadsManyBatches(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	kinds := []domain.Kind{domain.KindStarted, domain.KindPending, domain.KindApproved}
	const orders = 9
	for i, kind := range kinds {
		for n := range orders {
			record(t, s, fact(n, i, kind))
		}
	}
	want := scanned(t, s, 0, orders*uint64(len(kinds)))
	for _, way := range readings {
		t.Run(way.name, func(t *testing.T) {
			bulk := way.open(t, node, dir, eventstore.Config{BulkFrom: 1})
			eventstore.Batches(bulk.Log, 2)
			verifyInBatches(t, bulk, want)
		})
	}
}

func verifyInBatches(t *testing.T, bulk *store, want []domain.Recorded) {
	t.Helper()
	at, states := 0, map[domain.OrderID]string{}
	for _, memory := range []int{0, 2} { // of 2 events: orders are put away, and folded again
		at = 0
		report, err := bulk.Verify(t.Context(), eventstore.VerifyOptions{
			EventsInMemory: memory,
			Event: func(r *domain.Recorded) error {
				if diff := gocmp.Diff(want[at], *r); diff != "" {
					t.Errorf("event %d (-consumer +verify):\n%s", at, diff)
				}
				at++
				return nil
			},
			Order: func(o eventstore.VerifiedOrder) error {
				states[o.ID] = o.State.Status.String() + " of " + o.State.Identity.ProviderOrderID
				return nil
			},
		})
		if err != nil || report.ProblemCount > 0 || at != len(want) || len(states) != len(want)/3 {
			t.Fatalf("%d events of %d, %d orders, %+v, %v", at, len(want), len(states), report, err)
		}
		for i := range want {
			e := &want[i].Event
			if got := states[e.OrderID]; got != "approved of "+e.Fact.ProviderOrderID {
				t.Errorf("%s ends %s", e.OrderID, got)
			}
		}
	}
}

// What handle refuses ends the reading at once, with its error.
func TestScanEndsWithTheErrorOfHandle(t *testing.T) {
	s, _, _ := fast(t, eventstore.Config{})
	for n := range 3 {
		record(t, s, fact(n, 0, domain.KindPending))
	}
	enough := errors.New("enough")
	seen := 0
	err := s.Scan(t.Context(), 0, 0, 3, func(*domain.Recorded) error {
		seen++
		return enough
	})
	if !errors.Is(err, enough) || seen != 1 {
		t.Errorf("%v after %d events", err, seen)
	}
	seen = 0
	err = s.Stored(t.Context(), 0, 0, 3, func(events []domain.Stored) error {
		seen += len(events)
		return enough
	})
	if !errors.Is(err, enough) || seen != 3 {
		t.Errorf("not decoded: %v after %d events", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Scan(ctx, 0, 0, 3, func(*domain.Recorded) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}

// flip changes a bit of the event that has text, in a block file of the log below dir.
func flip(t *testing.T, dir, text string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || found || filepath.Ext(path) != ".blk" || !strings.Contains(path, "ORDERS-00") {
			return err
		}
		block, err := os.ReadFile(path)
		at := bytes.Index(block, []byte(text))
		if err != nil || at < 0 {
			return err
		}
		found, block[at] = true, block[at]^1
		return os.WriteFile(path, block, 0o600)
	})
	if err != nil || !found {
		t.Fatalf("no block has %s: %v", text, err)
	}
}

// Reading in bulk ends at an event whose bytes are damaged, and a consumer passes over it:
// what is before and behind it is proven, and the event is named.
func TestVerifyNamesDamageThatEndsTheBulk(t *testing.T) {
	for _, way := range readings {
		t.Run(way.name, func(t *testing.T) {
			s, node, dir := fast(t, eventstore.Config{})
			for n := range 10 {
				record(t, s, fact(n, 0, domain.KindPending))
			}
			if err := errors.Join(s.Close(), node.Close()); err != nil {
				t.Fatal(err)
			}
			flip(t, dir, "token5")
			var said sink
			again := way.open(t, natstest.FastNode(t, dir), dir, eventstore.Config{Inspect: true, BulkFrom: 1, Logger: logger(&said)})
			report, err := again.Verify(t.Context(), eventstore.VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := []eventstore.Problem{{
				Rule: eventstore.RuleUnreadable, Sequence: 6, Through: 6,
				Detail: "6 to 6 are counted by the server and cannot be read: the file of the block is damaged",
			}}
			if diff := gocmp.Diff(want, report.Problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if report.Events != 9 {
				t.Errorf("%d events were proven\n%s", report.Events, said.String())
			}
			if ended := strings.Contains(said.String(), "a consumer reads"); ended != way.files {
				t.Errorf("the server passes over it in a snapshot, too; in its files it ends the reading: %s", said.String())
			}
		})
	}
}

// A server answers from memory what its files hold no longer: that is found while it runs, as
// often as it is asked, with the order that it will lose.
func TestVerifyNamesDamageThatTheServerDoesNotSee(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	for n := range 10 {
		record(t, s, fact(n, 0, domain.KindPending))
	}
	orders := map[uint64]domain.OrderID{}
	for _, n := range []uint64{5, 8} {
		orders[n+1] = scanned(t, s, n, n+1)[0].Event.OrderID
		flip(t, dir, "token"+strconv.FormatUint(n, 10))
	}
	again := readings[0].open(t, node, dir, eventstore.Config{BulkFrom: 1})
	for range 2 {
		report, err := again.Verify(t.Context(), eventstore.VerifyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Problems) != len(orders) {
			t.Errorf("problems: %+v", report.Problems)
		}
		for _, p := range report.Problems {
			// The server forgets in ten seconds; then it cannot read the event either.
			fromMemory := p.OrderID == orders[p.Sequence] && strings.Contains(p.Detail, "answers from memory")
			forgotten := p.OrderID == "" && strings.Contains(p.Detail, "cannot be read") && report.Events < 10
			if p.Rule != eventstore.RuleUnreadable || orders[p.Sequence] == "" || !fromMemory && !forgotten {
				t.Errorf("%+v", p)
			}
		}
	}
}

// What a check passes over before it begins takes no room of what it keeps.
func TestWhatIsPassedOverTakesNoRoom(t *testing.T) {
	if got := eventstore.SkippedRoom(10_000, 1500); got != eventstore.ArenaSize {
		t.Errorf("%d bytes are kept, want %d", got, eventstore.ArenaSize)
	}
}
