package wire_test

import (
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// The messages that hold what is encoded, by which the library says what its bytes are.

// envelope is what the log stores of e.
func envelope(e *domain.Event) *comandav1.Envelope {
	return &comandav1.Envelope{
		Event:          event(e),
		PrevHash:       e.PrevHash[:],
		KeyId:          e.KeyID,
		SealedPersonal: e.SealedPersonal,
		SealedRaw:      e.SealedRaw,
	}
}

// event is e without its sealed parts, as Comanda tells others.
func event(e *domain.Event) *comandav1.Event {
	return &comandav1.Event{
		EventId:         string(e.ID),
		OrderId:         string(e.OrderID),
		Tenant:          string(e.Tenant),
		Source:          string(e.Source),
		Provider:        e.Fact.Provider,
		Account:         e.Fact.Account,
		ProviderOrderId: e.Fact.ProviderOrderID,
		Reference:       e.Fact.Reference,
		Revision:        e.Revision,
		Kind:            wire.Kind(e.Fact.Kind),
		Verdict:         wire.Verdict(e.Verdict),
		Why:             e.Why,
		StatusFrom:      wire.Status(e.From),
		StatusTo:        wire.Status(e.To),
		Correction:      e.Correction,
		Path:            wire.Steps(e.Path),
		Gap:             e.Gap,
		MoneyChanged:    e.MoneyChanged,
		Opens:           wire.EventIDs(e.Opens),
		Closes:          wire.EventIDs(e.Closes),
		EffectiveAt:     wire.Time(e.EffectiveAt),
		TimeInferred:    e.TimeInferred,
		OccurredText:    e.Fact.OccurredText,
		ReceivedAt:      wire.Time(e.ReceivedAt),
		RecordedAt:      wire.Time(e.RecordedAt),
		FactInferred:    e.Fact.Inferred,
		Key:             e.Fact.Key,
		Digest:          e.Digest[:],
		Reason:          string(e.Fact.Reason),
		Detail:          e.Fact.Detail,
		Amounts:         amounts(&e.Fact.Amounts),
		Payment:         payment(&e.Fact.Payment),
		Items:           wire.Items(e.Fact.Items),
		Utm:             e.Fact.UTM.Map(),
		Shipping:        wire.Shipping(e.Fact.Shipping),
		CustomEvent:     e.Fact.CustomEvent,
		Resolution:      resolution(e.Fact.Resolution),
		Warnings:        e.Fact.Warnings,
		MachineVersion:  e.MachineVersion,
		Cause:           cause(&e.Cause),
	}
}

// personal is the part to be sealed; nil for nil.
func personal(p *domain.Personal) *comandav1.Personal {
	if p == nil {
		return nil
	}
	out := &comandav1.Personal{
		Name: p.Name, Email: p.Email, Phone: p.Phone, Document: p.Document, DocumentValid: p.DocumentValid,
		PixCode: p.PixCode, PixUrl: p.PixURL, BoletoLine: p.BoletoLine, BoletoUrl: p.BoletoURL, CheckoutUrl: p.CheckoutURL,
	}
	if a := p.Address; a != nil {
		out.Address = &comandav1.Address{
			Street: a.Street, Number: a.Number, Complement: a.Complement, District: a.District, City: a.City,
			State: a.State, PostalCode: a.PostalCode, Country: a.Country,
		}
	}
	return out
}

func amounts(a *domain.Amounts) *comandav1.Amounts {
	if *a == (domain.Amounts{}) {
		return nil
	}
	return &comandav1.Amounts{
		Currency: a.Currency, Total: wire.Amount(a.Total), Paid: wire.Amount(a.Paid), Refunded: wire.Amount(a.Refunded),
		Refund: wire.Amount(a.Refund), Freight: wire.Amount(a.Freight), Discount: wire.Amount(a.Discount),
	}
}

func payment(p *domain.Payment) *comandav1.Payment {
	if *p == (domain.Payment{}) {
		return nil
	}
	return &comandav1.Payment{
		Method: p.Method, Phase: p.Phase, PaymentId: p.PaymentID, RefundId: p.RefundID, Installments: p.Installments,
	}
}

func cause(c *domain.Cause) *comandav1.Cause {
	if *c == (domain.Cause{}) {
		return nil
	}
	return &comandav1.Cause{RequestId: c.RequestID, Traceparent: c.Traceparent, Tracestate: c.Tracestate, Actor: c.Actor, Reason: c.Reason}
}

func resolution(r *domain.Resolution) *comandav1.Resolution {
	if r == nil {
		return nil
	}
	return &comandav1.Resolution{EventId: string(r.Event), Action: string(r.Action)}
}
