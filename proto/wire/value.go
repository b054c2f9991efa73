package wire

import (
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Amount is a on the wire: nil is unknown.
func Amount(a domain.Amount) *int64 {
	if !a.Known {
		return nil
	}
	return &a.Minor
}

// FromAmount is the amount of p.
func FromAmount(p *int64) domain.Amount {
	if p == nil {
		return domain.Amount{}
	}
	return domain.Minor(*p)
}

// FromNewFact is the fact of n, without order, key and the date's text; false for one
// without a kind.
func FromNewFact(n *comandav1.NewFact) (domain.Fact, bool) {
	kind, ok := FromKind(n.GetKind())
	f := domain.Fact{
		Kind: kind, OccurredAt: FromTime(n.GetOccurredAt()), Reference: n.GetReference(), Reason: domain.Reason(n.GetReason()),
		Detail: n.GetDetail(), Amounts: fromAmounts(n.GetAmounts()), Payment: fromPayment(n.GetPayment()),
		Items: fromItems(n.GetItems()), UTM: domain.UTMOf(n.GetUtm()), Shipping: fromShipping(n.GetShipping()),
	}
	if r := n.GetResolution(); r != nil {
		f.Resolution = &domain.Resolution{Event: domain.EventID(r.GetEventId()), Action: domain.ResolutionAction(r.GetAction())}
	}
	return f, ok
}

func fromAmounts(p *comandav1.Amounts) domain.Amounts {
	if p == nil {
		return domain.Amounts{}
	}
	return domain.Amounts{
		Currency: p.GetCurrency(), Total: FromAmount(p.Total), Paid: FromAmount(p.Paid), Refunded: FromAmount(p.Refunded),
		Refund: FromAmount(p.Refund), Freight: FromAmount(p.Freight), Discount: FromAmount(p.Discount),
	}
}

func fromPayment(p *comandav1.Payment) domain.Payment {
	return domain.Payment{
		Method: p.GetMethod(), Phase: p.GetPhase(), PaymentID: p.GetPaymentId(), RefundID: p.GetRefundId(),
		Installments: p.GetInstallments(),
	}
}

// Items are an order's lines; nil when there are none.
func Items(items []domain.Item) []*comandav1.Item {
	if len(items) == 0 {
		return nil
	}
	out := make([]*comandav1.Item, len(items))
	for i := range items {
		it := &items[i]
		out[i] = &comandav1.Item{Code: it.Code, Title: it.Title, UnitPrice: Amount(it.UnitPrice), Quantity: it.Quantity}
	}
	return out
}

func fromItems(items []*comandav1.Item) []domain.Item {
	if len(items) == 0 {
		return nil
	}
	out := make([]domain.Item, len(items))
	for i, it := range items {
		out[i] = domain.Item{
			Code: it.GetCode(), Title: it.GetTitle(), UnitPrice: FromAmount(it.UnitPrice), Quantity: it.GetQuantity(),
		}
	}
	return out
}

// Shipping is the carrier's news; nil for nil.
func Shipping(s *domain.Shipping) *comandav1.Shipping {
	if s == nil {
		return nil
	}
	return &comandav1.Shipping{
		Event: s.Event, TrackingCode: s.TrackingCode, TrackingUrl: s.TrackingURL, Branch: s.Branch,
		City: s.City, State: s.State, Country: s.Country, Date: Time(s.Date),
	}
}

func fromShipping(p *comandav1.Shipping) *domain.Shipping {
	if p == nil {
		return nil
	}
	return &domain.Shipping{
		Event: p.GetEvent(), TrackingCode: p.GetTrackingCode(), TrackingURL: p.GetTrackingUrl(), Branch: p.GetBranch(),
		City: p.GetCity(), State: p.GetState(), Country: p.GetCountry(), Date: FromTime(p.GetDate()),
	}
}

// FromPersonal is the opened part; nil for nil.
func FromPersonal(p *comandav1.Personal) *domain.Personal {
	if p == nil {
		return nil
	}
	out := &domain.Personal{
		Name: p.GetName(), Email: p.GetEmail(), Phone: p.GetPhone(), Document: p.GetDocument(),
		DocumentValid: p.GetDocumentValid(), PixCode: p.GetPixCode(), PixURL: p.GetPixUrl(),
		BoletoLine: p.GetBoletoLine(), BoletoURL: p.GetBoletoUrl(), CheckoutURL: p.GetCheckoutUrl(),
	}
	if a := p.GetAddress(); a != nil {
		out.Address = &domain.Address{
			Street: a.GetStreet(), Number: a.GetNumber(), Complement: a.GetComplement(), District: a.GetDistrict(),
			City: a.GetCity(), State: a.GetState(), PostalCode: a.GetPostalCode(), Country: a.GetCountry(),
		}
	}
	return out
}
