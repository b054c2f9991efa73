package comanda

import (
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/domain"
)

// SampleOptions say what a synthetic event is about.
type SampleOptions = sample.Options

// SampleStatuses are the kinds of fact that the format carries, in order of rank.
func SampleStatuses() []string {
	var kinds []string
	for kind := domain.KindUnknown + 1; kind < domain.KindCount; kind++ {
		if kind != domain.KindResolved {
			kinds = append(kinds, kind.String())
		}
	}
	return kinds
}

// Sample is a synthetic event, at the options' At. Its id is made from order,
// kind and time. The format has no actions: action is "".
func Sample(o SampleOptions) (body []byte, action string, err error) {
	kind, ok := domain.ParseKind(o.Status)
	if !ok || kind == domain.KindUnknown || kind == domain.KindResolved {
		return nil, "", sample.UnknownStatus(provider.Comanda, o.Status, SampleStatuses())
	}
	p := sample.New(o)
	at := sample.ISO(p.StatusAt, true)
	body, err = sample.Object{
		"specversion": specVersion, "id": p.OrderID + "-" + kind.String() + "-" + p.StatusAt.Format("20060102T150405Z"),
		"source": "checkout", "type": Type(kind), "subject": p.OrderID, "time": at,
		"data": data(p, kind),
	}.JSON()
	return body, "", err
}

// data is what the event says beside its envelope.
func data(p sample.Purchase, kind domain.Kind) sample.Object {
	items := make([]any, len(p.Items))
	for i, item := range p.Items {
		items[i] = sample.Object{"code": item.Code, "title": item.Title, "unit_price": item.UnitPrice, "quantity": item.Quantity}
	}
	out := sample.Object{
		"reference": p.Reference, "total": p.Total, "freight": p.Freight, "discount": p.Discount, "currency": "BRL", "method": "pix",
		"customer": sample.Object{
			"name": p.Buyer.Name(), "email": p.Buyer.Email, "phone": p.Buyer.Phone, "document": p.Buyer.CPF,
		},
		"items": items, "utm": sample.Object{"utm_source": "google", "utm_campaign": p.Campaign},
	}
	payment := "p-" + p.OrderID
	switch kind { //nolint:exhaustive // the others say nothing more
	case domain.KindPending:
		out["phase"] = "awaiting"
	case domain.KindApproved:
		out["payment_id"], out["paid"] = payment, p.Total
	case domain.KindPartiallyRefunded:
		out["payment_id"], out["refund_id"] = payment, "r1-"+p.OrderID
		out["refund_amount"], out["refunded"] = p.Total/2, p.Total/2
	case domain.KindRefunded:
		out["payment_id"], out["refunded"] = payment, p.Total
	case domain.KindRefundRequested, domain.KindChargeback, domain.KindChargebackReversed:
		out["payment_id"] = payment
	case domain.KindFlagged:
		out["reason"], out["detail"] = "blocked", "blocked"
	case domain.KindShipping:
		out["shipping"] = sample.Object{
			"event": "in_transit", "tracking_code": "BR" + p.OrderID, "city": p.Buyer.Address.City,
			"state": p.Buyer.Address.State, "country": "BR", "date": sample.ISO(p.StatusAt, true),
		}
	}
	return out
}
