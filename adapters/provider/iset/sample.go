package iset

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/sample"
)

// SampleOptions say what a synthetic webhook is about.
type SampleOptions = sample.Options

// SampleConfig is a configuration that reads the bodies of [Sample]. Their form
// is ours: what a shop sends is not documented.
func SampleConfig() Config {
	return Config{
		Fields: FieldMap{
			OrderID: "/id", Reference: "/reference", Status: "/status", StatusAt: "/status_at", CreatedAt: "/created_at",
			RemovedAt: "/removed_at", Total: "/total", Freight: "/freight", Discount: "/discount", Method: "/payment_method",
			Name: "/customer/name", Email: "/customer/email", Phone: "/customer/phone", Document: "/customer/document",
		},
		Statuses: map[string]string{
			"pending": "pending:awaiting", "analysis": "pending:in_analysis", "paid": "approved", "refused": "refused",
			"cancelled": "cancelled", "refunded": "refunded",
		},
		Money: moneyDecimal,
	}
}

// SampleStatuses are the actions of document 004, and for "changed" the statuses
// that [SampleConfig] maps, sorted.
func SampleStatuses() []string {
	all := slices.Collect(maps.Keys(SampleConfig().Statuses))
	all = append(all, actionStarted, actionRemoved)
	all = append(all, catalogueActions...)
	slices.Sort(all)
	return all
}

// Sample is a synthetic webhook and the action of its path. The status
// "changed" is a snapshot of a pending order.
func Sample(o SampleOptions) (body []byte, action string, err error) {
	p := sample.New(o)
	if catalogue(o.Status) {
		item := p.Items[0]
		body, err = sample.Object{
			"code": item.Code, "name": item.Title, "price": reais(item.UnitPrice), "stock": 10 + p.Number%90,
		}.JSON()
		return body, o.Status, err
	}
	status := o.Status
	if status == actionChanged {
		status = "pending"
	}
	order := orderBody(p)
	switch _, mapped := SampleConfig().Statuses[status]; {
	case mapped:
		action = actionChanged
		order["status"], order["status_at"] = status, local(p.StatusAt)
	case status == actionRemoved:
		action = actionRemoved
		order["removed_at"] = local(p.StatusAt)
	case status == actionStarted:
		action = actionStarted
	default:
		return nil, "", sample.UnknownStatus(provider.ISET, o.Status, SampleStatuses())
	}
	if o.CreatedAt.IsZero() && (status == actionStarted || status == "pending") {
		order["created_at"] = local(p.StatusAt)
	}
	body, err = order.JSON()
	return body, action, err
}

func orderBody(p sample.Purchase) sample.Object {
	return sample.Object{
		"id": p.OrderID, "reference": p.Reference, "created_at": local(p.CreatedAt),
		"total": reais(p.Total), "freight": reais(p.Freight), "discount": reais(p.Discount), "payment_method": "pix",
		"customer": sample.Object{
			"name": p.Buyer.Name(), "email": p.Buyer.Email, "phone": p.Buyer.MaskedPhone(), "document": p.Buyer.CPF,
		},
	}
}

func local(at time.Time) string { return at.In(brazil.Brasilia()).Format(time.DateTime) }

// reais is a sum in centavos as decimal text.
func reais(minor int64) string { return fmt.Sprintf("%d.%02d", minor/100, minor%100) }
