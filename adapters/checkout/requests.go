package checkout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/plainjson"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/waiting"
)

// record makes one message durable and answers with what became of it, as HTTP does;
// but what the fold refuses is told and not stored.
func (s *Service) record(ctx context.Context, r *request) answer {
	if r.source == nil {
		return unknownSource(r.token)
	}
	if len(r.body) > s.cfg.MaxBody {
		return refusal(codeTooLarge, fmt.Sprintf("the body has %d bytes, more than %d", len(r.body), s.cfg.MaxBody))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.RecordTimeout)
	defer cancel()
	receipt, err := s.deps.Intake.Insist(ctx, r.source, contentType(r.header), r.body, s.deps.Clock(), r.cause)
	if refused, ok := errors.AsType[*order.RefusedError](err); ok {
		return refusedFact(refused)
	}
	if err != nil {
		s.deps.Logger.WarnContext(ctx, "request not recorded", "source", string(r.source.ID), "error", err)
		return refusal(codeUnavailable, "not accepted; send the same again")
	}
	b := append(make([]byte, 0, outcomeSize), `{"message_id":`...)
	b, _ = jsontext.AppendQuote(b, r.id) // the error only reports what is not UTF-8
	b = append(receipt.AppendMembers(append(b, ',')), '}')
	if receipt.Quarantined() && senderCanAct(r.source, receipt.Reason) {
		return answer{codeInvalid, "the message was kept, but is not a fact; correct it and send it again", b}
	}
	return success(b)
}

// refusedFact says what may be said of that time instead.
func refusedFact(refused *order.RefusedError) answer {
	legal := make([]string, len(refused.Legal))
	for i, kind := range refused.Legal {
		legal[i] = kind.String()
	}
	body, err := json.Marshal(map[string]any{
		"order_id": refused.Order, "kind": refused.Kind.String(), "at": refused.At.UTC().Format(time.RFC3339Nano),
		"status_then": refused.Then.String(), "status": refused.Now.String(), "why": refused.Why, "legal": legal,
	}, json.Deterministic(true))
	if err != nil {
		return refusal(codeInternal, err.Error())
	}
	return answer{codeConflict, refused.Error(), body}
}

// senderCanAct reports whether the message is bad in itself and its sender one who
// may mend that: the same senders as over HTTP.
func senderCanAct(src *intake.Source, reason provider.ErrorReason) bool {
	return (src.Provider == provider.Comanda || src.Provider == provider.Voxuy) &&
		(reason == provider.Malformed || reason == provider.InvalidFields)
}

func unknownSource(token string) answer {
	return refusal(codeNotFound, fmt.Sprintf("no source %s is configured", intake.SanitizeSource(token)))
}

// orderTarget says which order: exactly one of its first three.
type orderTarget struct {
	OrderID         string `json:"order_id"`
	ProviderOrderID string `json:"provider_order_id"`
	Reference       string `json:"reference"`
	// Source is the way in of ProviderOrderID: "" is the caller's own.
	Source string `json:"source"`
	// View is "basic" or "full"; "" is basic.
	View string `json:"view"`
}

// getRequest is the body of comanda.order.get.
type getRequest struct {
	orderTarget

	// MinPosition is waited for, as an answer to record has it.
	MinPosition string `json:"min_position"`
}

// waitRequest is the body of comanda.order.wait. The order must be all that is
// said; nothing: it must exist.
type waitRequest struct {
	orderTarget

	Statuses        []string `json:"statuses"` // one of them
	Revision        uint64   `json:"revision"` // this one or a later one
	NoLongerPending bool     `json:"no_longer_pending"`
	TimeoutMS       int64    `json:"timeout_ms"`
}

// defaultWait is for who does not say how long, and leaves NATS clients, whose own
// wait is mostly longer, time for the answer.
const defaultWait = 10 * time.Second

func (s *Service) get(ctx context.Context, r *request) answer {
	var req getRequest
	if err := s.begin(r, &req); err != nil {
		return failure(err)
	}
	var bad fields
	target := s.target(&req.orderTarget, r.source, &bad)
	position, err := domain.ParsePosition(req.MinPosition)
	bad.check("min_position", err == nil, "must be a position from an answer of Comanda")
	if err := bad.err(); err != nil {
		return failure(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RecordTimeout)
	defer cancel()
	if err := s.deps.Views.Wait(ctx, position); err != nil {
		return s.failed(ctx, err)
	}
	found, err := s.deps.Orders.Look(target, waiting.Condition{})
	if err != nil {
		return s.failed(ctx, err)
	}
	if found.Order == nil {
		return refusal(codeNotFound, "there is no such order of the source's tenant")
	}
	return s.order(ctx, nil, &found, req.View)
}

func (s *Service) wait(ctx context.Context, r *request) answer {
	var req waitRequest
	if err := s.begin(r, &req); err != nil {
		return failure(err)
	}
	var bad fields
	target := s.target(&req.orderTarget, r.source, &bad)
	condition := waiting.Condition{Revision: req.Revision, Settled: req.NoLongerPending}
	for _, word := range req.Statuses {
		status, ok := domain.ParseStatus(word)
		bad.check("statuses", ok, "must be words for statuses, as approved")
		condition.Statuses = append(condition.Statuses, status)
	}
	timeout := time.Duration(req.TimeoutMS) * time.Millisecond
	bad.check("timeout_ms", req.TimeoutMS >= 0 && req.TimeoutMS <= s.cfg.MaxWait.Milliseconds(),
		fmt.Sprintf("must be 1 to %d, or 0 for %d", s.cfg.MaxWait.Milliseconds(), defaultWait.Milliseconds()))
	if err := bad.err(); err != nil {
		return failure(err)
	}
	if timeout == 0 {
		timeout = min(defaultWait, s.cfg.MaxWait)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	found, err := s.deps.Orders.Order(ctx, target, condition)
	if err != nil {
		return s.failed(ctx, err)
	}
	b := []byte(`{"met":false`)
	if found.Met {
		b = []byte(`{"met":true`)
	}
	return s.order(ctx, b, &found, req.View)
}

// begin reads a request's body, once its source is known and the views can answer.
func (s *Service) begin(r *request, into any) error {
	if r.source == nil {
		return domain.Errorf(domain.NotFound, "%s", unknownSource(r.token).description)
	}
	if err := json.Unmarshal(r.body, into, json.RejectUnknownMembers(true)); err != nil {
		return domain.Errorf(domain.Invalid, "the body is not a request: %w", err)
	}
	select {
	case <-s.deps.Views.Ready():
		return nil
	default:
		return domain.Errorf(domain.Unavailable, "the views are still reading the log")
	}
}

// failed logs what only an operator can mend, and answers.
func (s *Service) failed(ctx context.Context, err error) answer {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return refusal(codeUnavailable, "the views do not hold the position yet")
	case errors.Is(err, context.Canceled):
		return refusal(codeUnavailable, "comanda is stopping")
	case domain.KindOf(err) == domain.Internal, domain.KindOf(err) == domain.Corrupt:
		s.deps.Logger.ErrorContext(ctx, "request failed", "error", err)
	}
	return failure(err)
}

// order ends an answer that began with b; nil: it begins here.
func (s *Service) order(ctx context.Context, b []byte, found *waiting.Answer, view string) answer {
	if b == nil {
		b = append(b, '{')
	} else {
		b = append(b, ',')
	}
	b = append(b, `"order":`...)
	if found.Order == nil {
		return success(append(b, `null}`...))
	}
	if view != viewFull {
		orders.Basic(found.Order)
	}
	b, err := plainjson.Append(b, found.Order)
	if err != nil {
		return s.failed(ctx, err)
	}
	return success(append(b, '}'))
}

const (
	viewBasic = "basic"
	viewFull  = "full"
)

// target is the order that a source asks for: one of its tenant.
func (s *Service) target(t *orderTarget, src *intake.Source, bad *fields) waiting.Target {
	named := 0
	for _, name := range []string{t.OrderID, t.ProviderOrderID, t.Reference} {
		if name != "" {
			named++
		}
	}
	bad.check("order_id", named == 1, "give one of order_id, provider_order_id and reference")
	bad.check("view", t.View == "" || t.View == viewBasic || t.View == viewFull, "must be basic or full")
	target := waiting.Target{Tenant: src.Tenant, Reference: t.Reference}
	if t.OrderID != "" {
		target.Order = domain.OrderID(t.OrderID)
		bad.check("order_id", target.Order.Valid(), `must be "ord_" and 26 characters of a-z and 2-7`)
	}
	if t.Source != "" {
		through, ok := s.sources[t.Source]
		bad.check("source", ok && through.Tenant == src.Tenant, "must be a source of the same tenant")
		bad.check("source", t.ProviderOrderID != "", "goes with provider_order_id")
		if src = through; !ok {
			return target
		}
	}
	if t.ProviderOrderID != "" {
		name, _ := provider.Canonical(src.Provider)
		target.Order = domain.Identity{Tenant: src.Tenant, Provider: name, Account: src.Account, ProviderOrderID: t.ProviderOrderID}.OrderID()
	}
	return target
}

// fields are what is wrong with a request.
type fields map[string][]string

func (f *fields) check(field string, ok bool, rule string) {
	if ok {
		return
	}
	if *f == nil {
		*f = fields{}
	}
	(*f)[field] = append((*f)[field], rule)
}

// err is of kind Invalid; nil when nothing is wrong.
func (f *fields) err() error {
	if len(*f) == 0 {
		return nil
	}
	err := domain.Errorf(domain.Invalid, "the request is not valid")
	err.Fields = *f
	return err
}

func asDomain(err error) (*domain.Error, bool) { return errors.AsType[*domain.Error](err) }
