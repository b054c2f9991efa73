package projections

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// Parked is an order whose events reach no view from one of them on.
type Parked struct {
	Order     domain.OrderID
	Partition int
	Sequence  uint64 // of the event that does not follow the order's history
	Why       string
}

// Skipped is an event that an operator left out of the views.
type Skipped struct {
	Order     domain.OrderID
	Partition int
	Sequence  uint64
	Why       string
}

// ParkedOrders are all that are parked, by order id.
func (f *File) ParkedOrders() (all []Parked, err error) {
	err = f.Snapshot(func(s *Snapshot) error {
		var bad error
		err := s.Parked(func(id domain.OrderID, why string) {
			p, err := parsePlace(id, why)
			all, bad = append(all, p), errors.Join(bad, err)
		})
		return errors.Join(err, bad)
	})
	return all, err
}

// ParkedOrders are all that are parked, by order id.
func (r *Runner) ParkedOrders() ([]Parked, error) { return r.file.ParkedOrders() }

// parsePlace takes apart what putParked put together.
func parsePlace(id domain.OrderID, text string) (Parked, error) {
	p := Parked{Order: id}
	where, why, _ := strings.Cut(text, ": ")
	if _, err := fmt.Sscanf(where, "partition %d sequence %d", &p.Partition, &p.Sequence); err != nil {
		return p, domain.Errorf(domain.Corrupt, "views: the parked order %s has no place: %w", id, err)
	}
	p.Why = why
	return p, nil
}

// Skipped calls report for every event that was left out, in the order of the log.
func (s *Snapshot) Skipped(report func(Skipped)) error {
	return eachSkipped(s.tx, func(at place, entry string) {
		id, why, _ := strings.Cut(entry, " ")
		report(Skipped{Order: domain.OrderID(id), Partition: at.partition, Sequence: at.sequence, Why: why})
	})
}

func eachSkipped(tx *kv.Tx, fn func(at place, entry string)) error {
	return tx.Bucket(skippedBucket).ForEach(func(k, v []byte) error {
		if len(k) != 2+8 {
			return domain.Errorf(domain.Corrupt, "views: a skipped event at %x", k)
		}
		fn(place{int(binary.BigEndian.Uint16(k)), binary.BigEndian.Uint64(k[2:])}, string(v))
		return nil
	})
}

func putSkipped(tx *kv.Tx, at place, entry string) error {
	key := binary.BigEndian.AppendUint16(nil, uint16(at.partition)) //nolint:gosec // at most 256 partitions
	return tx.Bucket(skippedBucket).Put(binary.BigEndian.AppendUint64(key, at.sequence), []byte(entry))
}

// carry writes what operators decided elsewhere.
func (f *File) carry(skipped map[place]string) error { return carry(f.db(), skipped) }

func carry(db *kv.DB, skipped map[place]string) error {
	return db.Update(func(tx *kv.Tx) error {
		for at, entry := range skipped {
			if err := putSkipped(tx, at, entry); err != nil {
				return err
			}
		}
		return nil
	})
}

// RetryParked reads the order's events again from the one at which it was parked.
// It answers what the order is parked for now; nil: for nothing. NotFound: it was
// not parked.
func (r *Runner) RetryParked(ctx context.Context, id domain.OrderID) (*Parked, error) {
	return r.resumeOrder(ctx, id, "")
}

// SkipParked leaves the event at which the order was parked out of the views, for
// the given reason, and goes on with those behind it, as RetryParked does. Later
// builds leave it out as well, as long as there is a file to know it from.
func (r *Runner) SkipParked(ctx context.Context, id domain.OrderID, reason string) (*Parked, error) {
	if reason == "" || strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' }) {
		return nil, domain.Errorf(domain.Invalid, "skip %s: a reason is needed, on one line", id)
	}
	return r.resumeOrder(ctx, id, reason)
}

// resumeOrder skips with a reason and retries without. Most of the events are read
// while the views go on.
func (r *Runner) resumeOrder(ctx context.Context, id domain.OrderID, reason string) (still *Parked, err error) {
	if err := r.operable(); err != nil {
		return nil, err
	}
	p, err := r.parked(id)
	if err != nil {
		return nil, err
	}
	if r.isBuilding() {
		return nil, errBuilding()
	}
	until := r.Position().At(p.Partition)
	events, err := r.eventsOf(ctx, p, p.Sequence-1, until)
	if err != nil {
		return nil, err
	}
	err = r.exclusively(ctx, func(ctx context.Context) error {
		if now, err := r.parked(id); err != nil || now != p || r.isBuilding() {
			return domain.Errorf(domain.Refused, "%s: another command changed it meanwhile", id)
		}
		rest, err := r.eventsOf(ctx, p, until, r.Position().At(p.Partition))
		if err != nil {
			return err
		}
		if err := r.forgetCancelled(id); err != nil {
			return err
		}
		still, err = r.unpark(p, append(events, rest...), reason)
		return err
	})
	return still, err
}

// forgetCancelled removes a build that was cancelled, which knows nothing of an operator's
// word on an order. None begins meanwhile that would go on with it.
func (r *Runner) forgetCancelled(id domain.OrderID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.operator.current != nil {
		return errBuilding()
	}
	if err := r.dropCancelled(); err != nil {
		return fmt.Errorf("unpark %s: %w", id, err)
	}
	return nil
}

func (r *Runner) isBuilding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.operator.current != nil
}

func (r *Runner) parked(id domain.OrderID) (Parked, error) {
	all, err := r.file.ParkedOrders()
	if err != nil {
		return Parked{}, err
	}
	at := slices.IndexFunc(all, func(p Parked) bool { return p.Order == id })
	if at < 0 {
		return Parked{}, domain.Errorf(domain.NotFound, "the order %s is not parked", id)
	}
	return all[at], nil
}

// eventsOf reads the order's events above a sequence, and up to another one.
func (r *Runner) eventsOf(ctx context.Context, p Parked, after, until uint64) (events []domain.Recorded, err error) {
	if after >= until {
		return nil, nil
	}
	err = r.deps.Log.Scan(ctx, p.Partition, after, until, func(e *domain.Recorded) error {
		if e.Event.OrderID == p.Order {
			events = append(events, *e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the events of %s: %w", p.Order, err)
	}
	return events, nil
}

// unpark is a job: it folds the order's events as if they came now.
func (r *Runner) unpark(p Parked, events []domain.Recorded, reason string) (still *Parked, err error) {
	f := r.folder
	before := *f
	f.parked, f.skipped = maps.Clone(f.parked), maps.Clone(f.skipped)
	delete(f.parked, p.Order)
	at, entry := place{p.Partition, p.Sequence}, ""
	if reason != "" {
		entry = fmt.Sprintf("%s %s: %s; %s", p.Order, r.deps.Clock().UTC().Format("2006-01-02T15:04:05Z"), reason, p.Why)
		f.skipped[at] = entry
	}
	var done folded
	db := r.file.db()
	err = db.Update(func(tx *kv.Tx) error {
		if entry != "" {
			if err := putSkipped(tx, at, entry); err != nil {
				return err
			}
		}
		if err := tx.Bucket(parkedBucket).Delete([]byte(p.Order)); err != nil {
			return err
		}
		done, err = r.apply(tx, events)
		return err
	})
	if err == nil {
		r.deps.at(PointUnparked)
		err = db.Flush() // an operator's word is kept at once
	}
	if err = r.file.damaged(db, err); err != nil {
		*f = before
		return nil, fmt.Errorf("unpark %s: %w", p.Order, err)
	}
	f.keep(done)
	r.announce(done)
	r.report(done)
	for _, parking := range done.parked {
		now, err := parsePlace(parking.order, parking.text())
		return &now, err
	}
	return nil, nil //nolint:nilnil // it is parked for nothing
}

// text is a parking as it is stored.
func (p *parking) text() string {
	return fmt.Sprintf("partition %d sequence %d: %v", p.partition, p.sequence, p.err)
}
