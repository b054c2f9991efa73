package export

import (
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// The names of the tables.
const (
	TableEvents      = "events"
	TableTransitions = "transitions"
	TableOrders      = "orders"
	TableIntervals   = "intervals"
	TableMovements   = "movements"
	TablePersonal    = "personal"  // of the log; revealed
	TableCustomers   = "customers" // of the fold; revealed
)

// row is what every table's rows can say. The zero value answers sortedBy.
type row interface {
	recorded() time.Time // its day is the file's
	sortedBy() []string  // columns, within one file
}

// Event is one event of the log.
type Event struct {
	Partition       int32      `json:"partition" parquet:"partition"`
	Sequence        int64      `json:"sequence" parquet:"sequence,delta"`
	RecordedAt      time.Time  `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"`
	EffectiveAt     time.Time  `json:"effective_at" parquet:"effective_at,timestamp(microsecond)"`
	ReceivedAt      time.Time  `json:"received_at" parquet:"received_at,timestamp(microsecond)"`
	TimeInferred    bool       `json:"time_inferred" parquet:"time_inferred"`
	EventID         string     `json:"event_id" parquet:"event_id"`
	OrderID         string     `json:"order_id" parquet:"order_id"`
	Revision        int64      `json:"revision" parquet:"revision"`
	Tenant          string     `json:"tenant" parquet:"tenant,dict"`
	Source          string     `json:"source" parquet:"source,dict"`
	Provider        string     `json:"provider" parquet:"provider,dict"`
	Account         string     `json:"account" parquet:"account,dict"`
	ProviderOrderID string     `json:"provider_order_id" parquet:"provider_order_id"`
	Reference       string     `json:"reference" parquet:"reference"`
	Kind            string     `json:"kind" parquet:"kind,dict"`
	Verdict         string     `json:"verdict" parquet:"verdict,dict"`
	Why             string     `json:"why" parquet:"why,dict"`
	StatusFrom      string     `json:"status_from" parquet:"status_from,dict"`
	StatusTo        string     `json:"status_to" parquet:"status_to,dict"`
	Correction      bool       `json:"correction" parquet:"correction"`
	Gap             bool       `json:"gap" parquet:"gap"`
	MoneyChanged    bool       `json:"money_changed" parquet:"money_changed"`
	Reason          string     `json:"reason" parquet:"reason,dict"`
	Detail          string     `json:"detail" parquet:"detail,dict"`
	Currency        string     `json:"currency" parquet:"currency,dict"`
	Total           *int64     `json:"total" parquet:"total,optional"`
	Paid            *int64     `json:"paid" parquet:"paid,optional"`
	Refunded        *int64     `json:"refunded" parquet:"refunded,optional"`
	Refund          *int64     `json:"refund" parquet:"refund,optional"`
	Freight         *int64     `json:"freight" parquet:"freight,optional"`
	Discount        *int64     `json:"discount" parquet:"discount,optional"`
	Method          string     `json:"method" parquet:"method,dict"`
	Phase           string     `json:"phase" parquet:"phase,dict"`
	PaymentID       string     `json:"payment_id" parquet:"payment_id"`
	RefundID        string     `json:"refund_id" parquet:"refund_id"`
	Installments    int32      `json:"installments" parquet:"installments"`
	Items           []LineItem `json:"items" parquet:"items,list"`
	UTM             string     `json:"utm" parquet:"utm,json,dict"` // a JSON object
	ShippingEvent   string     `json:"shipping_event" parquet:"shipping_event,dict"`
	MachineVersion  int32      `json:"machine_version" parquet:"machine_version"`
}

// LineItem is one line of an order.
type LineItem struct {
	Code      string `json:"code" parquet:"code,dict"`
	Title     string `json:"title" parquet:"title,dict"`
	UnitPrice *int64 `json:"unit_price" parquet:"unit_price,optional"`
	Quantity  int64  `json:"quantity" parquet:"quantity"`
}

// Transition is an event of the log that changed its order's status when it was
// recorded.
type Transition struct {
	Partition   int32     `json:"partition" parquet:"partition"`
	Sequence    int64     `json:"sequence" parquet:"sequence,delta"`
	RecordedAt  time.Time `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"`
	EffectiveAt time.Time `json:"effective_at" parquet:"effective_at,timestamp(microsecond)"`
	EventID     string    `json:"event_id" parquet:"event_id"`
	OrderID     string    `json:"order_id" parquet:"order_id"`
	Revision    int64     `json:"revision" parquet:"revision"`
	Tenant      string    `json:"tenant" parquet:"tenant,dict"`
	Source      string    `json:"source" parquet:"source,dict"`
	Provider    string    `json:"provider" parquet:"provider,dict"`
	Kind        string    `json:"kind" parquet:"kind,dict"`
	Verdict     string    `json:"verdict" parquet:"verdict,dict"`
	StatusFrom  string    `json:"status_from" parquet:"status_from,dict"`
	StatusTo    string    `json:"status_to" parquet:"status_to,dict"`
	Correction  bool      `json:"correction" parquet:"correction"`
}

// Order is an order as its facts make it. Its day is that of its first event.
type Order struct {
	OrderID         string     `json:"order_id" parquet:"order_id"`
	FirstRecordedAt time.Time  `json:"first_recorded_at" parquet:"first_recorded_at,timestamp(microsecond)"`
	RecordedAt      time.Time  `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"` // of the newest event
	UpdatedAt       time.Time  `json:"updated_at" parquet:"updated_at,timestamp(microsecond)"`   // effective time of the newest fact
	StartedAt       *time.Time `json:"started_at" parquet:"started_at,optional,timestamp(microsecond)"`
	AbandonedAt     *time.Time `json:"abandoned_at" parquet:"abandoned_at,optional,timestamp(microsecond)"`
	ApprovedAt      *time.Time `json:"approved_at" parquet:"approved_at,optional,timestamp(microsecond)"`
	Tenant          string     `json:"tenant" parquet:"tenant,dict"`
	Source          string     `json:"source" parquet:"source,dict"`
	Provider        string     `json:"provider" parquet:"provider,dict"`
	Account         string     `json:"account" parquet:"account,dict"`
	ProviderOrderID string     `json:"provider_order_id" parquet:"provider_order_id"`
	Reference       string     `json:"reference" parquet:"reference"`
	Status          string     `json:"status" parquet:"status,dict"`
	Revision        int64      `json:"revision" parquet:"revision"`
	Currency        string     `json:"currency" parquet:"currency,dict"`
	Total           *int64     `json:"total" parquet:"total,optional"`
	Paid            *int64     `json:"paid" parquet:"paid,optional"`
	Refunded        *int64     `json:"refunded" parquet:"refunded,optional"`
	Freight         *int64     `json:"freight" parquet:"freight,optional"`
	Discount        *int64     `json:"discount" parquet:"discount,optional"`
	FullyRefunded   bool       `json:"fully_refunded" parquet:"fully_refunded"`
	Dispute         string     `json:"dispute" parquet:"dispute,dict"`
	RefundRequested bool       `json:"refund_requested" parquet:"refund_requested"`
	Method          string     `json:"method" parquet:"method,dict"`
	Phase           string     `json:"phase" parquet:"phase,dict"`
	Installments    int32      `json:"installments" parquet:"installments"`
	Reason          string     `json:"reason" parquet:"reason,dict"`
	Detail          string     `json:"detail" parquet:"detail,dict"`
	Items           []LineItem `json:"items" parquet:"items,list"`
	UTM             string     `json:"utm" parquet:"utm,json,dict"` // a JSON object
	Gap             bool       `json:"gap" parquet:"gap"`
	OpenConflicts   int32      `json:"open_conflicts" parquet:"open_conflicts"`
	Attention       []string   `json:"attention" parquet:"attention,list"` // kinds
	MachineVersion  int32      `json:"machine_version" parquet:"machine_version"`
}

// Interval is a time that an order spent in one status, by the fold of all that is
// known now.
type Interval struct {
	OrderID    string     `json:"order_id" parquet:"order_id"`
	Number     int32      `json:"number" parquet:"number"` // in its order, from 1
	Status     string     `json:"status" parquet:"status,dict"`
	Entered    time.Time  `json:"entered" parquet:"entered,timestamp(microsecond)"`
	Left       *time.Time `json:"left" parquet:"left,optional,timestamp(microsecond)"` // null: it is there
	DurationMS *int64     `json:"duration_ms" parquet:"duration_ms,optional"`          // null likewise
	RecordedAt time.Time  `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"`
	EventID    string     `json:"event_id" parquet:"event_id"` // that entered it
	Tenant     string     `json:"tenant" parquet:"tenant,dict"`
	Source     string     `json:"source" parquet:"source,dict"`
	Provider   string     `json:"provider" parquet:"provider,dict"`
	Method     string     `json:"method" parquet:"method,dict"` // of the order
	Gap        bool       `json:"gap" parquet:"gap"`            // a predecessor was never seen
}

// Movement is money that was paid, or below zero went back.
type Movement struct {
	OrderID     string    `json:"order_id" parquet:"order_id"`
	Number      int32     `json:"number" parquet:"number"` // in its order, from 1
	Amount      int64     `json:"amount" parquet:"amount"`
	Currency    string    `json:"currency" parquet:"currency,dict"`
	PaymentID   string    `json:"payment_id" parquet:"payment_id"`
	RefundID    string    `json:"refund_id" parquet:"refund_id"`
	EffectiveAt time.Time `json:"effective_at" parquet:"effective_at,timestamp(microsecond)"`
	RecordedAt  time.Time `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"`
	EventID     string    `json:"event_id" parquet:"event_id"`
	Tenant      string    `json:"tenant" parquet:"tenant,dict"`
	Source      string    `json:"source" parquet:"source,dict"`
	Provider    string    `json:"provider" parquet:"provider,dict"`
	Method      string    `json:"method" parquet:"method,dict"` // of the order
}

func (r Event) recorded() time.Time      { return r.RecordedAt }
func (r Transition) recorded() time.Time { return r.RecordedAt }
func (r Order) recorded() time.Time      { return r.FirstRecordedAt }
func (r Interval) recorded() time.Time   { return r.RecordedAt }
func (r Movement) recorded() time.Time   { return r.RecordedAt }

func (Event) sortedBy() []string      { return []string{"partition", "sequence"} }
func (Transition) sortedBy() []string { return []string{"partition", "sequence"} }
func (Order) sortedBy() []string      { return []string{"order_id"} }
func (Interval) sortedBy() []string   { return []string{"order_id", "number"} }
func (Movement) sortedBy() []string   { return []string{"order_id", "number"} }

// EventOf is the row of r.
func EventOf(r *domain.Recorded) Event {
	e, f := &r.Event, &r.Event.Fact
	out := Event{
		Partition: int32(r.Partition), Sequence: int64(r.Sequence), //nolint:gosec // at most 256, and a count
		RecordedAt: e.RecordedAt, EffectiveAt: e.EffectiveAt, ReceivedAt: e.ReceivedAt, TimeInferred: e.TimeInferred,
		EventID: string(e.ID), OrderID: string(e.OrderID), Revision: int64(e.Revision), //nolint:gosec // at most 1,000
		Tenant: string(e.Tenant), Source: string(e.Source), Provider: f.Provider, Account: f.Account,
		ProviderOrderID: f.ProviderOrderID, Reference: f.Reference,
		Kind: f.Kind.String(), Verdict: e.Verdict.String(), Why: e.Why, StatusFrom: e.From.String(), StatusTo: e.To.String(),
		Correction: e.Correction, Gap: e.Gap, MoneyChanged: e.MoneyChanged, Reason: string(f.Reason), Detail: f.Detail,
		Currency: f.Amounts.Currency, Total: known(f.Amounts.Total), Paid: known(f.Amounts.Paid), Refunded: known(f.Amounts.Refunded),
		Refund: known(f.Amounts.Refund), Freight: known(f.Amounts.Freight), Discount: known(f.Amounts.Discount),
		Method: f.Payment.Method, Phase: f.Payment.Phase, PaymentID: f.Payment.PaymentID, RefundID: f.Payment.RefundID,
		Installments: f.Payment.Installments, Items: lineItems(f.Items), UTM: object(f.UTM),
		MachineVersion: int32(e.MachineVersion), //nolint:gosec // a small number
	}
	if f.Shipping != nil {
		out.ShippingEvent = f.Shipping.Event
	}
	return out
}

// TransitionOf is the row of r; false when r changed no status.
func TransitionOf(r *domain.Recorded) (Transition, bool) {
	e := &r.Event
	return Transition{
		Partition: int32(r.Partition), Sequence: int64(r.Sequence), //nolint:gosec // at most 256, and a count
		RecordedAt: e.RecordedAt, EffectiveAt: e.EffectiveAt, EventID: string(e.ID), OrderID: string(e.OrderID),
		Revision: int64(e.Revision), //nolint:gosec // at most 1,000
		Tenant:   string(e.Tenant), Source: string(e.Source), Provider: e.Fact.Provider, Kind: e.Fact.Kind.String(),
		Verdict: e.Verdict.String(), StatusFrom: e.From.String(), StatusTo: e.To.String(), Correction: e.Correction,
	}, e.From != e.To
}

// OrderOf is the row of an order's fold.
func OrderOf(id domain.OrderID, s *order.State) Order {
	out := Order{
		OrderID: string(id), FirstRecordedAt: s.FirstRecordedAt, RecordedAt: s.RecordedAt, UpdatedAt: s.UpdatedAt,
		StartedAt: ever(s.StartedAt), AbandonedAt: ever(s.AbandonedAt), ApprovedAt: ever(s.ApprovedAt),
		Tenant: string(s.Identity.Tenant), Source: string(s.Source), Provider: s.Identity.Provider, Account: s.Identity.Account,
		ProviderOrderID: s.Identity.ProviderOrderID, Reference: s.Reference, Status: s.Status.String(),
		Revision: int64(s.Revision), //nolint:gosec // at most 1,000
		Currency: s.Currency, Total: known(s.Total), Paid: known(s.Paid), Refunded: known(s.Refunded),
		Freight: known(s.Freight), Discount: known(s.Discount), FullyRefunded: s.FullyRefunded, Dispute: s.Dispute,
		RefundRequested: s.RefundRequested, Method: s.Method, Phase: s.Phase, Installments: s.Installments,
		Reason: string(s.Reason), Detail: s.Detail, Items: lineItems(s.Items), UTM: object(s.UTM), Gap: s.Gap,
		OpenConflicts:  int32(len(s.Conflicts)), //nolint:gosec // at most 1,000
		MachineVersion: int32(s.MachineVersion), //nolint:gosec // a small number
	}
	for _, a := range s.Attention {
		out.Attention = append(out.Attention, a.Kind)
	}
	return out
}

// IntervalsOf are the rows of an order's fold; events are its history, by revision.
// An order that never had a status has none. A refund that completes at the
// end of the fold, and is dated before the step before it, is entered with that.
func IntervalsOf(id domain.OrderID, s *order.State, events []domain.Recorded) []Interval {
	var out []Interval
	for _, step := range s.Path {
		if step.From == step.To && len(out) > 0 {
			continue
		}
		e := eventOf(events, step.Event)
		entered := e.EffectiveAt
		if n := len(out); n > 0 {
			last := &out[n-1]
			if entered.Before(last.Entered) {
				entered = last.Entered
			}
			left, duration := entered, entered.Sub(last.Entered).Milliseconds()
			last.Left, last.DurationMS = &left, &duration
		}
		out = append(out, Interval{
			OrderID: string(id), Number: int32(len(out) + 1), Status: step.To.String(), Entered: entered, //nolint:gosec // at most 1,000
			RecordedAt: e.RecordedAt, EventID: string(e.ID), Tenant: string(s.Identity.Tenant), Source: string(s.Source),
			Provider: s.Identity.Provider, Method: s.Method, Gap: step.Gap,
		})
	}
	return out
}

// MovementsOf are the rows of an order's movements. One whose fact names no
// currency is in the order's.
func MovementsOf(id domain.OrderID, s *order.State, movements []order.Movement) []Movement {
	out := make([]Movement, len(movements))
	for i := range movements {
		m := &movements[i]
		out[i] = Movement{
			OrderID: string(id), Number: int32(i + 1), Amount: m.Amount, Currency: m.Currency,
			PaymentID: m.PaymentID, RefundID: m.RefundID, EffectiveAt: m.EffectiveAt, RecordedAt: m.RecordedAt, EventID: string(m.Event),
			Tenant: string(s.Identity.Tenant), Source: string(s.Source), Provider: s.Identity.Provider, Method: s.Method,
		}
		if m.Currency == "" {
			out[i].Currency = s.Currency
		}
	}
	return out
}

func eventOf(events []domain.Recorded, id domain.EventID) *domain.Event {
	for i := range events {
		if events[i].Event.ID == id {
			return &events[i].Event
		}
	}
	return &domain.Event{} // a fold names only events of its history
}

// known is nil for an unknown amount.
func known(a domain.Amount) *int64 {
	if !a.Known {
		return nil
	}
	return &a.Minor
}

func ever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func lineItems(items []domain.Item) []LineItem {
	if len(items) == 0 {
		return nil
	}
	out := make([]LineItem, len(items))
	for i := range items {
		out[i] = LineItem{Code: items[i].Code, Title: items[i].Title, UnitPrice: known(items[i].UnitPrice), Quantity: items[i].Quantity}
	}
	return out
}

// object is u as a JSON object.
func object(u domain.UTM) string {
	if len(u) == 0 {
		return "{}"
	}
	var short [512]byte // short texts need no memory
	out := append(short[:0], '{')
	for i := range u {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(quoted(out, u[i].Name), ':')
		out = quoted(out, u[i].Value)
	}
	return string(append(out, '}'))
}

func quoted(to []byte, text string) []byte {
	to, _ = jsontext.AppendQuote(to, text) // an error only says that some of it is no UTF-8, and was replaced
	return to
}
