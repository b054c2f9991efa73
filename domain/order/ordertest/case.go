package ordertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Base is minute 0 of every case.
var Base = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

// receipt is the minute in which a fact comes in that does not say: long after
// everything, so that a dated fact is believed.
const receipt = 10_000

// recorded is the minute of the recorder's clock, later than every receipt.
const recorded = 20_000

// Case is facts in the order of their delivery, and what comes of them.
type Case struct {
	Name string `json:"name"`
	// Source is where in the contract the expectation stands.
	Source string `json:"source,omitempty"`
	Facts  []Fact `json:"facts"`
	Want   Want   `json:"want"`
}

// Fact is one delivery. Name is the idempotency key, and the event's name in
// the rest of the case: two facts of one name and kind are deliveries of one.
type Fact struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	At       *int   `json:"at,omitempty"` // nil: undated
	Received *int   `json:"received,omitempty"`
	Inferred bool   `json:"inferred,omitempty"`

	Total    *int64 `json:"total,omitempty"`
	Paid     *int64 `json:"paid,omitempty"`
	Refunded *int64 `json:"refunded,omitempty"`
	Refund   *int64 `json:"refund,omitempty"`
	Freight  *int64 `json:"freight,omitempty"`
	Discount *int64 `json:"discount,omitempty"`
	Currency string `json:"currency,omitempty"`

	Payment      string `json:"payment,omitempty"`
	RefundID     string `json:"refund_id,omitempty"`
	Method       string `json:"method,omitempty"`
	Phase        string `json:"phase,omitempty"`
	Installments int32  `json:"installments,omitempty"`

	Reason    string `json:"reason,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Reference string `json:"reference,omitempty"`
	Custom    string `json:"custom,omitempty"`

	Items   []string          `json:"items,omitempty"` // codes
	UTM     map[string]string `json:"utm,omitempty"`
	Shipped *Shipped          `json:"shipped,omitempty"`

	// Action and Event are an operator's word on the event of that name.
	Action string `json:"action,omitempty"`
	Event  string `json:"event,omitempty"`
}

// Shipped is news from the carrier.
type Shipped struct {
	Event string `json:"event"`
	Date  *int   `json:"date,omitempty"` // nil: undated
}

// Want is what comes of a case. What is left out is nothing, false or unknown.
type Want struct {
	// Verdicts are of the deliveries, in turn: "applied", "applied correction",
	// "noted <why>", "late <why>", "conflict <why>", "duplicate", "duplicate
	// id_reused", or the kind of the error.
	Verdicts []string `json:"verdicts"`

	End
}

// End is the order at the end: the part that no order of delivery may change.
type End struct {
	Status string `json:"status"`
	// Path is the fold's edges, as "a:approved": the fact that made it and where
	// it leads, with "?" for the gap flag, "!" for an edge forced by an operator
	// and "=" for refund_complete.
	Path      []string `json:"path,omitempty"`
	Gap       bool     `json:"gap,omitempty"`
	Conflicts []string `json:"conflicts,omitempty"`
	HeldBack  []string `json:"held_back,omitempty"`
	Attention []string `json:"attention,omitempty"` // as "overpaid:b"
	Paid      *int64   `json:"paid,omitempty"`
	Refunded  *int64   `json:"refunded,omitempty"`
	Full      bool     `json:"full,omitempty"`
	Dispute   string   `json:"dispute,omitempty"`
	Payments  []string `json:"payments,omitempty"`
	// Facets are those that the case is about, by name; "" is one that nobody carries.
	Facets map[string]string `json:"facets,omitempty"`
}

// Load reads every case of the *.json files in fsys. Names are unique.
func Load(fsys fs.FS) ([]Case, error) {
	files, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("find golden cases: %w", err)
	}
	if len(files) == 0 {
		return nil, errors.New("find golden cases: none")
	}
	var all []Case
	var seen []string
	for _, file := range files {
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read golden cases: %w", err)
		}
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		var cases []Case
		if err := decoder.Decode(&cases); err != nil {
			return nil, fmt.Errorf("read golden cases of %s: %w", file, err)
		}
		for i := range cases {
			cases[i].Name = strings.TrimSuffix(file, ".json") + ": " + cases[i].Name
			if slices.Contains(seen, cases[i].Name) {
				return nil, fmt.Errorf("golden case %q: twice", cases[i].Name)
			}
			seen = append(seen, cases[i].Name)
		}
		all = append(all, cases...)
	}
	return all, nil
}

// Domain is f as a codec would give it, and its receipt. events are the ids of
// the events delivered so far, by name.
func (f *Fact) Domain(events map[string]domain.EventID) (domain.Fact, time.Time, error) {
	kind, ok := domain.ParseKind(f.Kind)
	if !ok {
		return domain.Fact{}, time.Time{}, fmt.Errorf("fact %s: kind %q", f.Name, f.Kind)
	}
	fact := domain.Fact{
		Kind: kind, Provider: "aprovei", Account: "principal", ProviderOrderID: "tok_1", Key: f.Name,
		OccurredAt: minute(f.At), Inferred: f.Inferred,
		Reference: f.Reference, Reason: domain.Reason(f.Reason), Detail: f.Detail, CustomEvent: f.Custom, UTM: domain.UTMOf(f.UTM),
		Amounts: domain.Amounts{
			Currency: f.Currency, Total: amount(f.Total), Paid: amount(f.Paid), Refunded: amount(f.Refunded),
			Refund: amount(f.Refund), Freight: amount(f.Freight), Discount: amount(f.Discount),
		},
		Payment: domain.Payment{
			Method: f.Method, Phase: f.Phase, PaymentID: f.Payment, RefundID: f.RefundID, Installments: f.Installments,
		},
	}
	for _, code := range f.Items {
		fact.Items = append(fact.Items, domain.Item{Code: code})
	}
	if f.Shipped != nil {
		fact.Shipping = &domain.Shipping{Event: f.Shipped.Event, Date: minute(f.Shipped.Date)}
	}
	if f.Action != "" {
		fact.Resolution = &domain.Resolution{Event: events[f.Event], Action: domain.ResolutionAction(f.Action)}
	}
	at := receipt
	if f.Received != nil {
		at = *f.Received
	}
	return fact, after(at), nil
}

// meta is what the recorder knows of a delivery.
func meta(received time.Time) order.Meta {
	return order.Meta{Tenant: "loja", Source: "loja-aprovei", ReceivedAt: received, Now: after(recorded)}
}

func minute(at *int) time.Time {
	if at == nil {
		return time.Time{}
	}
	return after(*at)
}

func after(minutes int) time.Time { return Base.Add(time.Duration(minutes) * time.Minute) }

func amount(n *int64) domain.Amount {
	if n == nil {
		return domain.Amount{}
	}
	return domain.Minor(*n)
}
