package aprovei

import (
	"math"
	"strconv"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/domain"
)

// Config are the settings. There are none yet; the zero value works.
type Config struct{}

// Validate reports every mistake of c, joined; there is none to make.
func (Config) Validate() error { return nil }

// Codec reads Aprovei's and Vega's messages.
type Codec struct{}

var _ provider.Codec = (*Codec)(nil)

// New is the codec for these settings. The error is that of [Config.Validate].
func New(c Config) (*Codec, error) { return &Codec{}, c.Validate() }

// currency of both platforms, whose sums are all in centavos.
const currency = "BRL"

// meaning is what a platform's status says.
type meaning struct {
	kind  domain.Kind
	phase string
	dated date
}

// date names the one of a sale's dates that a status has.
type date uint8

const (
	undated date = iota
	created
	approved
	refunded
)

// statuses are those of documents 001 and 003.
var statuses = map[string]meaning{
	"pending":    {kind: domain.KindPending, phase: "awaiting", dated: created},
	"in_process": {kind: domain.KindPending, phase: "processing", dated: created},
	"approved":   {kind: domain.KindApproved, dated: approved},
	"refused":    {kind: domain.KindRefused},
	"refunded":   {kind: domain.KindRefunded, dated: refunded},
	"chargeback": {kind: domain.KindChargeback, dated: refunded},
}

// vegaStatuses are those that only Vega has. It calls every cancellation
// "canceled", so the reason is unknown.
var vegaStatuses = map[string]meaning{
	"charge_back":    {kind: domain.KindChargeback, dated: refunded},
	"canceled":       {kind: domain.KindCancelled},
	"abandoned_cart": {kind: domain.KindAbandoned, dated: created},
}

// sale is what either shape says.
type sale struct {
	meaning meaning
	fact    domain.Fact // what every fact of the message has
	dates   [refunded + 1]fields.Date
}

// Decode reads one webhook: one fact, or an inferred approval and one fact.
func (c *Codec) Decode(m domain.Message) ([]domain.Fact, error) {
	root, err := fields.Parse(m.Body)
	if err != nil {
		return nil, err
	}
	var s sale
	// payment_status is Aprovei's own word; a message with neither is told Aprovei's names.
	if root.Has("status") && !root.Has("payment_status") {
		s = readVega(root)
	} else {
		s = readAprovei(root)
	}
	if err := root.Err(); err != nil {
		return nil, err
	}
	s.fact.Provider, s.fact.Account = provider.Aprovei, m.Account
	s.fact.Amounts.Currency = currency
	return s.facts(root.Warnings()), nil
}

// facts are the facts of s, in the order in which they happened.
func (s *sale) facts(warnings []string) []domain.Fact {
	own := s.of(s.meaning)
	own.Warnings = warnings
	takenBack := own.Kind == domain.KindRefunded || own.Kind == domain.KindChargeback
	if !takenBack || s.dates[approved].At.IsZero() {
		return []domain.Fact{own}
	}
	approval := s.of(statuses["approved"], provider.InferredKeyPart)
	approval.Inferred = true
	return []domain.Fact{approval, own}
}

// of is the fact of s that means m.
func (s *sale) of(m meaning, keyParts ...string) domain.Fact {
	fact := s.fact
	fact.Kind = m.kind
	fact.OccurredAt, fact.OccurredText = s.dates[m.dated].At, s.dates[m.dated].Text
	if m.kind == domain.KindPending {
		fact.Payment.Phase = m.phase
	}
	if m.kind == domain.KindApproved {
		fact.Amounts.Paid = fact.Amounts.Total
	}
	amount := ""
	if fact.Amounts.Total.Known {
		amount = strconv.FormatInt(fact.Amounts.Total.Minor, 10)
	}
	parts := append([]string{
		fact.ProviderOrderID, m.kind.String(), m.phase, provider.KeyTime(fact.OccurredAt), amount,
	}, keyParts...)
	fact.Key = provider.Key(parts...)
	return fact
}

// status is the meaning of the status in the field of this name.
func status(root fields.Object, name string, maps ...map[string]meaning) meaning {
	word := root.Status(name)
	for _, statuses := range maps {
		if m, ok := statuses[word]; ok {
			return m
		}
	}
	if word != "" {
		root.FailStatus(name)
	}
	return meaning{}
}

// readAprovei reads the body of documents 001 and 003.
func readAprovei(root fields.Object) sale {
	s := sale{meaning: status(root, "payment_status", statuses)}
	s.dates[created] = root.Date("date_created", nil)
	s.dates[approved] = root.Date("date_approved", nil)
	s.dates[refunded] = root.Date("date_refunded", nil)
	s.fact = domain.Fact{
		ProviderOrderID: root.ID("transaction_token"),
		Reference:       root.Reference("external_code"),
		Amounts: domain.Amounts{
			Total:    root.Minor("transaction_amount"),
			Freight:  root.Minor("freight_amount"),
			Discount: root.Minor("automatic_discount"),
		},
		Payment: domain.Payment{Method: root.Method("payment_type")},
		UTM:     readUTM(root.Object("utms")),
	}
	s.fact.Items = readItems(root)
	if !adds(s.fact.Items, s.fact.Amounts) {
		root.Warn("products", "do not add up to transaction_amount with freight and discount")
	}
	customer := root.Object("customer")
	document, valid := customer.Document("identification_number")
	s.fact.Personal = fields.PersonalOrNil(domain.Personal{
		Name: customer.Text("full_name"), Email: customer.Email("email"), Phone: customer.Phone("cellphone"),
		Document: document, DocumentValid: valid,
		Address: readAddress(root.Object("customer_address"), "neighborhood"),
	})
	return s
}

func readItems(root fields.Object) (items []domain.Item) {
	for product := range root.List("products") {
		quantity, _ := product.Integer("quantity")
		items = append(items, domain.Item{
			Code: product.Text("code"), Title: product.Text("title"),
			UnitPrice: product.Minor("amount"), Quantity: quantity,
		})
	}
	return items
}

// readVega reads the older postback.
func readVega(root fields.Object) sale {
	s := sale{meaning: status(root, "status", statuses, vegaStatuses)}
	s.dates[approved] = root.Date("approved_at", nil)
	s.dates[refunded] = root.Date("refunded_at", nil)
	token := "transaction_token"
	if !root.Has(token) && root.Has("transaction_id") {
		token = "transaction_id"
	}
	s.fact = domain.Fact{
		ProviderOrderID: root.ID(token),
		Amounts:         domain.Amounts{Total: root.Minor("total_price")},
		Payment:         domain.Payment{Method: root.Method("method")},
	}
	customer := root.Object("customer")
	document, valid := customer.Document("document")
	s.fact.Personal = fields.PersonalOrNil(domain.Personal{
		Name: customer.Text("name"), Email: customer.Email("email"), Phone: customer.Phone("phone"),
		Document: document, DocumentValid: valid,
		Address: readAddress(root.Object("address"), "district"),
		PixCode: root.Long("pix_code"),
	})
	return s
}

// readAddress reads an address, whose district the shapes name differently.
func readAddress(address fields.Object, district string) *domain.Address {
	return fields.AddressOrNil(domain.Address{
		Street: address.Text("street"), Number: address.Text("number"), Complement: address.Text("complement"),
		District: address.Text(district), City: address.Text("city"), State: address.Text("state"),
		PostalCode: address.PostalCode("zip_code"), Country: address.Country("country"),
	})
}

// utmNames are the campaign parameters that document 001 lists.
var utmNames = [...]string{"src", "utm_medium", "utm_source", "utm_campaign", "utm_content", "utm_term"}

func readUTM(utms fields.Object) domain.UTM {
	if !utms.Exists() {
		return nil
	}
	utm := make(map[string]string, len(utmNames))
	for _, name := range utmNames {
		if text := utms.Text(name); text != "" {
			utm[name] = text
		}
	}
	return domain.UTMOf(utm)
}

// adds reports whether Σ(price × quantity) + freight − discount is the total; an
// unknown freight or discount is none, and without items or total nothing is said.
func adds(items []domain.Item, amounts domain.Amounts) bool {
	if len(items) == 0 || !amounts.Total.Known {
		return true
	}
	sum := amounts.Freight.Minor
	for _, item := range items {
		if !item.UnitPrice.Known {
			return true
		}
		price := item.UnitPrice.Minor
		if price > 0 && item.Quantity > (math.MaxInt64-sum)/price {
			return false // past int64, so past every total
		}
		sum += price * item.Quantity
	}
	return sum-amounts.Discount.Minor == amounts.Total.Minor
}
