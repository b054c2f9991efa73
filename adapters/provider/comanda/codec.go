package comanda

import (
	"strings"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/adapters/provider/strictjson"
	"comanda.internal/domain"
)

// Config are the settings. There are none yet; the zero value works.
type Config struct{}

// Validate reports every mistake of c, joined; there is none to make.
func (Config) Validate() error { return nil }

// Codec reads Comanda's own format.
type Codec struct{}

var _ provider.Codec = (*Codec)(nil)

// New is the codec for these settings. The error is that of [Config.Validate].
func New(c Config) (*Codec, error) { return &Codec{}, c.Validate() }

// What the envelope must say.
const (
	specVersion = "1.0"
	typePrefix  = "comanda.fact."
	typeSuffix  = ".v1"
)

// Type is the CloudEvent type of a kind of fact, as "comanda.fact.approved.v1".
func Type(kind domain.Kind) string { return typePrefix + kind.String() + typeSuffix }

// Decode reads one event: one fact.
func (c *Codec) Decode(m domain.Message) ([]domain.Fact, error) {
	root, err := fields.Parse(m.Body)
	if err != nil {
		return nil, err
	}
	fact := domain.Fact{Provider: provider.Comanda, Account: m.Account, Kind: kind(root)}
	if version := root.ID("specversion"); version != "" && version != specVersion {
		root.Fail("specversion", `must be "1.0"`)
	}
	root.ID("source") // of the sender's own world; our source is the message's
	fact.Key = root.ID("id")
	fact.ProviderOrderID = root.ID("subject")
	date := root.Date("time", nil)
	fact.OccurredAt, fact.OccurredText = date.At, date.Text

	data := strict(root, "data")
	if data.Has("about") {
		readAbout(strict(data, "about"), &fact)
	}
	readData(data, &fact)
	if err := root.Err(); err != nil {
		return nil, err
	}
	if fact.Kind == domain.KindResolved {
		return nil, &provider.Error{
			Reason: provider.RefusedContent,
			Fields: map[string][]string{"type": {"a resolution is an operator's, through RecordFact"}},
		}
	}
	fact.Warnings = root.Warnings()
	return []domain.Fact{fact}, nil
}

// kind is the kind that the event's type names.
func kind(root fields.Object) domain.Kind {
	eventType := root.Status("type")
	word, versioned := strings.CutSuffix(eventType, typeSuffix)
	word, ours := strings.CutPrefix(word, typePrefix)
	kind, known := domain.ParseKind(word)
	if !versioned || !ours || !known || kind == domain.KindUnknown {
		if eventType != "" {
			root.FailStatus("type")
		}
		return domain.KindUnknown
	}
	return kind
}

// strict is the object in the field of this name, where anything else but null
// is an error: without it the fact would be about another order, or another sum.
func strict(parent fields.Object, name string) fields.Object {
	if v := parent.Value(name); !v.Missing() && v.Kind() != strictjson.Object {
		parent.Fail(name, "must be an object")
	}
	return parent.Object(name)
}

// readAbout makes fact one about another provider's order. Without an account it
// is that of the source: the name by which one merchant goes.
func readAbout(about fields.Object, fact *domain.Fact) {
	name := about.ID("provider")
	canonical, ok := provider.Canonical(name)
	if name != "" && !ok {
		about.Fail("provider", "must be one of "+strings.Join(provider.Names(), ", "))
	}
	fact.Provider = canonical
	if about.Has("account") {
		fact.Account = about.OptionalID("account")
	}
}

func readData(data fields.Object, fact *domain.Fact) {
	fact.Reference = data.Reference("reference")
	fact.Reason = domain.Reason(data.Word("reason"))
	fact.Detail = data.Detail("detail")
	fact.CustomEvent = data.Reference("custom_event")
	fact.Amounts = domain.Amounts{
		Currency: data.Currency("currency"),
		Total:    data.Minor("total"),
		Paid:     data.Minor("paid"),
		Refunded: data.Minor("refunded"),
		Freight:  data.Minor("freight"),
		Discount: data.Minor("discount"),
	}
	fact.Payment = domain.Payment{
		Method:    data.Method("method"),
		Phase:     phase(data),
		PaymentID: data.OptionalID("payment_id"),
		RefundID:  data.OptionalID("refund_id"),
	}
	if n, ok := data.Integer("installments"); ok {
		fact.Payment.Installments = int32(min(n, maxInstallments)) //nolint:gosec // at most maxInstallments
	}
	refund := data.Minor("refund_amount")
	switch {
	case fact.Payment.RefundID != "":
		fact.Amounts.Refund = refund
	case refund.Minor > 0:
		data.Fail("refund_amount", "needs the refund_id that it is of")
	}
	readItems(data, fact)
	fact.UTM = utm(data.Object("utm"))
	fact.Personal = personal(data)
	fact.Shipping = shipping(data)
	if fact.Kind == domain.KindShipping && fact.Shipping == nil {
		data.Fail("shipping", "is required in a fact of shipping")
	}
}

// maxInstallments is more than any card offers.
const maxInstallments = 1000

// phase is of a pending payment; an unknown one is left out, with a warning.
func phase(data fields.Object) string {
	text := data.Word("phase")
	if text != "" && !provider.IsPhase(text) {
		data.Warn("phase", "must be one of "+strings.Join(provider.Phases(), ", "))
		return ""
	}
	return text
}

func readItems(data fields.Object, fact *domain.Fact) {
	for item := range data.List("items") {
		quantity, _ := item.Integer("quantity")
		fact.Items = append(fact.Items, domain.Item{
			Code: item.Text("code"), Title: item.Text("title"), UnitPrice: item.Minor("unit_price"), Quantity: quantity,
		})
	}
}

// maxUTM is how many campaign parameters are kept.
const maxUTM = 16

// utm is the campaign parameters; the five usual ones may lack their "utm_".
func utm(object fields.Object) domain.UTM {
	var out map[string]string
	for name, text := range object.Texts() {
		switch name {
		case "source", "medium", "campaign", "content", "term":
			name = "utm_" + name
		}
		if len(out) == maxUTM {
			object.Warn("", "has too many members")
			break
		}
		if out == nil {
			out = make(map[string]string)
		}
		out[name] = text
	}
	return domain.UTMOf(out)
}

func personal(data fields.Object) *domain.Personal {
	customer := data.Object("customer")
	address := customer.Object("address")
	document, valid := customer.Document("document")
	return fields.PersonalOrNil(domain.Personal{
		Name: customer.Text("name"), Email: customer.Email("email"), Phone: customer.Phone("phone"),
		Document: document, DocumentValid: valid,
		Address: fields.AddressOrNil(domain.Address{
			Street: address.Text("street"), Number: address.Text("number"), Complement: address.Text("complement"),
			District: address.Text("district"), City: address.Text("city"), State: address.Text("state"),
			PostalCode: address.PostalCode("postal_code"), Country: address.Country("country"),
		}),
		PixCode: data.Long("pix_code"), PixURL: data.Long("pix_url"),
		BoletoLine: data.Text("boleto_line"), BoletoURL: data.Long("boleto_url"), CheckoutURL: data.Long("checkout_url"),
	})
}

// shippingEvents are the words of [domain.Shipping].
var shippingEvents = map[string]bool{
	"posted": true, "in_transit": true, "awaiting_pickup": true, "alert": true, "out_for_delivery": true, "delivered": true,
}

func shipping(data fields.Object) *domain.Shipping {
	news := data.Object("shipping")
	if !news.Exists() {
		return nil
	}
	event := news.Word("event")
	if event != "" && !shippingEvents[event] {
		news.Warn("event", "is none of the known words")
		event = ""
	}
	return fields.ShippingOrNil(domain.Shipping{
		Event: event, TrackingCode: news.Reference("tracking_code"), TrackingURL: news.Long("tracking_url"),
		Branch: news.Text("branch"), City: news.Text("city"), State: news.Text("state"),
		Country: news.Text("country"), Date: news.Date("date", nil).At,
	})
}
