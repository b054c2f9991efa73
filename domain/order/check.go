package order

import (
	"slices"

	"comanda.internal/domain"
)

// Check proves that e, stored as the order's next event after h, says what m
// decides: the event's id, verdict, statuses, path, flags and place in time. What
// does not hold is an error of kind Corrupt that names the first field.
//
// A fact of a kind that was refused, as an operator's word that was not legal,
// is Corrupt too: it must not be in the log. The digest is not asked of a fact
// placed at its receipt, because the log does not keep a date it did not use.
func (m *Machine) Check(h *History, e *domain.Event) error {
	_, _, err := m.Replay(h, nil, e, nil)
	return err
}

// Replay is Check for who goes through an order from its first event on. before
// is the fold of h; nil, or by another version: it is folded here. content is e's, or nil. next is [History.With] e, after its
// fold by m; both are nil with an error.
func (m *Machine) Replay(h *History, before *State, e *domain.Event, content *Content) (next *History, after *State, err error) {
	if e.MachineVersion != m.version {
		return nil, nil, domain.Errorf(domain.Invalid, "event %s: machine version %d, checked by %d", e.ID, e.MachineVersion, m.version)
	}
	if before != nil && before.MachineVersion != m.version {
		before = nil
	}
	var d Decision
	fact, meta := e.Fact, Meta{Tenant: e.Tenant, Source: e.Source, ReceivedAt: e.ReceivedAt, Now: e.RecordedAt, Cause: e.Cause}
	if err := m.decide(h, before, content, &fact, &meta, &d); err != nil {
		return nil, nil, domain.Errorf(domain.Corrupt, "event %s: it cannot have been decided: %w", e.ID, err)
	}
	if err := compareDecided(e, &d.Event); err != nil {
		return nil, nil, err
	}
	d.History.stored(e)
	return d.History, d.After, nil
}

// stored takes from e, the newest event as it was stored, what a decision cannot
// know.
func (h *History) stored(e *domain.Event) {
	h.entry(e.ID).digest = shortDigest(&e.Digest)
	if e.Revision == 1 {
		h.keyID = e.KeyID
	}
}

func compareDecided(e, want *domain.Event) error {
	for _, field := range []struct {
		name string
		ok   bool
	}{
		{"verdict", e.Verdict == want.Verdict},
		{"event_id", e.ID == want.ID},
		{"order_id", e.OrderID == want.OrderID},
		{"revision", e.Revision == want.Revision},
		{"kind", e.Fact.Kind == want.Fact.Kind},
		{"status_from", e.From == want.From},
		{"status_to", e.To == want.To},
		{"why", e.Why == want.Why},
		{"correction", e.Correction == want.Correction},
		{"path", slices.Equal(e.Path, want.Path)},
		{"gap", e.Gap == want.Gap},
		{"money_changed", e.MoneyChanged == want.MoneyChanged},
		{"opens", slices.Equal(e.Opens, want.Opens)},
		{"closes", slices.Equal(e.Closes, want.Closes)},
		{"effective_at", e.EffectiveAt.Equal(want.EffectiveAt)},
		{"time_inferred", e.TimeInferred == want.TimeInferred},
		{"recorded_at", e.RecordedAt.Equal(want.RecordedAt)},
		{"digest", e.TimeInferred || e.Digest == want.Digest},
	} {
		if !field.ok {
			return domain.Errorf(domain.Corrupt, "event %s: %s is not what the machine decides", e.ID, field.name)
		}
	}
	return nil
}
