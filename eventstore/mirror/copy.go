package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/stream"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	// A batch has at most as many messages as the server takes in one, and bytes.
	batchMessages = 1000
	batchBytes    = 4 << 20
	// batchTimeout bounds one batch, its fsync included.
	batchTimeout = time.Minute

	headerID           = "Nats-Msg-Id"
	headerLast         = "Nats-Expected-Last-Sequence"
	rememberedSubjects = 1 << 16
)

// partition is one partition of the mirror.
type partition struct {
	mirror     *Mirror
	name       string
	source     *stream.Reader
	target     *stream.Reader
	held       uint64 // the last sequence that the target has
	hashes     tails  // of the orders' last events, pending ones included
	reconnects uint64 // of the source's connection when the two were last compared
	compared   bool

	pending []*nats.Msg
	size    int
}

func newPartition(m *Mirror, n int, held uint64) *partition {
	name, quiet := eventstore.OrdersStream(n), slog.New(slog.DiscardHandler)
	return &partition{
		mirror: m, name: name, held: held,
		source: stream.NewReader(m.source, name, quiet), target: stream.NewReader(m.target, name, quiet),
	}
}

// copy copies what comes up to upTo, the source's head.
func (p *partition) copy(ctx context.Context, upTo uint64) error {
	p.pending, p.size = p.pending[:0], 0
	if p.held == upTo && p.compared && p.reconnects == p.connection() {
		return nil
	}
	p.reconnects = p.connection() // before what it is about
	p.compared = false
	if err := p.joins(ctx, upTo); err != nil {
		return err
	}
	p.compared = true
	if p.held == upTo {
		return nil
	}
	err := p.source.Scan(ctx, p.held, upTo, nil, func(ms []stream.Message) error {
		for i := range ms {
			if err := p.add(ctx, &ms[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = p.flush(ctx)
	}
	if err == nil && p.held < upTo {
		err = p.lacks(p.held+1, upTo)
	}
	if err != nil {
		p.hashes = tails{} // some are of events that were not stored
		return fmt.Errorf("copy %s: %w", p.name, err)
	}
	return nil
}

func (p *partition) connection() uint64 { return p.mirror.cfg.Source.Stats().Reconnects }

func (p *partition) lacks(first, last uint64) error {
	return domain.Errorf(domain.Corrupt, "the source is damaged: %s lacks sequences %d to %d; 'comanda verify' there names the orders", p.name, first, last)
}

// joins compares the last event that the mirror has with the source's in the
// same place.
func (p *partition) joins(ctx context.Context, last uint64) error {
	common := min(p.held, last)
	if common > 0 {
		equal, err := p.equal(ctx, common)
		if err != nil {
			return err
		}
		if !equal {
			return p.diverged(ctx, common)
		}
	}
	if last < p.held {
		return domain.Errorf(domain.Corrupt, "the source went backwards: its %s ends at sequence %d, the mirror holds it up to %d; "+
			"promote the mirror, or make a new one of what is left", p.name, last, p.held)
	}
	return nil
}

// diverged names the first sequence at which the two differ: no two events have
// the same bytes, so from there on they all do.
func (p *partition) diverged(ctx context.Context, last uint64) error {
	var failed error
	first := sort.Search(int(last), func(i int) bool { //nolint:gosec // a sequence
		equal, err := p.equal(ctx, uint64(i)+1) //nolint:gosec // below last
		failed = errors.Join(failed, err)
		return err != nil || !equal
	})
	if failed != nil {
		return failed
	}
	return domain.Errorf(domain.Corrupt, "the source diverged: from sequence %d on its %s holds other events than the mirror, which has it up to %d; "+
		"one of the two was restored or written to apart", first+1, p.name, p.held)
}

// equal compares an event of both.
func (p *partition) equal(ctx context.Context, sequence uint64) (bool, error) {
	theirs, err := p.source.At(ctx, sequence)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return false, p.lacks(sequence, sequence)
	case err != nil:
		return false, away("compare", err)
	}
	ours, err := p.target.At(ctx, sequence)
	switch {
	case errors.Is(err, stream.ErrNotFound):
		return false, domain.Errorf(domain.Corrupt, "the mirror is damaged: %s cannot read sequence %d; make a new one", p.name, sequence)
	case err != nil:
		return false, domain.Errorf(domain.Unavailable, "read the mirror: %w", err)
	}
	return ours.Subject == theirs.Subject && bytes.Equal(ours.Data, theirs.Data), nil
}

// add takes the next event of the source.
func (p *partition) add(ctx context.Context, m *stream.Message) error {
	if next := p.held + uint64(len(p.pending)) + 1; m.Sequence != next {
		return p.lacks(next, m.Sequence-1)
	}
	if err := p.follows(ctx, m); err != nil {
		return err
	}
	header := nats.Header{eventstore.HeaderType: m.Header[eventstore.HeaderType], headerID: m.Header[headerID]}
	if len(p.pending) == 0 {
		header[headerLast] = []string{strconv.FormatUint(p.held, 10)}
	}
	p.pending = append(p.pending, &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data})
	if p.size += len(m.Data); len(p.pending) < batchMessages && p.size < batchBytes {
		return nil
	}
	return p.flush(ctx)
}

// follows refuses an event whose hash chain does not hang on the order's last
// event in the mirror.
func (p *partition) follows(ctx context.Context, m *stream.Message) error {
	var e comandav1.Envelope
	if err := proto.Unmarshal(m.Data, &e); err != nil {
		return domain.Errorf(domain.Corrupt, "the source is damaged: %s at %d: not an envelope: %w", p.name, m.Sequence, err)
	}
	prev, known := p.hashes.get(m.Subject)
	if !known && e.GetEvent().GetRevision() > 1 {
		last, err := p.target.Last(ctx, m.Subject)
		if err != nil && !errors.Is(err, stream.ErrNotFound) {
			return domain.Errorf(domain.Unavailable, "read the mirror: %w", err)
		}
		if err == nil {
			prev = sha256.Sum256(last.Data)
		}
	}
	if !bytes.Equal(prev[:], e.GetPrevHash()) {
		return domain.Errorf(domain.Corrupt, "the source diverged: %s at %d, revision %d of order %s, does not follow the order's last event in the mirror",
			p.name, m.Sequence, e.GetEvent().GetRevision(), orderOf(m.Subject))
	}
	p.hashes.put(m.Subject, sha256.Sum256(m.Data))
	return nil
}

func orderOf(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

// flush stores what is pending, unless the source may be another since the two
// were compared.
func (p *partition) flush(ctx context.Context) error {
	if len(p.pending) == 0 {
		return nil
	}
	if p.connection() != p.reconnects {
		return away("read on", nats.ErrDisconnected)
	}
	want := p.held + uint64(len(p.pending))
	if err := p.mirror.store(ctx, p.pending, want); err != nil {
		return err
	}
	clear(p.pending)
	p.held, p.pending, p.size = want, p.pending[:0], 0
	p.mirror.cfg.Progress(p.mirror.progress())
	return nil
}

// store sends a batch to the target, whose last message must get this sequence;
// 0: any.
func (m *Mirror) store(ctx context.Context, batch []*nats.Msg, last uint64) error {
	bounded, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	ack, err := m.publisher.PublishBatch(bounded, batch)
	switch {
	case stream.CodeOf(err) == stream.CodeWrongLast:
		return domain.Errorf(domain.Refused, "store in the mirror: somebody else writes to it: %w", err)
	case err != nil:
		return domain.Errorf(domain.Unavailable, "store in the mirror: %w", err)
	case last != 0 && ack.Sequence != last:
		return domain.Errorf(domain.Corrupt, "the mirror is damaged: it stored at sequence %d what belongs at %d; make a new one", ack.Sequence, last)
	default:
		return nil
	}
}

// tails are the hashes of orders' last events: of the newest ones, in bounded memory.
type tails struct {
	young, old map[string][32]byte
}

func (t *tails) get(subject string) ([32]byte, bool) {
	if h, ok := t.young[subject]; ok {
		return h, true
	}
	h, ok := t.old[subject]
	return h, ok
}

// put keeps h longer than any of the rememberedSubjects put before it.
func (t *tails) put(subject string, h [32]byte) {
	if len(t.young) >= rememberedSubjects || t.young == nil {
		t.young, t.old = make(map[string][32]byte), t.young
	}
	t.young[subject] = h
}
