package eventstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore/privacy"
)

// RecorderConfig is how a recorder works. Clock is required.
type RecorderConfig struct {
	Clock func() time.Time
	// CachedEvents bounds the histories in memory; 0 is 200,000.
	CachedEvents int
	// Decisions is how often one fact is decided again when its order keeps
	// changing; 0 is 50, which is about two seconds.
	Decisions int
}

func (c *RecorderConfig) setDefaults() {
	if c.CachedEvents == 0 {
		c.CachedEvents = 200_000
	}
	if c.Decisions == 0 {
		c.Decisions = 50
	}
}

// Recorder turns facts into events: it reads the order, decides, seals, appends,
// and decides again when another writer was faster. It is safe for concurrent
// use, by any number of processes on one log.
//
// Facts of one order are recorded one after the other in a process; different
// orders do not wait for each other.
type Recorder struct {
	log       *Log
	vault     *privacy.Vault
	machine   *order.Machine
	cfg       RecorderConfig
	histories *histories
	strangers strangers
}

// NewRecorder is a recorder that writes to log.
func NewRecorder(log *Log, vault *privacy.Vault, machine *order.Machine, cfg RecorderConfig) (*Recorder, error) {
	if cfg.Clock == nil || cfg.CachedEvents < 0 || cfg.Decisions < 0 {
		return nil, domain.Errorf(domain.Invalid, "recorder: a clock is needed, and nothing is negative")
	}
	cfg.setDefaults()
	return &Recorder{log: log, vault: vault, machine: machine, cfg: cfg, histories: newHistories(cfg.CachedEvents)}, nil
}

// Record stores the facts of msg in their order and answers for each of them
// when all are stored. On an error the facts before it are stored; the same
// message may be recorded again, and finds them as duplicates.
//
// Errors are of kind Unavailable (nothing may be said of the fact; try again), Exhausted
// (the order has as many facts as it may), Invalid or Refused (the fact breaks the
// domain's rules), or Corrupt (the order's stored events do not hold together).
func (r *Recorder) Record(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error) {
	outcomes := make([]domain.Outcome, 0, len(facts))
	for i := range facts {
		out, err := r.record(ctx, &msg, &facts[i], nil)
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, out)
	}
	return outcomes, nil
}

// RecordOn stores one fact of msg on terms, or nothing at all: see [order.Machine.DecideOn]
// for the errors that it adds to those of Record. The terms hold of the order as the
// log has it when the fact is stored, whoever else writes. The same message may be
// recorded again after any error, and finds what it stored as a duplicate.
func (r *Recorder) RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, terms order.Terms) (domain.Outcome, error) {
	return r.record(ctx, &msg, &fact, &terms)
}

func (r *Recorder) record(ctx context.Context, msg *domain.Message, fact *domain.Fact, terms *order.Terms) (domain.Outcome, error) {
	id := fact.Identity(msg.Tenant).OrderID()
	s, err := r.histories.hold(ctx, id)
	if err != nil {
		return domain.Outcome{}, err
	}
	defer r.histories.release(id, s)
	rec := recording{Recorder: r, msg: msg, fact: fact, terms: terms, id: id, slot: s}
	out, err := rec.run(ctx)
	rec.giveBack()
	if err != nil {
		if !ofTheFact(err) {
			s.forget()
		}
		return domain.Outcome{}, fmt.Errorf("record %s of %s: %w", fact.Kind, id, err)
	}
	return out, nil
}

// ofTheFact reports whether err is about the fact, so that what is known of its
// order still holds.
func ofTheFact(err error) bool {
	switch domain.KindOf(err) {
	case domain.Invalid, domain.Refused, domain.Exhausted, domain.Stale, domain.Exists:
		return true
	default:
		return false
	}
}

// recording is one fact on its way into its order.
type recording struct {
	*Recorder

	msg   *domain.Message
	fact  *domain.Fact
	terms *order.Terms // nil: stored on any
	id    domain.OrderID
	slot  *slot

	looked bool         // the slot was made what the leader holds, in this call
	fresh  *privacy.Key // from the pool, and no publish has carried it
	sent   [][32]byte   // hashes of what was sent for this fact
}

const (
	conflictPause = 2 * time.Millisecond // grows with the tries: an append may be in flight
	conflictMost  = 50 * time.Millisecond
)

func (r *recording) run(ctx context.Context) (domain.Outcome, error) {
	if !r.slot.known && r.strangers.lookUp() {
		events, err := r.read(ctx)
		if err != nil {
			return domain.Outcome{}, err
		}
		r.strangers.found(len(events) > 0)
	}
	for try := range r.cfg.Decisions {
		if try > 1 && !pause(ctx, min(time.Duration(try)*conflictPause, conflictMost)) {
			return domain.Outcome{}, domain.Errorf(domain.Unavailable, "order keeps changing: %w", ctx.Err())
		}
		d, err := r.decide()
		if err != nil && r.mayBeWrong() {
			if _, err := r.read(ctx); err != nil {
				return domain.Outcome{}, err
			}
			continue
		}
		if err != nil {
			return domain.Outcome{}, err //nolint:wrapcheck // record wraps it
		}
		if d.Event.Verdict == domain.VerdictDuplicate {
			return r.duplicate(&d)
		}
		out, again, err := r.store(ctx, &d)
		if !again {
			return out, err
		}
		r.log.metrics.conflicts.Inc()
	}
	return domain.Outcome{}, domain.Errorf(domain.Unavailable, "order kept changing through %d decisions", r.cfg.Decisions)
}

func (r *recording) decide() (order.Decision, error) {
	meta := order.Meta{
		Tenant: r.msg.Tenant, Source: r.msg.Source, ReceivedAt: r.msg.ReceivedAt, Now: r.cfg.Clock(), Cause: r.msg.Cause,
	}
	if r.terms == nil {
		return r.machine.Decide(r.slot.history, *r.fact, meta) //nolint:wrapcheck // record wraps it
	}
	return r.machine.DecideOn(r.slot.history, *r.fact, meta, *r.terms) //nolint:wrapcheck // record wraps it
}

// mayBeWrong reports whether a refusal is not the log's: the order was assumed to be
// new; or, on terms, what is remembered of it may have been overtaken by another
// process, which an append would have found out.
func (r *recording) mayBeWrong() bool {
	return !r.looked && (!r.slot.known || r.terms != nil)
}

// duplicate answers with the first delivery's place.
func (r *recording) duplicate(d *order.Decision) (domain.Outcome, error) {
	revision, ok := r.slot.history.Event(d.Original)
	if !ok || revision < 1 || revision > uint64(len(r.slot.sequences)) {
		return domain.Outcome{}, domain.Errorf(domain.Internal, "duplicate of %s, which is not in the history", d.Original)
	}
	if d.IDReused {
		r.log.metrics.reused.Inc()
	}
	first, _ := r.slot.history.Verdict(d.Original)
	return domain.Outcome{
		Verdict: domain.VerdictDuplicate, OrderID: r.id, Status: d.After.Status,
		Revision: revision, EventID: d.Original, IDReused: d.IDReused, First: first,
		Position: r.position(r.slot.sequences[revision-1]),
	}, nil
}

func (r *recording) position(sequence uint64) domain.Position {
	return domain.Position{}.With(r.partition(), sequence)
}

func (r *recording) partition() int {
	return partitionOf(r.id.Slot(), r.log.identity.Partitions)
}

// store seals and appends the decided event. again says that the order was read
// anew and the fact must be decided on it.
func (r *recording) store(ctx context.Context, d *order.Decision) (out domain.Outcome, again bool, err error) {
	if err := r.log.Writable(); err != nil {
		return domain.Outcome{}, false, err
	}
	e := &d.Event
	e.PrevHash = r.slot.lastHash
	key, err := r.key(ctx)
	if err != nil {
		return domain.Outcome{}, false, err
	}
	if err := key.SealEvent(e, r.fact.Personal, r.msg.ContentType, r.msg.Body); err != nil {
		return domain.Outcome{}, false, err //nolint:wrapcheck // record wraps it
	}
	m, err := encode(e, r.slot.expected())
	if err != nil {
		return domain.Outcome{}, false, err
	}
	hash := hashOf(m.Data)
	r.sent, r.fresh = append(r.sent, hash), nil
	sequence, o, cause := r.log.append(ctx, r.partition(), m)
	if o == outcomeConflict && r.slot.expected() == 0 {
		r.strangers.surprise()
	}
	if o == outcomeStored {
		r.remember(d, sequence, hash, key)
		return r.stored(e, sequence, d.After.Status), false, nil
	}
	return r.resolve(ctx, e.ID, o, cause)
}

// remember adds the stored event to what is known of the order.
func (r *recording) remember(d *order.Decision, sequence uint64, hash [32]byte, key *privacy.Key) {
	s := r.slot
	s.known, s.history, s.lastHash = true, d.History, hash
	s.sequences = append(s.sequences, sequence)
	s.keyID, s.key = key.ID(), key
}

func (r *recording) stored(e *domain.Event, sequence uint64, status domain.Status) domain.Outcome {
	return domain.Outcome{
		Verdict: e.Verdict, OrderID: r.id, Status: status,
		Revision: e.Revision, EventID: e.ID, Position: r.position(sequence),
	}
}

// resolve finds out, from the order as the leader has it, what became of an
// append that was not simply acknowledged. The event's id in the history proves
// that the fact is stored; the bytes tell our own success from another writer's.
func (r *recording) resolve(ctx context.Context, id domain.EventID, o outcome, cause error) (out domain.Outcome, again bool, err error) {
	if ctx.Err() != nil {
		return domain.Outcome{}, false, domain.Errorf(domain.Unavailable, "whether it was stored is not known: %w", ctx.Err())
	}
	events, err := r.read(ctx)
	if err != nil {
		return domain.Outcome{}, false, errors.Join(err, cause)
	}
	for i := range events {
		if events[i].Event.ID == id && r.isOurs(events[i].Hash) {
			return r.stored(&events[i].Event, events[i].Sequence, r.machine.Fold(r.slot.history).Status), false, nil
		}
	}
	if _, ok := r.slot.history.Event(id); ok || o != outcomeUnknown {
		return domain.Outcome{}, true, nil // decided again: a duplicate of another writer's, or on the new state
	}
	return domain.Outcome{}, false, domain.Errorf(domain.Unavailable, "the log does not answer, and does not hold it: %w", cause)
}

// read makes the slot what the order's leader holds, which must be durable there:
// what is found may be answered for.
func (r *recording) read(ctx context.Context) ([]domain.Recorded, error) {
	events, err := r.log.history(ctx, r.id, orderSubject(r.msg.Tenant, r.id))
	if err == nil {
		err = r.log.unhealthy()
	}
	if err != nil {
		return nil, err
	}
	r.looked = true
	return events, r.slot.load(events)
}

func (r *recording) isOurs(hash [32]byte) bool {
	return slices.Contains(r.sent, hash)
}

// key is the order's data key, or one from the pool for a new order. A key that
// was destroyed, because the person was erased, is followed by a new one.
func (r *recording) key(ctx context.Context) (*privacy.Key, error) {
	s := r.slot
	if s.key != nil {
		return s.key, nil
	}
	if len(s.sequences) > 0 {
		key, err := r.vault.Key(ctx, s.keyID)
		if domain.KindOf(err) != domain.NotFound || err == nil {
			s.key = key
			return key, err //nolint:wrapcheck // record wraps it
		}
	}
	if r.fresh == nil {
		key, err := r.vault.Take(ctx)
		if err != nil {
			return nil, err //nolint:wrapcheck // record wraps it
		}
		r.fresh = key
	}
	return r.fresh, nil
}

// giveBack returns a pool key that no publish carried.
func (r *recording) giveBack() {
	if r.fresh != nil {
		r.vault.Return(r.fresh)
	}
}

// load makes the slot what the log holds of the order.
func (s *slot) load(events []domain.Recorded) error {
	s.forget()
	for i := range events {
		e := &events[i]
		h, err := s.history.With(&e.Event)
		if err != nil {
			return err //nolint:wrapcheck // record wraps it
		}
		s.history, s.lastHash, s.keyID = h, e.Hash, e.Event.KeyID
		s.sequences = append(s.sequences, e.Sequence)
	}
	s.known = len(events) > 0
	return nil
}
