package voxuy

import (
	"slices"
	"strconv"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/sample"
)

// SampleOptions say what a synthetic webhook is about.
type SampleOptions = sample.Options

// sampleStatuses are words for the document's numbers. "shipped" is an approved
// order with news from the carrier.
var sampleStatuses = map[string]int64{
	"pending": 0, "approved": 1, "cancelled": 2, "chargeback": 3, "refunded": 4, "in_analysis": 5, "refund_requested": 6,
	"processing": 7, "partially_paid": 8, "blocked": 9, "rejected": 10, "duplicate": 11, "abandoned": 80, "custom": 99,
	sampleShipped: 1,
}

const (
	sampleShipped = "shipped"
	sampleCustom  = "custom"
)

// SampleStatuses are words for the statuses of document 002, sorted; [Sample]
// takes the numbers too.
func SampleStatuses() []string {
	return slices.Sorted(func(yield func(string) bool) {
		for word := range sampleStatuses {
			if !yield(word) {
				return
			}
		}
	})
}

// Sample is a synthetic message. Voxuy has no actions: action is "".
func Sample(o SampleOptions) (body []byte, action string, err error) {
	number, ok := sampleStatuses[o.Status]
	if !ok {
		number, err = strconv.ParseInt(o.Status, 10, 64)
		if _, documented := statuses[number]; err != nil || !documented {
			return nil, "", sample.UnknownStatus(provider.Voxuy, o.Status, SampleStatuses())
		}
	}
	p := sample.New(o)
	if statuses[number].dated && o.CreatedAt.IsZero() {
		p.CreatedAt = p.StatusAt
	}
	buyer, address := p.Buyer, p.Buyer.Address
	message := sample.Object{
		"apiToken": "00000000-0000-0000-0000-000000000000", "id": p.OrderID, "planId": "e9b3a0a5-7ad9-4ea9-b7dd-93cfeb",
		"value": p.Total - p.Freight, "freight": p.Freight, "freightType": "PAC", "totalValue": p.Total, "metadata": nil,
		"paymentType": 7, "status": number, "customEvent": nil, "paymentLine": nil, "date": sample.ISO(p.CreatedAt, true),
		"clientName": buyer.Name(), "clientEmail": buyer.Email, "clientPhoneNumber": buyer.Phone, "clientDocument": buyer.CPF,
		"clientAddress": address.Street, "clientAddressNumber": address.Number, "clientAddressComp": nil,
		"clientAddressDistrict": address.District, "clientAddressCity": address.City, "clientAddressState": address.State,
		"clientAddressCountry": "BR", "clientZipCode": address.CEP,
		"checkoutUrl": "https://checkout.example.com/" + p.OrderID, "boletoUrl": nil,
		"pixQrCode": "00020126AMOSTRA" + p.OrderID, "pixUrl": nil,
	}
	switch {
	case number == sampleStatuses[sampleCustom]:
		message["paymentType"], message["customEvent"] = 99, 63
	case o.Status == sampleShipped:
		message["currentShippingEvent"] = 2
		message["shipping"] = sample.Object{
			"trackingCode": "BR" + p.OrderID, "trackingUrl": "https://rastreio.example.com/" + p.OrderID, "branchName": "Agência Central",
			"city": address.City, "state": address.State, "country": "BR", "date": sample.ISO(p.StatusAt, true),
		}
	}
	body, err = message.JSON()
	return body, "", err
}
