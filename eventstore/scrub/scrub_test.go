package scrub_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"comanda.internal/domain"
	"comanda.internal/eventstore/scrub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// script is a log of two partitions that says what each check finds, one after
// the other; the last is asked for again and again.
type script struct {
	epoch   uint64
	results []any // scrub.Result or error
	unread  uint64
	asked   []domain.Position
	more    chan struct{} // one for each check beyond the results
}

func (s *script) Identity() string { return "log_a" }
func (s *script) Epoch() uint64    { return s.epoch }
func (s *script) Partitions() int  { return 2 }

func (s *script) HashAt(_ context.Context, partition int, sequence uint64) ([32]byte, error) {
	if sequence == s.unread {
		return [32]byte{}, domain.Errorf(domain.NotFound, "a hole")
	}
	return [32]byte{byte(partition), byte(sequence)}, nil
}

func (s *script) verify(ctx context.Context, since domain.Position, _ uint64) (scrub.Result, error) {
	if len(s.asked) == len(s.results) {
		select {
		case s.more <- struct{}{}:
		case <-ctx.Done():
		}
		return scrub.Result{Head: since}, nil
	}
	s.asked = append(s.asked, since)
	switch r := s.results[len(s.asked)-1].(type) {
	case scrub.Result:
		return r, nil
	case error:
		return scrub.Result{}, r
	}
	return scrub.Result{}, nil
}

// scrubbing runs a scrubber on s from what path remembers until s has no more to
// say, and answers what path remembers then.
func scrubbing(t *testing.T, s *script, path string, cfg scrub.Config, clock func() time.Time) (scrub.Memory, *scrub.Scrubber, *prometheus.Registry) {
	t.Helper()
	before, err := scrub.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	s.more = make(chan struct{})
	registry := prometheus.NewRegistry()
	cfg.Interval = time.Millisecond
	scrubber, err := scrub.New(cfg, scrub.Deps{
		Log: s, Verify: s.verify, Clock: clock, Logger: slog.New(slog.DiscardHandler), Registerer: registry,
	}, path, before)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- scrubber.Run(ctx) }()
	<-s.more
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("the run ends with %v", err)
	}
	after, err := scrub.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return after, scrubber, registry
}

// gathered are the metrics' values by name and label.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func still() time.Time { return noon }

func at(sequences ...uint64) domain.Position {
	var p domain.Position
	for partition, sequence := range sequences {
		p = p.With(partition, sequence)
	}
	return p
}

func TestItGoesOnWhereItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scrub.json")
	first := &script{epoch: 1, results: []any{
		scrub.Result{Events: 5, Head: at(5)}, errors.New("away"), scrub.Result{Events: 3, Head: at(5, 3)},
	}}
	memory, _, _ := scrubbing(t, first, path, scrub.Config{}, still)
	want := scrub.Memory{
		Log: "log_a", Epoch: 1, VerifiedAt: noon, RoundBegan: noon, Cursor: at(5, 3),
		Marks: []scrub.Mark{{Partition: 0, Sequence: 5, Hash: scrub.Hash{0, 5}}, {Partition: 1, Sequence: 3, Hash: scrub.Hash{1, 3}}},
	}
	if diff := cmp.Diff(want, memory); diff != "" {
		t.Errorf("memory (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]domain.Position{{}, at(5), at(5)}, first.asked); diff != "" {
		t.Errorf("asked since (-want +got):\n%s", diff)
	}
	second := &script{epoch: 1, results: []any{scrub.Result{Events: 1, Head: at(6, 3)}}}
	memory, _, registry := scrubbing(t, second, path, scrub.Config{}, still)
	if diff := cmp.Diff([]domain.Position{at(5, 3)}, second.asked); diff != "" {
		t.Errorf("after a restart it asks since (-want +got):\n%s", diff)
	}
	if memory.Marks[0].Sequence != 6 || memory.Marks[1].Sequence != 3 {
		t.Errorf("marks %+v", memory.Marks)
	}
	wantGauges := map[string]float64{
		"comanda_scrub_events_total": 1, "comanda_scrub_known_problems": 0, "comanda_scrub_problems_total": 0,
		"comanda_scrub_verified_sequence 0": 6, "comanda_scrub_verified_sequence 1": 3,
		"comanda_scrub_verified_timestamp_seconds": float64(noon.Unix()),
	}
	if diff := cmp.Diff(wantGauges, gathered(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	third := &script{epoch: 2, results: []any{scrub.Result{Events: 2, Head: at(2)}}}
	memory, _, _ = scrubbing(t, third, path, scrub.Config{}, still)
	if diff := cmp.Diff([]domain.Position{{}}, third.asked); diff != "" || len(memory.Marks) != 1 {
		t.Errorf("a restored log begins anew: marks %+v, asked (-want +got):\n%s", memory.Marks, diff)
	}
}

// TestProblemsStayKnown until a whole round has found none.
func TestProblemsStayKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scrub.json")
	now := noon
	clock := func() time.Time { return now }
	week := scrub.Config{Again: 7 * 24 * time.Hour}
	found := &script{epoch: 1, unread: 9, results: []any{
		scrub.Result{Events: 4, Head: at(4)},
		scrub.Result{Events: 4, Head: at(9), Problems: 2, Texts: []string{"unreadable: 9", "chain: 7"}},
	}}
	memory, scrubber, _ := scrubbing(t, found, path, week, clock)
	if n, first := scrubber.Problems(); n != 2 || first != "unreadable: 9" {
		t.Errorf("%d problems, as %q", n, first)
	}
	if memory.Marks[0].Sequence != 4 || !memory.Cursor.Equal(at(9)) {
		t.Errorf("an event that cannot be read is no mark: %+v at %v", memory.Marks, memory.Cursor)
	}
	now = now.Add(week.Again)
	clean := &script{epoch: 1, results: []any{scrub.Result{Head: at(9)}, scrub.Result{Events: 9, Head: at(9)}}}
	_, scrubber, _ = scrubbing(t, clean, path, week, clock)
	if n, first := scrubber.Problems(); n != 2 || first != "unreadable: 9" {
		t.Errorf("within the next round: %d problems, as %q", n, first)
	}
	if diff := cmp.Diff([]domain.Position{at(9), {}}, clean.asked); diff != "" {
		t.Errorf("a new round asks since (-want +got):\n%s", diff)
	}
	now = now.Add(week.Again)
	memory, scrubber, _ = scrubbing(t, &script{epoch: 1, results: clean.results}, path, week, clock)
	if n, first := scrubber.Problems(); n != 0 || first != "" || memory.Before != 0 {
		t.Errorf("after a clean round: %d problems, as %q", n, first)
	}
}

func TestAFileThatCannotBeReadIsCorrupt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scrub.json")
	for _, text := range []string{"", "{", `{"verified": [{"hash": "00"}]}`, `{"cursor": "?"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if m, err := scrub.Load(path); domain.KindOf(err) != domain.Corrupt || len(m.Marks) > 0 {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	err := scrub.Config{EventsPerSecond: -1, PercentOfTime: 101, Interval: -1, Again: -1, Slice: -1}.Validate()
	for _, field := range []string{"events_per_second", "percent_of_time", "interval", "again", "slice"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	if err := (scrub.Config{}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestItRestsInProportion: a check that takes long, as on a busy machine, is followed by a
// longer rest, but by none longer than Interval.
func TestItRestsInProportion(t *testing.T) {
	for _, c := range []struct {
		cfg  scrub.Config
		took time.Duration // by a check
		want time.Duration // from the beginning of one to that of the next
	}{
		{scrub.Config{}, time.Second, 10 * time.Second},
		{scrub.Config{PercentOfTime: 50}, time.Second, 2 * time.Second},
		{scrub.Config{PercentOfTime: 100}, time.Second, time.Second},
		{scrub.Config{}, time.Minute, 90 * time.Second},
		{scrub.Config{EventsPerSecond: 1, Slice: 1}, 0, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var began []time.Time
			verify := func(context.Context, domain.Position, uint64) (scrub.Result, error) {
				if began = append(began, time.Now()); len(began) == 4 {
					cancel()
				}
				<-time.NewTimer(c.took).C
				return scrub.Result{Events: 1, Head: at(uint64(len(began)))}, nil
			}
			s, err := scrub.New(c.cfg, scrub.Deps{
				Log: &script{}, Verify: verify, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
			}, filepath.Join(t.TempDir(), "scrub.json"), scrub.Memory{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
			if got := began[3].Sub(began[2]); got != c.want {
				t.Errorf("%+v, a check takes %s: the next begins after %s, should after %s", c.cfg, c.took, got, c.want)
			}
		})
	}
}

// TestARoundComesToItsEnd before the next begins, however long it takes: else the newest
// events of a long log would never be proven.
func TestARoundComesToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scrub.json")
	now := noon
	clock := func() time.Time { now = now.Add(time.Hour); return now }
	full := func(head uint64) scrub.Result { return scrub.Result{Events: 2, Head: at(head)} }
	s := &script{epoch: 1, results: []any{full(2), full(4), full(6), scrub.Result{Events: 1, Head: at(7)}, full(2)}}
	cfg := scrub.Config{Slice: 2, Again: time.Hour, EventsPerSecond: 1_000_000}
	scrubbing(t, s, path, cfg, clock)
	if diff := cmp.Diff([]domain.Position{{}, at(2), at(4), at(6), {}}, s.asked); diff != "" {
		t.Errorf("asked since (-want +got):\n%s", diff)
	}
}
