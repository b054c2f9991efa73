package bench

import (
	"bytes"
	"strconv"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/aprovei"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/domain"
)

// Source, Tenant and Account are those of every webhook here, as the demo's configuration has them.
const (
	Source  = domain.SourceID("loja-aprovei")
	Tenant  = domain.TenantID("loja")
	Account = "principal"
)

// placeholder stands for the order's id in a sample.
const placeholder = "BENCHORDERID"

// Webhook is a sample of Aprovei's, decoded once, of which one order after
// another can be made.
type Webhook struct {
	parts [][]byte // the body around the order's id
	fact  domain.Fact
}

// NewWebhook is a webhook of a status; seed chooses buyer, items and sums.
func NewWebhook(status string, seed uint64, at time.Time) (*Webhook, error) {
	body, _, err := aprovei.Sample(sample.Options{Status: status, OrderID: placeholder, Reference: "bench", Seed: seed, At: at})
	if err != nil {
		return nil, err
	}
	w := &Webhook{parts: bytes.Split(body, []byte(placeholder))}
	var codec aprovei.Codec
	facts, err := codec.Decode(message(body, at))
	if err != nil {
		return nil, err
	}
	w.fact = facts[len(facts)-1] // one before it is an approval that the order has already
	return w, nil
}

// AppendBody appends the body of an order to buf.
func (w *Webhook) AppendBody(buf, order []byte) []byte {
	for i, part := range w.parts {
		if i > 0 {
			buf = append(buf, order...)
		}
		buf = append(buf, part...)
	}
	return buf
}

// Of is the message of an order as the intake hands it on, and the fact in it,
// both of the moment at; reference is the merchant's code.
func (w *Webhook) Of(order []byte, reference string, at time.Time) (domain.Message, domain.Fact) {
	fact := w.fact
	fact.ProviderOrderID, fact.Reference, fact.OccurredAt = string(order), reference, at
	return message(w.AppendBody(nil, order), at), fact
}

func message(body []byte, at time.Time) domain.Message {
	return domain.Message{
		Source: Source, Tenant: Tenant, Account: Account, Provider: provider.Aprovei,
		ContentType: "application/json", Body: body, ReceivedAt: at,
	}
}

// AppendOrder appends an order's id, made of numbers, to buf.
func AppendOrder(buf []byte, numbers ...int64) []byte {
	buf = append(buf, 'B')
	for _, number := range numbers {
		buf = strconv.AppendInt(buf, number, 36)
		buf = append(buf, '-')
	}
	return buf
}
