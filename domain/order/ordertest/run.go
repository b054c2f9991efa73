package ordertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Machine is what a case is run on: [order.Machine], or one that is wrong on purpose.
type Machine interface {
	Decide(h *order.History, fact domain.Fact, meta order.Meta) (order.Decision, error)
	Fold(h *order.History) *order.State
}

var _ Machine = (*order.Machine)(nil)

// Check delivers c to m and reports what came otherwise than wanted.
func (c *Case) Check(m Machine) error {
	got, err := c.Run(m)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	return c.compare(c.Want, got)
}

// CheckEnd delivers c to m in another order, each number of sequence an index of
// its facts, and reports where it ends otherwise than wanted. It is for cases that
// converge.
func (c *Case) CheckEnd(m Machine, sequence []int) error {
	other := *c
	other.Facts = nil
	for _, i := range sequence {
		other.Facts = append(other.Facts, c.Facts[i])
	}
	got, err := other.Run(m)
	if err != nil {
		return fmt.Errorf("%s, as %v: %w", c.Name, sequence, err)
	}
	return c.compare(c.Want.End, got.End)
}

// Converges reports whether c must end the same in every order of delivery: no
// operator speaks in it, whose word is legal only after its event, and no two of
// its deliveries are of one fact with other content or another receipt, of which
// the one that comes first is stored.
func (c *Case) Converges() bool {
	for i := range c.Facts {
		f := &c.Facts[i]
		if f.Action != "" {
			return false
		}
		for j := range i {
			if g := &c.Facts[j]; f.Name == g.Name && f.Kind == g.Kind && !reflect.DeepEqual(f, g) {
				return false
			}
		}
	}
	return true
}

func (c *Case) compare(want, got any) error {
	wanted, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	gotten, err := json.Marshal(got)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Name, err)
	}
	if string(wanted) == string(gotten) {
		return nil
	}
	return fmt.Errorf("%s:\nwant %s\ngot  %s", c.Name, wanted, gotten)
}

// Run delivers c's facts to m and says what came of them. It stores each event as
// the recorder does, and is an error when the history so made is not the one that
// was decided.
func (c *Case) Run(m Machine) (Want, error) {
	r := run{machine: m, events: map[string]domain.EventID{}, names: map[domain.EventID]string{}}
	var got Want
	for i := range c.Facts {
		verdict, err := r.deliver(&c.Facts[i])
		if err != nil {
			return Want{}, err
		}
		got.Verdicts = append(got.Verdicts, verdict)
	}
	got.End = r.end(m.Fold(r.history), slices.Sorted(maps.Keys(c.Want.Facets)))
	return got, nil
}

// run is a case being delivered.
type run struct {
	machine Machine
	history *order.History
	events  map[string]domain.EventID
	names   map[domain.EventID]string
}

// deliver decides one fact and stores its event.
func (r *run) deliver(f *Fact) (string, error) {
	fact, received, err := f.Domain(r.events)
	if err != nil {
		return "", err
	}
	d, err := r.machine.Decide(r.history, fact, meta(received))
	if err != nil {
		return domain.KindOf(err).String(), nil // a refusal is an outcome
	}
	r.events[f.Name], r.names[d.Event.ID] = d.Event.ID, f.Name
	if d.Event.Verdict == domain.VerdictDuplicate {
		if d.IDReused {
			return "duplicate id_reused", nil
		}
		return "duplicate", nil
	}
	if r.history, err = r.history.With(&d.Event); err != nil {
		return "", fmt.Errorf("store %s: %w", f.Name, err)
	}
	if r.history.Revision() != d.History.Revision() {
		return "", errors.New("the history that was decided is another")
	}
	return verdict(&d.Event), nil
}

func verdict(e *domain.Event) string {
	word := e.Verdict.String()
	if e.Correction {
		word += " correction"
	}
	if e.Why != "" {
		word += " " + e.Why
	}
	return word
}

// end is s in the words of a case.
func (r *run) end(s *order.State, facets []string) End {
	end := End{
		Status: s.Status.String(), Gap: s.Gap, Conflicts: r.namesOf(s.Conflicts), HeldBack: r.namesOf(s.HeldBack),
		Paid: known(s.Paid), Refunded: known(s.Refunded), Full: s.FullyRefunded, Dispute: s.Dispute, Payments: s.PaymentIDs,
	}
	for _, step := range s.Path {
		end.Path = append(end.Path, r.step(&step))
	}
	for _, a := range s.Attention {
		end.Attention = append(end.Attention, a.Kind+":"+r.names[a.Event])
	}
	if len(facets) > 0 {
		end.Facets = map[string]string{}
		all := Facets(s)
		for _, name := range facets {
			end.Facets[name] = all[name]
		}
	}
	return end
}

func (r *run) step(s *domain.Step) string {
	text := r.names[s.Event] + ":" + s.To.String()
	if s.Gap {
		text += "?"
	}
	if s.Forced {
		text += "!"
	}
	if s.Why == order.WhyRefundComplete {
		text += "="
	}
	return text
}

func (r *run) namesOf(ids []domain.EventID) []string {
	var names []string
	for _, id := range ids {
		names = append(names, r.names[id])
	}
	return names
}

// Facets are s's facets, by name, as a case writes them: times are minutes.
func Facets(s *order.State) map[string]string {
	facets := map[string]string{
		"reference": s.Reference, "currency": s.Currency, "total": money(s.Total), "freight": money(s.Freight),
		"discount": money(s.Discount), "refund_requested": strconv.FormatBool(s.RefundRequested),
		"method": s.Method, "phase": s.Phase, "installments": strconv.Itoa(int(s.Installments)),
		"reason": string(s.Reason), "detail": s.Detail, "custom": s.CustomEvent,
		"started_at": minutes(s.StartedAt), "abandoned_at": minutes(s.AbandonedAt), "approved_at": minutes(s.ApprovedAt),
		"updated_at": minutes(s.UpdatedAt), "shipping": "",
	}
	for i, flag := range s.Flags {
		facets["flags"] += comma(i) + flag
	}
	for i, item := range s.Items {
		facets["items"] += comma(i) + item.Code
	}
	for i, p := range s.UTM {
		facets["utm"] += comma(i) + p.Name + "=" + p.Value
	}
	if s.Shipping != nil {
		facets["shipping"] = s.Shipping.Event
	}
	return facets
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}

func known(a domain.Amount) *int64 {
	if !a.Known {
		return nil
	}
	return &a.Minor
}

func money(a domain.Amount) string {
	if !a.Known {
		return ""
	}
	return strconv.FormatInt(a.Minor, 10)
}

func minutes(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.Itoa(int(t.Sub(Base) / time.Minute))
}
