package onprofit

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/domain"
)

// SampleOptions say what a synthetic webhook is about.
type SampleOptions = sample.Options

// SampleStatuses are the statuses of the document and of the wire in lower case,
// and cart_abandonment, sorted.
func SampleStatuses() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for status := range statuses {
			if !yield(status) {
				return
			}
		}
		yield(objectCart)
	})
}

// Sample is a synthetic webhook. An order's id is a number here: that of the
// options, with or without "order/", or one made from it. OnProfit has no
// actions: action is "". AUTHORIZED comes without a confirmation date, so it is pending.
func Sample(o SampleOptions) (body []byte, action string, err error) {
	o.OrderID = strings.TrimPrefix(strings.TrimPrefix(o.OrderID, objectOrder+"/"), objectCart+"/")
	p := sample.New(o)
	id, err := strconv.ParseInt(o.OrderID, 10, 64)
	if err != nil || id < 0 {
		id = p.Number
	}
	status := strings.ToLower(o.Status)
	if status == objectCart {
		body, err = cartBody(p, id).JSON()
		return body, "", err
	}
	m, ok := statuses[status]
	if !ok {
		return nil, "", sample.UnknownStatus(provider.OnProfit, o.Status, SampleStatuses())
	}
	if m.kind == domain.KindApproved {
		p.ApprovedAt = p.StatusAt
	}
	if (m.kind == domain.KindStarted || m.kind == domain.KindPending) && o.CreatedAt.IsZero() {
		p.CreatedAt = p.StatusAt
	}
	order := orderBody(p, id)
	order["status"] = strings.ToUpper(status)
	order["confirmation_purchase_date"] = nil
	switch m.kind { //nolint:exhaustive // the others were never confirmed
	case domain.KindApproved, domain.KindRefunded, domain.KindChargeback:
		order["confirmation_purchase_date"] = local(p.ApprovedAt)
	case domain.KindRefused:
		order["refuse_reason"] = "insufficient funds"
	}
	body, err = order.JSON()
	return body, "", err
}

// local is a time as OnProfit writes it: of Brasília, without saying so.
func local(at time.Time) string { return at.In(brazil.Brasilia()).Format(time.DateTime) }

// orderBody is the object "order" but for its status.
func orderBody(p sample.Purchase, id int64) sample.Object {
	buyer, address := p.Buyer, p.Buyer.Address
	return sample.Object{
		"object": objectOrder, "id": id, "item_type": "product", "user_id": 789, "customer_id": 4567,
		"product_id": 23, "offer_id": 17, "offer_hash": "abc123", "offer_name": "Oferta A",
		"offer_price": p.Total, "price": p.Total, "currency": "BRL",
		"comission":    strconv.FormatInt(p.Total/200, 10), //nolint:misspell // the platform spells it so
		"payment_type": "pix", "purchase_date": local(p.CreatedAt),
		"utm_source": "facebook", "utm_medium": nil, "utm_campaign": p.Campaign, "utm_content": nil, "utm_term": nil,
		"fbc": nil, "fbp": nil, "src": p.Reference, "sck": nil, "subscription": nil,
		"customer": sample.Object{
			"name": buyer.First, "lastname": buyer.Last, "document": buyer.CPF, "email": buyer.Email,
			"phone": buyer.MaskedPhone(), "cell": buyer.Phone,
		},
		"customer_address": sample.Object{
			"street": address.Street, "number": address.Number, "complement": nil, "neighborhood": address.District,
			"city": address.City, "state": address.State, "zip_code": address.MaskedCEP(), "country": "BR",
		},
		"product": sample.Object{"id": 23, "name": p.Items[0].Title, "hash": "h23"},
		"transactions": []any{sample.Object{
			"id": 1, "amount": p.Total, "gateway": "x", "installments": 1, "payment_method": "pix", "gateway_transaction_id": "t1",
		}},
		"refuse_reason": nil, "status_reason": nil, "response_code": nil, "response_message": nil,
		// PHP writes an empty object as an empty list.
		"custom_fields": []any{},
	}
}

// cartBody is the object "cart_abandonment".
func cartBody(p sample.Purchase, id int64) sample.Object {
	return sample.Object{
		"object": objectCart, "id": id, "user_id": 789, "product_id": 23, "offer_id": 17, "checkout_id": 55,
		"url": "https://checkout.example.com/x?utm_source=google", "session": "s1",
		"created_at": local(p.CreatedAt), "updated_at": local(p.StatusAt),
		"customer": sample.Object{
			"name": p.Buyer.First, "last_name": p.Buyer.Last, "email": p.Buyer.Email,
			"phone": strings.TrimPrefix(p.Buyer.Phone, "+55"), "document": nil,
		},
		"utm":             sample.Object{"source": "google"},
		"product_details": sample.Object{"id": 23, "name": p.Items[0].Title, "hash": "h23"},
		"offer_details":   sample.Object{"id": 17, "name": "Oferta A", "price": p.Total},
		"orderbumps":      []any{},
	}
}
