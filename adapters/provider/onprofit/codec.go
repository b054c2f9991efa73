package onprofit

import (
	"strings"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/domain"
)

// The objects that a webhook may be about.
const (
	objectOrder = "order"
	objectCart  = "cart_abandonment"
)

const phaseAuthorized = "authorized"

// Codec reads OnProfit's messages.
type Codec struct{ config Config }

var _ provider.Codec = (*Codec)(nil)

// New is the codec for these settings. The error is that of [Config.Validate].
func New(c Config) (*Codec, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Codec{config: c}, nil
}

// meaning is what a status says.
type meaning struct {
	kind  domain.Kind
	phase string
}

// statuses are those of document 000 and of the wire, in lower case.
var statuses = map[string]meaning{
	"started":    {kind: domain.KindStarted},
	"waiting":    {kind: domain.KindPending, phase: "awaiting"},
	"authorized": {kind: domain.KindPending, phase: phaseAuthorized},
	"approved":   {kind: domain.KindApproved},
	"paid":       {kind: domain.KindApproved},
	"refused":    {kind: domain.KindRefused},
	"cancelled":  {kind: domain.KindCancelled},
	"refunded":   {kind: domain.KindRefunded},
	"chargeback": {kind: domain.KindChargeback},
}

// Decode reads one webhook: one fact, or an inferred approval and one fact.
func (c *Codec) Decode(m domain.Message) ([]domain.Fact, error) {
	root, err := fields.Parse(m.Body)
	if err != nil {
		return nil, err
	}
	object := objectOrder // the document does not name the field
	if root.Has("object") {
		object = root.ID("object")
	}
	var facts []domain.Fact
	switch object {
	case objectCart:
		facts = c.cart(root)
	case objectOrder, "":
		facts = c.order(root)
	default:
		root.ID("id")
		root.Fail("object", "must be order or cart_abandonment")
	}
	if err := root.Err(); err != nil {
		return nil, err
	}
	for i := range facts {
		facts[i].Provider, facts[i].Account = provider.OnProfit, m.Account
	}
	facts[len(facts)-1].Warnings = root.Warnings()
	return facts, nil
}

// line is a webhook about one line of a purchase.
type line struct {
	id        string
	fact      domain.Fact // what every fact of the message has
	purchased fields.Date
	confirmed fields.Date
}

// order reads the object "order".
func (c *Codec) order(root fields.Object) []domain.Fact {
	own := status(root)
	l := line{
		id:        root.ID("id"),
		purchased: root.Date("purchase_date", brazil.Brasilia()),
		confirmed: root.Date("confirmation_purchase_date", brazil.Brasilia()),
	}
	confirmed := !l.confirmed.At.IsZero()
	if own.phase == phaseAuthorized && confirmed && !c.config.AuthorizedIsPending {
		own = statuses["approved"]
	}
	price := root.Minor("price")
	l.fact = domain.Fact{
		ProviderOrderID: objectOrder + "/" + l.id,
		Reference:       c.reference(root),
		Detail:          detail(root, own.kind),
		Amounts:         domain.Amounts{Currency: currency(root), Total: price},
		Payment:         domain.Payment{Method: root.Method("payment_type"), Installments: installments(root)},
		Items:           items(root.Object("product"), root.Minor("offer_price")),
		UTM:             utm(root, "utm_", "src", "sck"),
		Personal:        personal(root),
	}
	facts := make([]domain.Fact, 0, 2)
	if confirmed && (own.kind == domain.KindRefunded || own.kind == domain.KindChargeback) {
		approval := l.of(statuses["approved"], provider.InferredKeyPart)
		approval.Inferred = true
		facts = append(facts, approval)
	}
	return append(facts, l.of(own))
}

// of is the fact of l that means m.
func (l *line) of(m meaning, keyParts ...string) domain.Fact {
	fact := l.fact
	fact.Kind = m.kind
	fact.Payment.Phase = m.phase
	var dated fields.Date
	switch m.kind { //nolint:exhaustive // the other statuses carry no date of their own
	case domain.KindStarted, domain.KindPending:
		dated = l.purchased
	case domain.KindApproved:
		dated = l.confirmed
		fact.Amounts.Paid = fact.Amounts.Total
	}
	fact.OccurredAt, fact.OccurredText = dated.At, dated.Text
	fact.Key = provider.Key(append([]string{
		objectOrder, l.id, m.kind.String(), m.phase, provider.KeyTime(l.confirmed.At),
	}, keyParts...)...)
	return fact
}

// status is the meaning of status or order_status. Both may stand there only
// when they mean one thing.
func status(root fields.Object) meaning {
	names := []string{"status"}
	if root.Has("order_status") {
		names = []string{"order_status"}
		if root.Has("status") {
			names = []string{"status", "order_status"}
		}
	}
	var found meaning
	for i, name := range names {
		word := root.Status(name)
		m, ok := statuses[strings.ToLower(word)]
		switch {
		case word == "":
		case !ok:
			root.FailStatus(name)
		case i > 0 && found.kind != domain.KindUnknown && found != m:
			root.Fail(name, "contradicts status")
		default:
			found = m
		}
	}
	return found
}

// cart reads the object "cart_abandonment".
func (c *Codec) cart(root fields.Object) []domain.Fact {
	id := root.ID("id")
	created := root.Date("created_at", brazil.Brasilia())
	price := root.Object("offer_details").Minor("price")
	p := personal(root)
	if url := root.Long("url"); url != "" {
		if p == nil {
			p = &domain.Personal{}
		}
		p.CheckoutURL = url
	}
	return []domain.Fact{{
		Kind:            domain.KindAbandoned,
		ProviderOrderID: objectCart + "/" + id,
		Key:             provider.Key(objectCart, id, domain.KindAbandoned.String(), "", ""),
		OccurredAt:      created.At,
		OccurredText:    created.Text,
		Reference:       c.reference(root),
		Amounts:         domain.Amounts{Currency: currency(root), Total: price},
		Items:           items(root.Object("product_details"), price),
		UTM:             utm(root.Object("utm"), ""),
		Personal:        p,
	}}
}

// currency is that of the message; without one the sums, which are in centavos,
// are of Brazil.
func currency(root fields.Object) string {
	if !root.Has("currency") {
		return "BRL"
	}
	return root.Currency("currency")
}

// reference is the merchant's code in the configured field; "" when there is none.
func (c *Codec) reference(root fields.Object) string {
	if name, custom := strings.CutPrefix(c.config.Reference, referenceCustom); custom {
		return root.Object("custom_fields").Reference(name)
	}
	if c.config.Reference == referenceSrc {
		return root.Reference(referenceSrc)
	}
	return ""
}

// detail is why the platform refused or cancelled, in its own words.
func detail(root fields.Object, kind domain.Kind) string {
	if kind != domain.KindRefused && kind != domain.KindCancelled {
		return ""
	}
	for _, name := range [...]string{"refuse_reason", "status_reason", "response_code"} {
		if text := root.Detail(name); text != "" {
			return text
		}
	}
	return ""
}

// installments is of the one transaction; of several, nothing says which counts.
func installments(root fields.Object) int32 {
	count, transactions := int32(0), 0
	for transaction := range root.List("transactions") {
		transactions++
		if n, ok := transaction.Integer("installments"); ok && n <= maxInstallments {
			count = int32(n) //nolint:gosec // at most maxInstallments
		}
	}
	if transactions != 1 {
		return 0
	}
	return count
}

// maxInstallments is more than any card offers.
const maxInstallments = 1000

// items is the one product of a line.
func items(product fields.Object, price domain.Amount) []domain.Item {
	if !product.Exists() {
		return nil
	}
	return []domain.Item{{
		Code: product.Text("id"), Title: product.Text("name"), UnitPrice: price, Quantity: 1,
	}}
}

// utm is the campaign parameters of object, whose names there start with prefix, and others.
func utm(object fields.Object, prefix string, others ...string) domain.UTM {
	out := make(map[string]string, 5)
	for _, name := range [...]string{"source", "medium", "campaign", "content", "term"} {
		if text := object.Text(prefix + name); text != "" {
			out["utm_"+name] = text
		}
	}
	for _, name := range others {
		if text := object.Text(name); text != "" {
			out[name] = text
		}
	}
	return domain.UTMOf(out)
}

// personal is the customer: lastname in orders, last_name in carts; cell is
// E.164 where phone is masked.
func personal(root fields.Object) *domain.Personal {
	customer, address := root.Object("customer"), root.Object("customer_address")
	last := customer.Text("lastname")
	if last == "" {
		last = customer.Text("last_name")
	}
	phone := "phone"
	if customer.Has("cell") {
		phone = "cell"
	}
	document, valid := customer.Document("document")
	return fields.PersonalOrNil(domain.Personal{
		Name:  strings.TrimSpace(customer.Text("name") + " " + last),
		Email: customer.Email("email"), Phone: customer.Phone(phone),
		Document: document, DocumentValid: valid,
		Address: fields.AddressOrNil(domain.Address{
			Street: address.Text("street"), Number: address.Text("number"), Complement: address.Text("complement"),
			District: address.Text("neighborhood"), City: address.Text("city"), State: address.Text("state"),
			PostalCode: address.PostalCode("zip_code"), Country: address.Country("country"),
		}),
	})
}
