package eventstore

import "sync/atomic"

// strangers decides whether an order that is not in memory is taken for a new one,
// which saves a read, or looked up first, which saves a conflict: and a conflict
// costs a whole batch. After a restart most orders that change are old, and on most
// days none is.
type strangers struct{ lookUps atomic.Int64 }

const (
	// aSurprise is how many orders that turn out to be new are looked up after one
	// that was taken for new and was not: the read of an order costs about a
	// twentieth of refusing its batch.
	aSurprise     = 16
	mostSurprises = 256
)

// lookUp reports whether the next one is looked up.
func (s *strangers) lookUp() bool { return s.lookUps.Load() > 0 }

// found takes note of whether one that was looked up is in the log. Many are
// looked up at a time, and more than were to be: those beyond do not count.
func (s *strangers) found(old bool) {
	for left := s.lookUps.Load(); !old && left > 0; left = s.lookUps.Load() {
		if s.lookUps.CompareAndSwap(left, left-1) {
			return
		}
	}
}

// surprise takes note of one that was taken for new and was not.
func (s *strangers) surprise() {
	if s.lookUps.Load() < mostSurprises {
		s.lookUps.Add(aSurprise)
	}
}
