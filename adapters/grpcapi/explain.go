package grpcapi

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// ExplainOrder implements [comandav1.OrderServiceServer].
func (s *orderService) ExplainOrder(ctx context.Context, req *comandav1.ExplainOrderRequest) (*comandav1.ExplainOrderResponse, error) {
	id, messages, err := s.history(ctx, req)
	if err != nil {
		return nil, err
	}
	events := make([]domain.Event, len(messages))
	var history *order.History
	for i, m := range messages {
		if events[i], err = wire.FromEvent(m); err != nil {
			return nil, fmt.Errorf("read %s: %w", id, err)
		}
		if history, err = history.With(&events[i]); err != nil {
			return nil, fmt.Errorf("read %s: %w", id, err)
		}
	}
	return s.explain(history, events)
}

// explain is of one history, so that order, facts and what comes next fit together.
func (s *orderService) explain(history *order.History, events []domain.Event) (*comandav1.ExplainOrderResponse, error) {
	machine, err := order.ForVersion(history.MachineVersion())
	if err != nil {
		return nil, fmt.Errorf("explain %s: %w", history.OrderID(), err)
	}
	state := machine.Fold(history)
	out := &comandav1.ExplainOrderResponse{Order: orders.Row(history.OrderID(), state.Source, state)}
	for _, x := range machine.Explain(history) {
		out.Facts = append(out.Facts, explained(&x, &events[x.Revision-1]))
	}
	now := s.clock().UTC()
	for _, lead := range machine.Leads(history, domain.Fact{
		Provider: state.Identity.Provider, Account: state.Identity.Account, ProviderOrderID: state.Identity.ProviderOrderID, OccurredAt: now,
	}, order.Meta{Tenant: state.Identity.Tenant, Source: domain.SourceAPI, ReceivedAt: now, Now: now}) {
		next := &comandav1.NextFact{
			Kind: wire.Kind(lead.Kind), Verdict: wire.Verdict(lead.Verdict), Why: lead.Why, StatusTo: wire.Status(lead.To), Gap: lead.Gap,
		}
		if lead.Refused {
			next.Verdict = comandav1.Verdict_VERDICT_CONFLICT
		}
		out.Next = append(out.Next, next)
	}
	return out, nil
}

func explained(x *order.Explained, e *domain.Event) *comandav1.ExplainedFact {
	return &comandav1.ExplainedFact{
		EventId: string(x.Event), Revision: x.Revision, Source: string(e.Source), Kind: wire.Kind(x.Kind),
		EffectiveAt: timestamppb.New(x.At), TimeInferred: e.TimeInferred, RecordedAt: timestamppb.New(e.RecordedAt),
		Verdict: wire.Verdict(e.Verdict), Why: e.Why, RecordedFrom: wire.Status(e.From), RecordedTo: wire.Status(e.To),
		Part: x.Part, PartWhy: x.Why, StatusBefore: wire.Status(x.Before), StatusAfter: wire.Status(x.After), Gap: x.Gap,
		ActsAs: wire.Kind(x.Acted), CompletesRefund: x.Completes, Text: sentence(x, e),
	}
}

// sentence says what a fact did and does.
func sentence(x *order.Explained, e *domain.Event) string {
	when := "of " + x.At.UTC().Format(time.RFC3339)
	if e.TimeInferred {
		when = "without a usable date, placed at its receipt " + x.At.UTC().Format(time.RFC3339)
	}
	text := fmt.Sprintf("%s %s: recorded as %s, %s; now it %s", x.Kind, when, e.Verdict, recordedWords(e), partWords(x))
	if x.Acted != x.Kind {
		text += fmt.Sprintf(", acting as %s because the refund is not full", x.Acted)
	}
	if x.Gap {
		text += "; a fact before it was never seen"
	}
	if x.Completes {
		text += "; with it all that was paid has gone back, which ends the order in refunded"
	}
	return text + "."
}

func recordedWords(e *domain.Event) string {
	switch {
	case e.Verdict == domain.VerdictApplied && e.Correction:
		return fmt.Sprintf("it changed the past and moved the order from %s to %s", e.From, e.To)
	case e.Verdict == domain.VerdictApplied:
		return fmt.Sprintf("it moved the order from %s to %s", e.From, e.To)
	default:
		return fmt.Sprintf("the order stayed %s because %s", e.To, whyWords(e.Why))
	}
}

func partWords(x *order.Explained) string {
	switch x.Part {
	case order.PartMoved:
		return fmt.Sprintf("moves the order from %s to %s", x.Before, x.After)
	case order.PartForced:
		if x.Before == x.After {
			return fmt.Sprintf("is accepted by an operator, and the order stays %s", x.After)
		}
		return fmt.Sprintf("moves the order from %s to %s because an operator accepted it", x.Before, x.After)
	case order.PartConflict:
		return fmt.Sprintf("is refused because %s; an operator may accept or reject it", whyWords(x.Why))
	case order.PartHeldBack:
		return fmt.Sprintf("is held back because %s; an operator may accept or reject it", whyWords(x.Why))
	case order.PartRejected:
		return "does not count because an operator rejected it"
	case order.PartSuperseded:
		return "does not count because the real fact that it was concluded from is known"
	default:
		return "moves nothing because " + whyWords(x.Why)
	}
}

// whyWords says a word of the machine's closed set in a clause.
func whyWords(why string) string {
	switch why {
	case order.WhyLaterKnown:
		return "a fact of a later date was known"
	case order.WhyContradicts:
		return "the order's status at that time contradicts it"
	case order.WhyVoided:
		return "the order had been voided for a reason"
	case order.WhyNoEdge:
		return "there is nothing that it could move there"
	case order.WhySecondAttempt:
		return "it is of another payment than those approved"
	case order.WhyPaymentKnown:
		return "the payment that it implies was seen"
	case order.WhyDisputeOpen:
		return "another payment's dispute is open"
	case order.WhyHeldBack:
		return "it has no date and the order was paid"
	case order.WhyConfirms:
		return "it confirms what was concluded before"
	case order.WhyOvertaken:
		return "others of that moment, or the money, took the order back"
	case order.WhyNotStatus:
		return "facts of its kind never move the status"
	case order.WhyResolution:
		return "it is a word on another event"
	default:
		return why
	}
}
