package notify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// ContentType is of a CloudEvent in structured mode. A receiver that knows only
// JSON may read it as such; one that knows CloudEvents would take plain
// application/json for binary mode and miss the attributes.
const ContentType = "application/cloudevents+json; charset=utf-8"

// maxBody bounds a body. Beyond it the lists are left out, and truncated says so.
const maxBody = 256 << 10

// cloudEvent is the body (CloudEvents 1.0, JSON format). It holds no personal
// data: that is sealed and stays in the log.
type cloudEvent struct {
	SpecVersion     string    `json:"specversion"`
	ID              string    `json:"id"`
	Source          string    `json:"source"`
	Type            string    `json:"type"`
	Subject         string    `json:"subject"`
	Time            time.Time `json:"time"`
	DataContentType string    `json:"datacontenttype"`
	Data            eventData `json:"data"`
}

type eventData struct {
	EventID         string `json:"event_id"`
	OrderID         string `json:"order_id"`
	Tenant          string `json:"tenant"`
	Source          string `json:"source"`
	Provider        string `json:"provider"`
	Account         string `json:"account,omitempty"`
	ProviderOrderID string `json:"provider_order_id"`
	Reference       string `json:"reference,omitempty"`

	Revision         uint64 `json:"revision"`
	PreviousRevision uint64 `json:"previous_revision"`
	Position         string `json:"position"`

	Kind         string     `json:"kind"`
	Verdict      string     `json:"verdict"`
	Why          string     `json:"why,omitempty"`
	StatusFrom   string     `json:"status_from"`
	StatusTo     string     `json:"status_to"`
	Correction   bool       `json:"correction"`
	Path         []stepData `json:"path,omitempty"`
	Gap          bool       `json:"gap,omitempty"`
	MoneyChanged bool       `json:"money_changed"`

	EffectiveAt  time.Time `json:"effective_at"`
	TimeInferred bool      `json:"time_inferred,omitempty"`
	RecordedAt   time.Time `json:"recorded_at"`

	Reason      string            `json:"reason,omitempty"`
	Detail      string            `json:"detail,omitempty"`
	Amounts     amountsData       `json:"amounts"`
	Payment     paymentData       `json:"payment"`
	Items       []itemData        `json:"items,omitempty"`
	UTM         map[string]string `json:"utm,omitempty"`
	Shipping    *shippingData     `json:"shipping,omitempty"`
	CustomEvent string            `json:"custom_event,omitempty"`
	Truncated   bool              `json:"truncated,omitempty"`
}

type stepData struct {
	EventID    string `json:"event_id"`
	StatusFrom string `json:"status_from"`
	StatusTo   string `json:"status_to"`
	Forced     bool   `json:"forced,omitempty"`
	Gap        bool   `json:"gap,omitempty"`
	Why        string `json:"why,omitempty"`
}

// amountsData are the fact's sums in minor units; an absent one is unknown.
type amountsData struct {
	Currency string `json:"currency,omitempty"`
	Total    *int64 `json:"total,omitempty"`
	Paid     *int64 `json:"paid,omitempty"`
	Refunded *int64 `json:"refunded,omitempty"`
	Refund   *int64 `json:"refund,omitempty"`
	Freight  *int64 `json:"freight,omitempty"`
	Discount *int64 `json:"discount,omitempty"`
}

type paymentData struct {
	Method       string `json:"method,omitempty"`
	Phase        string `json:"phase,omitempty"`
	PaymentID    string `json:"payment_id,omitempty"`
	RefundID     string `json:"refund_id,omitempty"`
	Installments int32  `json:"installments,omitempty"`
}

type itemData struct {
	Code      string `json:"code,omitempty"`
	Title     string `json:"title,omitempty"`
	UnitPrice *int64 `json:"unit_price,omitempty"`
	Quantity  int64  `json:"quantity"`
}

type shippingData struct {
	Event        string     `json:"event,omitempty"`
	TrackingCode string     `json:"tracking_code,omitempty"`
	TrackingURL  string     `json:"tracking_url,omitempty"`
	Branch       string     `json:"branch,omitempty"`
	City         string     `json:"city,omitempty"`
	State        string     `json:"state,omitempty"`
	Country      string     `json:"country,omitempty"`
	Date         *time.Time `json:"date,omitempty"`
}

// CloudEvent is n's body, at most 256 KiB. It is the same for every attempt.
func CloudEvent(n delivery.Notification) ([]byte, error) {
	e := n.Event
	event := cloudEvent{
		SpecVersion: "1.0", ID: string(e.ID), Source: "comanda/" + string(e.Tenant) + "/" + string(e.Source),
		Type: n.Type, Subject: string(e.OrderID), Time: e.EffectiveAt.UTC(), DataContentType: "application/json",
		Data: dataOf(n),
	}
	body, err := json.Marshal(event)
	if err == nil && len(body) > maxBody {
		event.Data.Items, event.Data.UTM, event.Data.Path, event.Data.Shipping = nil, nil, nil, nil
		event.Data.Truncated = true
		body, err = json.Marshal(event)
	}
	if err != nil {
		return nil, fmt.Errorf("write event %s: %w", e.ID, err)
	}
	return body, nil
}

func dataOf(n delivery.Notification) eventData {
	e := n.Event
	f := &e.Fact
	return eventData{
		EventID: string(e.ID), OrderID: string(e.OrderID), Tenant: string(e.Tenant), Source: string(e.Source),
		Provider: f.Provider, Account: f.Account, ProviderOrderID: f.ProviderOrderID, Reference: f.Reference,
		Revision: e.Revision, PreviousRevision: n.PreviousRevision, Position: n.Position.String(),
		Kind: f.Kind.String(), Verdict: e.Verdict.String(), Why: e.Why, StatusFrom: e.From.String(), StatusTo: e.To.String(),
		Correction: e.Correction, Path: stepsOf(e.Path), Gap: e.Gap, MoneyChanged: e.MoneyChanged,
		EffectiveAt: e.EffectiveAt.UTC(), TimeInferred: e.TimeInferred, RecordedAt: e.RecordedAt.UTC(),
		Reason: string(f.Reason), Detail: f.Detail,
		Amounts: amountsData{
			Currency: f.Amounts.Currency, Total: minor(f.Amounts.Total), Paid: minor(f.Amounts.Paid), Refunded: minor(f.Amounts.Refunded),
			Refund: minor(f.Amounts.Refund), Freight: minor(f.Amounts.Freight), Discount: minor(f.Amounts.Discount),
		},
		Payment: paymentData{
			Method: f.Payment.Method, Phase: f.Payment.Phase, PaymentID: f.Payment.PaymentID, RefundID: f.Payment.RefundID,
			Installments: f.Payment.Installments,
		},
		Items: itemsOf(f.Items), UTM: f.UTM.Map(), Shipping: shippingOf(f.Shipping), CustomEvent: f.CustomEvent,
	}
}

func stepsOf(path []domain.Step) []stepData {
	out := make([]stepData, len(path))
	for i, s := range path {
		out[i] = stepData{
			EventID: string(s.Event), StatusFrom: s.From.String(), StatusTo: s.To.String(), Forced: s.Forced, Gap: s.Gap, Why: s.Why,
		}
	}
	return out
}

func itemsOf(items []domain.Item) []itemData {
	out := make([]itemData, len(items))
	for i, it := range items {
		out[i] = itemData{Code: it.Code, Title: it.Title, UnitPrice: minor(it.UnitPrice), Quantity: it.Quantity}
	}
	return out
}

func shippingOf(s *domain.Shipping) *shippingData {
	if s == nil {
		return nil
	}
	out := &shippingData{
		Event: s.Event, TrackingCode: s.TrackingCode, TrackingURL: s.TrackingURL, Branch: s.Branch,
		City: s.City, State: s.State, Country: s.Country,
	}
	if !s.Date.IsZero() {
		date := s.Date.UTC()
		out.Date = &date
	}
	return out
}

func minor(a domain.Amount) *int64 {
	if !a.Known {
		return nil
	}
	return &a.Minor
}

// traceForm is how a traceparent of any version begins (W3C Trace Context, section
// 4.3): trace id, parent id, flags. That it is valid was seen to when it came in.
var traceForm = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)`)

// continueTrace is the traceparent of an attempt, of version 00 as we know it: the
// trace in which the message came in, and a span id of this attempt's own. "" when
// there was none.
func continueTrace(n delivery.Notification) string {
	parts := traceForm.FindStringSubmatch(n.Event.Cause.Traceparent)
	if parts == nil {
		return ""
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(WebhookID(n.Event.ID, n.Endpoint)), uint64(max(n.Attempt, 0))))
	return "00-" + parts[1] + "-" + hex.EncodeToString(sum[:8]) + "-" + parts[3]
}
