package order

import (
	"cmp"
	"slices"
	"time"

	"comanda.internal/domain"
)

// words is what operators said, last: of events, and of attention items. The
// zero value is nothing said.
type words struct {
	events map[domain.EventID]domain.ResolutionAction
	items  map[Attention]domain.ResolutionAction
}

// words is the last word on each event and item, by (recorded_at, id). The word
// of a rejected `resolved` does not count.
func (h *History) words() words {
	if h == nil || !h.resolutions {
		return words{}
	}
	said := make([]*entry, 0, 4)
	for _, e := range h.facts {
		if e.kind == domain.KindResolved {
			said = append(said, e)
		}
	}
	slices.SortFunc(said, func(a, b *entry) int { // the last first
		return -cmp.Or(a.rest.recorded.Compare(b.rest.recorded), cmp.Compare(a.id, b.id))
	})
	w := words{events: map[domain.EventID]domain.ResolutionAction{}, items: map[Attention]domain.ResolutionAction{}}
	for _, e := range said {
		if w.events[e.id] == domain.ActionReject {
			continue
		}
		r := &e.rest.resolution
		if e.rest.detail != "" {
			item := Attention{Kind: e.rest.detail, Event: r.Event}
			if w.items[item] == "" {
				w.items[item] = r.Action
			}
		} else if w.events[r.Event] == "" {
			w.events[r.Event] = r.Action
		}
	}
	return w
}

// clears reports whether an operator's word took a off the list.
func (w *words) clears(a Attention) bool {
	return w.events[a.Event] == domain.ActionAccept || w.items[a] == domain.ActionAccept
}

// standing is the facts that count, in sort order. Not those that an operator
// rejected; nor, whatever an operator said of either, one that a codec concluded
// where the real one of its kind and time is known: had it come second it would
// have been a duplicate, and the order of delivery must not matter.
func (h *History) standing(w *words) []*entry {
	if h == nil {
		return nil
	}
	if !h.inferred && len(w.events) == 0 {
		return h.facts
	}
	facts := make([]*entry, 0, len(h.facts))
	for _, e := range h.facts {
		if w.events[e.id] == domain.ActionReject || (e.inferred && h.real(e.kind, e.at) != nil) {
			continue
		}
		facts = append(facts, e)
	}
	return facts
}

// legal reports, as an error of kind Refused, why an operator may not say f now.
// `reject` is legal for any event; `accept` for an open conflict and for a fact
// held back; `reopen` for what was accepted or rejected. A `resolved` whose
// detail is an attention kind speaks of that one item of the event alone:
// `accept` takes it off the list, `reopen` puts it back.
func (h *History) legal(f *domain.Fact, before *State) error {
	r := f.Resolution
	if h.entry(r.Event) == nil {
		return domain.Errorf(domain.Refused, "%s %s: the order has no such event", r.Action, r.Event)
	}
	w := h.words()
	if f.Detail != "" {
		item := Attention{Kind: f.Detail, Event: r.Event}
		if r.Action == domain.ActionAccept && slices.Contains(before.Attention, item) {
			return nil
		}
		if r.Action == domain.ActionReopen && w.items[item] == domain.ActionAccept {
			return nil
		}
		return domain.Errorf(domain.Refused, "%s %s of %s: there is no such item to %s", r.Action, item.Kind, r.Event, r.Action)
	}
	switch r.Action {
	case domain.ActionReject:
		return nil
	case domain.ActionAccept:
		if slices.Contains(before.Conflicts, r.Event) || slices.Contains(before.HeldBack, r.Event) {
			return nil
		}
		return domain.Errorf(domain.Refused, "accept %s: it is neither an open conflict nor held back", r.Event)
	default: // reopen: validate lets no other through
		if last := w.events[r.Event]; last == domain.ActionAccept || last == domain.ActionReject {
			return nil
		}
		return domain.Errorf(domain.Refused, "reopen %s: it was neither accepted nor rejected", r.Event)
	}
}

// recordedAt is when the next fact is recorded: now, but never before the
// order's last one. An operator's word is recorded after it, so that the last
// word is the one that was said last, also where a clock went back.
func (h *History) recordedAt(kind domain.Kind, now time.Time) time.Time {
	now = now.UTC()
	last := h.RecordedAt().UTC()
	if now.After(last) {
		return now
	}
	if kind == domain.KindResolved {
		return last.Add(time.Nanosecond)
	}
	return last
}
