package eventstore_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
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

// A snapshot and a consumer give the same events, whatever part is asked for, and
// neither more than that.
func TestASnapshotReadsWhatAConsumerDoes(t *testing.T) {
	s, node, dir := fast(t, eventstore.Config{})
	for n := range 10 {
		record(t, s, fact(n, 0, domain.KindPending))
	}
	var said sink
	plain := open(t, node.Conn(), dir, eventstore.Config{SnapshotFrom: math.MaxUint64}, eventstore.RecorderConfig{})
	bulk := open(t, node.Conn(), dir, eventstore.Config{SnapshotFrom: 1, Logger: logger(&said)}, eventstore.RecorderConfig{})
	for _, part := range [][2]uint64{{0, 10}, {0, 7}, {1, 8}, {2, 10}, {0, 1}, {9, 10}, {4, 4}} {
		want, got := scanned(t, plain, part[0], part[1]), scanned(t, bulk, part[0], part[1])
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%d to %d (-consumer +snapshot):\n%s", part[0], part[1], diff)
		}
		if uint64(len(got)) != part[1]-part[0] {
			t.Errorf("%d to %d: %d events", part[0], part[1], len(got))
		}
	}
	if !strings.Contains(said.String(), "not worth it") || strings.Count(said.String(), "ended early") != 1 {
		t.Errorf("a tenth of the log is read by a consumer, and all else is no failure: %s", said.String())
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
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Scan(ctx, 0, 0, 3, func(*domain.Recorded) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context ended: %v", err)
	}
}
