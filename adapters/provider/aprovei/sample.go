package aprovei

import (
	"maps"
	"slices"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/domain"
)

// SampleOptions say what a synthetic webhook is about.
type SampleOptions = sample.Options

// SampleStatuses are the statuses of documents 001 and 003, sorted.
func SampleStatuses() []string { return slices.Sorted(maps.Keys(statuses)) }

// SampleVegaStatuses are the statuses of the older postback, sorted.
func SampleVegaStatuses() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for _, m := range []map[string]meaning{statuses, vegaStatuses} {
			for status := range m {
				if !yield(status) {
					return
				}
			}
		}
	})
}

// Sample is a synthetic webhook in the form of documents 001 and 003. The order's
// id is the token. Aprovei has no actions: action is "".
func Sample(o SampleOptions) (body []byte, action string, err error) {
	m, ok := statuses[o.Status]
	if !ok {
		return nil, "", sample.UnknownStatus(provider.Aprovei, o.Status, SampleStatuses())
	}
	p := purchase(o, m)
	products := make([]any, len(p.Items))
	for i, item := range p.Items {
		products[i] = sample.Object{
			"title": item.Title, "code": item.Code, "amount": item.UnitPrice, "quantity": item.Quantity, "original_amount": item.UnitPrice,
		}
	}
	body, err = sample.Object{
		"transaction_token": p.OrderID, "external_code": p.Reference,
		"transaction_amount": p.Total, "freight_amount": p.Freight, "automatic_discount": p.Discount,
		"products": products,
		"customer": sample.Object{
			"full_name": p.Buyer.Name(), "email": p.Buyer.Email, "cellphone": p.Buyer.Phone, "identification_number": p.Buyer.CPF,
		},
		"customer_address": sample.Object{
			"zip_code": p.Buyer.Address.MaskedCEP(), "street": p.Buyer.Address.Street, "number": p.Buyer.Address.Number,
			"neighborhood": p.Buyer.Address.District, "city": p.Buyer.Address.City, "state": p.Buyer.Address.State,
			"complement": "", "country": "BR",
		},
		"utms": sample.Object{
			"src": "checkout_web", "utm_medium": "cpc", "utm_source": "google", "utm_campaign": p.Campaign,
			"utm_content": "banner_home", "utm_term": "amostra",
		},
		"payment_status": o.Status, "payment_type": "pix",
		"date_created":  sample.ISO(p.CreatedAt, true),
		"date_approved": sample.ISO(p.ApprovedAt, m.dated == approved || m.dated == refunded),
		"date_refunded": sample.ISO(p.StatusAt, m.dated == refunded),
	}.JSON()
	return body, "", err
}

// SampleVega is a synthetic postback in the older form.
func SampleVega(o SampleOptions) (body []byte, action string, err error) {
	m, ok := vegaStatuses[o.Status]
	if !ok {
		m, ok = statuses[o.Status]
	}
	if !ok {
		return nil, "", sample.UnknownStatus("vega", o.Status, SampleVegaStatuses())
	}
	p := purchase(o, m)
	body, err = sample.Object{
		"transaction_token": p.OrderID, "status": o.Status, "method": "pix", "total_price": p.Total,
		"customer": sample.Object{
			"name": p.Buyer.Name(), "document": p.Buyer.CPF, "email": p.Buyer.Email, "phone": p.Buyer.Phone,
		},
		"address": sample.Object{
			"street": p.Buyer.Address.Street, "number": p.Buyer.Address.Number, "district": p.Buyer.Address.District,
			"city": p.Buyer.Address.City, "state": p.Buyer.Address.State, "zip_code": p.Buyer.Address.CEP,
		},
		"plans": []any{}, "pix_code": "00020126AMOSTRA" + p.OrderID,
		"approved_at": sample.ISO(p.ApprovedAt, m.dated == approved || m.dated == refunded),
		"refunded_at": sample.ISO(p.StatusAt, m.dated == refunded),
	}.JSON()
	return body, "", err
}

// purchase is the order at the moment of m, whose own date is that of the options.
func purchase(o SampleOptions, m meaning) sample.Purchase {
	p := sample.New(o)
	if m.kind == domain.KindApproved {
		p.ApprovedAt = p.StatusAt
	}
	if m.dated == created && o.CreatedAt.IsZero() {
		p.CreatedAt = p.StatusAt
	}
	return p
}
