package eventstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

// Mark is an event that somebody remembers.
type Mark struct {
	By  string // who remembers it, as "the views have read"
	Log string // the log it is of; a mark of another log says nothing of this one. "" is this one
	// Epoch of that log; a mark of another epoch says nothing either. 0 is any.
	Epoch     uint64
	Partition int
	Sequence  uint64
	Hash      [32]byte // of the stored bytes, as in [domain.Recorded]
}

// checkIntact refuses partitions that lack events by their own account, and a
// log that lacks an event that somebody remembers.
func (l *Log) checkIntact(ctx context.Context) error {
	for p := range l.identity.Partitions {
		info, err := stream.Await(ctx, l.js, OrdersStream(p))
		if err != nil {
			return domain.Errorf(domain.Unavailable, "read the state of %s: %w", OrdersStream(p), err)
		}
		if err := l.checkState(ctx, p, &info.State); err != nil {
			return err
		}
		if err := l.checkMarks(ctx, p, info.State.LastSeq); err != nil {
			return err
		}
	}
	return nil
}

// checkState compares what a partition counts: the first sequence is 1, and none
// was deleted since, so there are as many messages as the last sequence says.
func (l *Log) checkState(ctx context.Context, p int, s *jetstream.StreamState) error {
	if intact(s) {
		return nil
	}
	if l.cfg.Inspect {
		return nil // Verify finds the holes itself
	}
	missing, err := deletedRanges(ctx, l.js, p)
	if err != nil {
		return err
	}
	return domain.Errorf(domain.Corrupt,
		"the log is damaged: %s holds %d events and its last sequence is %d; missing are %s; 'comanda verify' names the orders; restore the log",
		OrdersStream(p), s.Msgs, s.LastSeq, missing)
}

func intact(s *jetstream.StreamState) bool {
	return s.LastSeq == 0 || s.FirstSeq == 1 && s.NumDeleted == 0 && s.Msgs == s.LastSeq
}

// deletedRanges are the sequences that a partition's stream says it lost.
func deletedRanges(ctx context.Context, js jetstream.JetStream, p int) (ranges, error) {
	ctx, cancel := context.WithTimeout(ctx, stream.APITimeout)
	defer cancel()
	s, err := js.Stream(ctx, OrdersStream(p))
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "read the state of %s: %w", OrdersStream(p), err)
	}
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "read the deleted events of %s: %w", OrdersStream(p), err)
	}
	var missing ranges
	if first := info.State.FirstSeq; first > 1 {
		missing = append(missing, [2]uint64{1, first - 1})
	}
	for _, sequence := range info.State.Deleted {
		missing = missing.with(sequence)
	}
	return missing, nil
}

// ranges are runs of sequences, ascending, each with its first and last.
type ranges [][2]uint64

// with adds a sequence after all others.
func (r ranges) with(sequence uint64) ranges {
	if n := len(r); n > 0 && r[n-1][1]+1 == sequence {
		r[n-1][1] = sequence
		return r
	}
	return append(r, [2]uint64{sequence, sequence})
}

// run is the longest run from first to at most last that lies within a range,
// or, not in, outside of all of them.
func (r ranges) run(first, last uint64) (in bool, end uint64) {
	for _, one := range r {
		switch {
		case one[1] < first:
		case one[0] <= first:
			return true, min(one[1], last)
		default:
			return false, min(one[0]-1, last)
		}
	}
	return false, last
}

// String is the first ten for people.
func (r ranges) String() string {
	const most = 10
	parts := make([]string, 0, min(len(r), most)+1)
	for i, one := range r {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(r)-most))
			break
		}
		parts = append(parts, fmt.Sprintf("%d to %d", one[0], one[1]))
	}
	return strings.Join(parts, ", ")
}

// checkMarks compares a partition with what is remembered of it.
func (l *Log) checkMarks(ctx context.Context, p int, last uint64) error {
	for i := range l.cfg.Remembered {
		m := &l.cfg.Remembered[i]
		if m.Partition != p || m.Sequence == 0 || !l.own(m) {
			continue
		}
		found, err := l.compare(ctx, m, last)
		if err != nil {
			return err
		}
		if found == nil {
			continue
		}
		if !l.cfg.Inspect {
			return domain.Errorf(domain.Corrupt, "the log went backwards: partition %d: %s; restore the log", p, found.Detail)
		}
		l.damage = append(l.damage, *found)
	}
	return nil
}

// own reports whether a mark is of this log as it is now.
func (l *Log) own(m *Mark) bool {
	return (m.Log == "" || m.Log == l.identity.ID) && (m.Epoch == 0 || m.Epoch == l.identity.Epoch)
}

// compare says what is wrong with the remembered event; nil when nothing is.
func (l *Log) compare(ctx context.Context, m *Mark, last uint64) (*Problem, error) {
	if last < m.Sequence {
		return &Problem{
			Rule: RuleBackwards, Partition: m.Partition, Sequence: last + 1, Through: m.Sequence,
			Detail: fmt.Sprintf("%s sequence %d, and the log ends at %d", m.By, m.Sequence, last),
		}, nil
	}
	hash, err := l.HashAt(ctx, m.Partition, m.Sequence)
	var detail string
	switch {
	case domain.KindOf(err) == domain.NotFound:
		detail = fmt.Sprintf("%s sequence %d, and it cannot be read any more", m.By, m.Sequence)
	case err != nil:
		return nil, err
	case hash != m.Hash:
		detail = fmt.Sprintf("%s another event at sequence %d: its hash was %x, now it is %x", m.By, m.Sequence, m.Hash[:8], hash[:8])
	default:
		return nil, nil //nolint:nilnil // nothing is wrong
	}
	return &Problem{Rule: RuleBackwards, Partition: m.Partition, Sequence: m.Sequence, Through: m.Sequence, Detail: detail}, nil
}
