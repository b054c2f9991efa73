package voxuy

import (
	"strconv"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/domain"
)

// Config are the settings. There are none yet; the zero value works.
type Config struct{}

// Validate reports every mistake of c, joined; there is none to make.
func (Config) Validate() error { return nil }

// Codec reads messages in Voxuy's form.
type Codec struct{}

var _ provider.Codec = (*Codec)(nil)

// New is the codec for these settings. The error is that of [Config.Validate].
func New(c Config) (*Codec, error) { return &Codec{}, c.Validate() }

// hashPrefix marks an identity that is the hash of the body.
const hashPrefix = "sha256:"

// meaning is what a status says.
type meaning struct {
	kind   domain.Kind
	phase  string
	reason domain.Reason
	detail string
	dated  bool // by the sale's date
}

// statuses are those of document 002, "Status do Pedido".
var statuses = map[int64]meaning{
	0:  {kind: domain.KindPending, phase: "awaiting", dated: true},
	1:  {kind: domain.KindApproved},
	2:  {kind: domain.KindCancelled}, // cancelled or not approved: the reason is unknown
	3:  {kind: domain.KindChargeback},
	4:  {kind: domain.KindRefunded},
	5:  {kind: domain.KindPending, phase: "in_analysis", dated: true},
	6:  {kind: domain.KindRefundRequested},
	7:  {kind: domain.KindPending, phase: "processing", dated: true},
	8:  {kind: domain.KindPending, phase: "partially_paid", dated: true},
	9:  {kind: domain.KindFlagged, reason: domain.ReasonBlocked, detail: "blocked"},
	10: {kind: domain.KindRefused, reason: domain.ReasonFraud, detail: "fraud"},
	11: {kind: domain.KindFlagged, reason: domain.ReasonDuplicate, detail: "duplicate"},
	80: {kind: domain.KindAbandoned, dated: true},
	99: {kind: domain.KindDetails},
}

// methods are those of document 002, "Tipos de Pagamento", and 99 for none.
var methods = map[int64]string{
	0: "free", 1: "boleto", 2: "card", 3: "paypal", 4: "boleto_installments", 5: "deposit", 6: "balance", 7: "pix", 99: "",
}

// shippingEvents are those of document 002, "Status de Logística".
var shippingEvents = map[int64]string{
	0: "", 1: "posted", 2: "in_transit", 3: "awaiting_pickup", 4: "alert", 5: "out_for_delivery", 6: "delivered",
}

// transaction is what a message says.
type transaction struct {
	meaning      meaning
	fact         domain.Fact // what every fact of the message has
	date         fields.Date
	shipping     *domain.Shipping
	shippingDate fields.Date
	bodyHash     string // the key, of a message without id; else ""
	total        string // the parts of the key that no fact has
	shippingCode string
}

// Decode reads one message: the fact of its status, and one of its shipping when it has news.
func (c *Codec) Decode(m domain.Message) ([]domain.Fact, error) {
	root, err := fields.Parse(m.Body)
	if err != nil {
		return nil, err
	}
	t := read(root)
	if t.fact.ProviderOrderID == "" {
		t.bodyHash = provider.BodyHash(m.Body)
		t.fact.ProviderOrderID = hashPrefix + t.bodyHash
	}
	if err := root.Err(); err != nil {
		return nil, err
	}
	t.fact.Provider, t.fact.Account = provider.Voxuy, m.Account
	own := t.of(t.meaning)
	own.Warnings = root.Warnings()
	if t.shipping == nil {
		return []domain.Fact{own}, nil
	}
	news := t.of(meaning{kind: domain.KindShipping})
	news.OccurredAt, news.OccurredText = t.shippingDate.At, t.shippingDate.Text
	news.Shipping = t.shipping
	return []domain.Fact{own, news}, nil
}

// of is the fact of t that means m.
func (t *transaction) of(m meaning) domain.Fact {
	fact := t.fact
	fact.Kind, fact.Reason, fact.Detail, fact.Payment.Phase = m.kind, m.reason, m.detail, m.phase
	if m.dated {
		fact.OccurredAt, fact.OccurredText = t.date.At, t.date.Text
	}
	if m.kind == domain.KindApproved {
		fact.Amounts.Paid = fact.Amounts.Total
	}
	if fact.Key = t.bodyHash; fact.Key == "" {
		// The reason stands with the phase: 9 and 11 are both flags.
		fact.Key = provider.Key(fact.ProviderOrderID, m.kind.String(), m.phase+string(m.reason), provider.KeyTime(t.date.At),
			t.total, fact.CustomEvent, t.shippingCode, provider.KeyTime(t.shippingDate.At))
	}
	return fact
}

// read reads everything but the identity of a message that has none.
func read(root fields.Object) transaction {
	t := transaction{meaning: status(root), date: root.Date("date", nil)}
	root.Minor("value") // the net value is no sum of ours, but a bad one makes the message doubtful
	t.fact = domain.Fact{
		ProviderOrderID: root.OptionalID("id"),
		Amounts:         domain.Amounts{Currency: "BRL", Total: root.Minor("totalValue"), Freight: root.Minor("freight")},
		Payment:         domain.Payment{Method: lookup(root, "paymentType", methods)},
		CustomEvent:     root.Reference("customEvent"),
		Personal:        personal(root),
	}
	if t.fact.Amounts.Total.Known {
		t.total = strconv.FormatInt(t.fact.Amounts.Total.Minor, 10)
	}
	event := lookup(root, "currentShippingEvent", shippingEvents)
	if n, ok := root.Integer("currentShippingEvent"); ok {
		t.shippingCode = strconv.FormatInt(n, 10)
	}
	if news := root.Object("shipping"); event != "" || news.Exists() {
		t.shippingDate = news.Date("date", nil)
		t.shipping = shipping(news, event, t.shippingDate)
	}
	return t
}

// status is the meaning of the required status.
func status(root fields.Object) meaning {
	n, ok := root.RequiredInteger("status")
	if !ok {
		return meaning{}
	}
	m, ok := statuses[n]
	if !ok {
		root.FailStatus("status")
	}
	return m
}

// lookup is the word of an optional number; an unknown one is a warning.
func lookup(root fields.Object, name string, words map[int64]string) string {
	n, ok := root.Integer(name)
	if !ok {
		return ""
	}
	word, ok := words[n]
	if !ok {
		root.Warn(name, "is none of the documented numbers")
	}
	return word
}

// shipping is the news from the carrier. The document requires the city.
func shipping(news fields.Object, event string, date fields.Date) *domain.Shipping {
	if news.Exists() && !news.Has("city") {
		news.Warn("city", "is required")
	}
	return fields.ShippingOrNil(domain.Shipping{
		Event: event, TrackingCode: news.Reference("trackingCode"), TrackingURL: news.Long("trackingUrl"),
		Branch: news.Text("branchName"), City: news.Text("city"), State: news.Text("state"),
		Country: news.Text("country"), Date: date.At,
	})
}

func personal(root fields.Object) *domain.Personal {
	document, valid := root.Document("clientDocument")
	return fields.PersonalOrNil(domain.Personal{
		Name: root.Text("clientName"), Email: root.Email("clientEmail"), Phone: root.Phone("clientPhoneNumber"),
		Document: document, DocumentValid: valid,
		Address: fields.AddressOrNil(domain.Address{
			Street: root.Text("clientAddress"), Number: root.Text("clientAddressNumber"),
			Complement: root.Text("clientAddressComp"), District: root.Text("clientAddressDistrict"),
			City: root.Text("clientAddressCity"), State: root.Text("clientAddressState"),
			PostalCode: root.PostalCode("clientZipCode"), Country: root.Country("clientAddressCountry"),
		}),
		PixCode: root.Long("pixQrCode"), PixURL: root.Long("pixUrl"),
		BoletoLine: root.Text("paymentLine"), BoletoURL: root.Long("boletoUrl"), CheckoutURL: root.Long("checkoutUrl"),
	})
}
