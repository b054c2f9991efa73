package voxuysink

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/egress"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
	"comanda.internal/domain/order"
)

// Opener opens the sealed personal data of one event. The zero value: it has
// none. An error of kind NotFound: it was erased.
type Opener interface {
	Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error)
}

// OrderReader reads an order's events by revision, from 1 without holes.
type OrderReader interface {
	Order(ctx context.Context, id domain.OrderID) ([]domain.Recorded, error)
}

// Purchases knows the other orders of a purchase.
type Purchases interface {
	// PaidElsewhere reports whether an order of the tenant's purchase with this
	// reference, other than except, is approved.
	PaidElsewhere(ctx context.Context, tenant domain.TenantID, reference string, except domain.OrderID) (bool, error)
}

// PayerBook knows who has an approved order. Persons come as pseudonyms.
type PayerBook interface {
	// Note remembers whether the person's order is approved now.
	Note(ctx context.Context, person string, id domain.OrderID, approved bool) error
	// Paid reports whether another order of the person was approved within a
	// day and still is.
	Paid(ctx context.Context, person string, except domain.OrderID) (bool, error)
}

var _ PayerBook = (*Payers)(nil)

// Deps is what sinks are given. All of it is required.
type Deps struct {
	Opener    Opener
	Orders    OrderReader
	Purchases Purchases
	Payers    PayerBook
	Machine   *order.Machine
	Clock     func() time.Time
}

// Sink posts to one Voxuy account. It is safe for concurrent use.
type Sink struct {
	url                domain.Secret
	token              domain.Secret
	plan               notify.Plan
	dontCancelPrevious bool
	rules              delivery.Rules

	client    *http.Client
	opener    Opener
	orders    OrderReader
	purchases Purchases
	payers    PayerBook
	machine   *order.Machine
	clock     func() time.Time
}

var _ message.Publisher = (*Sink)(nil)

// New makes the sink of e. The error joins all mistakes.
func New(e notify.Endpoint, deps Deps) (*Sink, error) {
	e.SetDefaults()
	rules, err := e.Rules()
	errs := []error{err, egress.CheckURL(e.URL.Reveal(), e.AllowPrivate)}
	if e.APIToken.IsZero() {
		errs = append(errs, domain.Errorf(domain.Invalid, "api_token: missing"))
	}
	if e.Plan.Default == "" {
		errs = append(errs, domain.Errorf(domain.Invalid, "plan.default: missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Sink{
		url: e.URL, token: e.APIToken, plan: e.Plan, dontCancelPrevious: e.DontCancelPrevious, rules: rules,
		client: egress.NewClient(egress.Config{AllowPrivate: e.AllowPrivate, MaxConnections: e.Concurrency}),
		opener: deps.Opener, orders: deps.Orders, purchases: deps.Purchases, payers: deps.Payers, machine: deps.Machine, clock: deps.Clock,
	}, nil
}

// Builder makes voxuy sinks for a notifier.
func Builder(deps Deps) notify.Builder {
	return func(e notify.Endpoint) (message.Publisher, error) { return New(e, deps) }
}

// Publish posts the transaction of each message's event, if it says anything to
// Voxuy, and stops at the first that is not a success. The error is a
// [delivery.OutcomeError]; one of Skipped is as good as none.
func (s *Sink) Publish(_ string, messages ...*message.Message) error {
	for _, msg := range messages {
		if err := s.publish(msg).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *Sink) publish(msg *message.Message) delivery.Outcome {
	n, ok := notify.Of(msg)
	if !ok {
		return delivery.Outcome{Kind: delivery.Final, Reason: "no_notification"}
	}
	ctx := msg.Context()
	events, err := s.orders.Order(ctx, n.Event.OrderID)
	if err != nil || uint64(len(events)) < n.Event.Revision {
		return delivery.Outcome{Kind: delivery.Retry, Reason: "log"}
	}
	st, err := tell(s.machine, events)
	if err != nil {
		return delivery.Outcome{Kind: delivery.Retry, Reason: "fold"}
	}
	w, outcome := s.decide(ctx, st, n.Event)
	if outcome.Kind != delivery.OK {
		return outcome
	}
	who, err := s.person(ctx, events)
	if err != nil {
		return delivery.Outcome{Kind: delivery.Retry, Reason: "personal_data"}
	}
	if who.Phone == "" {
		return delivery.Outcome{Kind: delivery.Final, Reason: "no_phone", Detail: "the order names no phone, which Voxuy requires"}
	}
	paid, err := s.payer(ctx, n.Event, st.states[n.Event.Revision].Reference, w, &who)
	switch {
	case err != nil:
		return delivery.Outcome{Kind: delivery.Retry, Reason: "payers"}
	case paid:
		return delivery.Outcome{Kind: delivery.Skipped, Reason: "paid_elsewhere"}
	}
	return s.post(ctx, s.transaction(st, n.Event.Revision, w, &who))
}

// decide is what the event says, or why nothing is said.
func (s *Sink) decide(ctx context.Context, st *story, e *domain.Event) (word, delivery.Outcome) {
	skip := func(reason string) (word, delivery.Outcome) {
		return word{}, delivery.Outcome{Kind: delivery.Skipped, Reason: reason}
	}
	w, ok := wordOf(e, st.states[e.Revision-1], st.states[e.Revision])
	switch {
	case !ok:
		return skip("no_word")
	case st.superseded(s.rules, e.Revision):
		return skip("superseded")
	case e.Verdict != domain.VerdictApplied && st.repeated(s.rules, e.Revision, w):
		return skip("said_before")
	}
	reference := st.states[e.Revision].Reference
	if !w.asksToPay() || reference == "" {
		return w, delivery.Outcome{Kind: delivery.OK}
	}
	paid, err := s.purchases.PaidElsewhere(ctx, e.Tenant, reference, e.OrderID)
	switch {
	case err != nil:
		return word{}, delivery.Outcome{Kind: delivery.Retry, Reason: "purchase"}
	case paid:
		return skip("paid_elsewhere")
	}
	return w, delivery.Outcome{Kind: delivery.OK}
}

func (s *Sink) post(ctx context.Context, t transaction) delivery.Outcome {
	body, err := json.Marshal(t) //nolint:gosec // the token is how Voxuy knows us
	if err != nil {
		return delivery.Outcome{Kind: delivery.Final, Reason: "encode"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url.Reveal(), bytes.NewReader(body))
	if err != nil {
		return delivery.Outcome{Kind: delivery.Retry, Reason: "request"} // its text holds the URL
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Comanda/1")
	answer, err := egress.Do(s.client, req)
	if err != nil {
		return egress.Failure(err)
	}
	return s.judge(answer)
}

// judge says what an answer means (document 002, "Resposta").
func (s *Sink) judge(a egress.Answer) delivery.Outcome {
	status := strconv.Itoa(a.Status)
	switch code := a.Status; {
	case code >= 200 && code < 300:
		var said struct {
			Success *bool `json:"Success"`
		}
		if json.Unmarshal(a.Body, &said) == nil && said.Success != nil && !*said.Success {
			return delivery.Outcome{Kind: delivery.Retry, Reason: "no_success", Detail: status}
		}
		return delivery.Outcome{Kind: delivery.OK}
	case code >= 300 && code < 400:
		return delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: status}
	case code == http.StatusBadRequest:
		return delivery.Outcome{Kind: delivery.Final, Reason: "rejected", Detail: complaint(a.Body)}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return delivery.Outcome{Kind: delivery.Disable, Reason: "unauthorized", Detail: status}
	case code == http.StatusGone:
		return delivery.Outcome{Kind: delivery.Disable, Reason: "gone", Detail: status}
	}
	return delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: status, After: egress.RetryAfter(a.Header, s.clock())}
}

// complaint is the trace id and the names of the fields of a 400. The messages
// are left out: they may repeat what was sent.
func complaint(answer []byte) string {
	var said struct {
		TraceID string                     `json:"traceId"`
		Errors  map[string]json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(answer, &said) != nil {
		return ""
	}
	parts := []string{"trace " + plain(said.TraceID)}
	for _, field := range slices.Sorted(maps.Keys(said.Errors)) {
		if len(parts) > 10 {
			break
		}
		parts = append(parts, plain(field))
	}
	return strings.Join(parts, ", ")
}

// plain bounds a foreign word and keeps only what a trace id or a field's name is made of.
func plain(s string) string {
	const most = 64
	kept := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(":-_.$[]", r) {
			return r
		}
		return -1
	}, s)
	return kept[:min(len(kept), most)]
}
