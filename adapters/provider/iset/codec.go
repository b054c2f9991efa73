package iset

import (
	"errors"
	"slices"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/adapters/provider/strictjson"
	"comanda.internal/domain"
)

// The actions of document 004 about orders, as they stand in the path. started
// serves "Pedido/Checkout Iniciado" and the customers' "Compra Iniciada" alike.
const (
	actionStarted = "started"
	actionChanged = "changed"
	actionRemoved = "removed"
)

// flagRemoved is the word of the flag on an order that was deleted at the shop.
const flagRemoved = "removed_from_source"

// Codec reads the messages of one shop.
type Codec struct {
	fields   FieldMap
	statuses map[string]meaning
	zone     *time.Location
	decimal  bool
}

var _ provider.Relayer = (*Codec)(nil)

// New is the codec for these settings. The error is that of [Config.Validate].
func New(c Config) (*Codec, error) {
	codec, mistakes := c.compile()
	if err := errors.Join(mistakes...); err != nil {
		return nil, err
	}
	return codec, nil
}

// catalogueActions are those of document 004 that belong to no order, by the
// type under which they are relayed.
var catalogueActions = []string{"product.changed", "product.removed", "stock.changed", "category.changed", "category.removed"}

// catalogue reports whether action is one that belongs to no order.
func catalogue(action string) bool { return slices.Contains(catalogueActions, action) }

// Relay reads m as an event of the catalogue; its type is the action. The body
// is passed on as it came, once it is known to be JSON.
func (c *Codec) Relay(m domain.Message) (provider.RelayEvent, bool, error) {
	if !catalogue(m.Action) {
		return provider.RelayEvent{}, false, nil
	}
	if _, err := strictjson.Parse(m.Body); err != nil {
		return provider.RelayEvent{}, true, &provider.Error{Reason: provider.Malformed, Detail: err.Error()}
	}
	return provider.RelayEvent{
		Type: m.Action,
		Key:  provider.Key(m.Action, provider.BodyHash(m.Body)),
		Body: m.Body,
	}, true, nil
}

// Decode reads a message about an order.
func (c *Codec) Decode(m domain.Message) ([]domain.Fact, error) {
	switch m.Action {
	case actionStarted, actionChanged, actionRemoved:
	case "":
		return nil, &provider.Error{Reason: provider.UnknownAction, Detail: "the path names no action"}
	default: // the action is foreign text and is not repeated
		return nil, &provider.Error{Reason: provider.UnknownAction, Detail: "the path's action is none about an order"}
	}
	root, err := fields.Parse(m.Body)
	if err != nil {
		return nil, err
	}
	r := c.read(root, m)
	var facts []domain.Fact
	switch m.Action {
	case actionStarted:
		facts = []domain.Fact{r.of(meaning{kind: domain.KindStarted}, r.created)}
	case actionChanged:
		facts = c.snapshot(root, r)
	default:
		facts = r.removal(c.date(root, c.fields.RemovedAt))
	}
	if err := root.Err(); err != nil {
		return nil, err
	}
	facts[len(facts)-1].Warnings = root.Warnings()
	return facts, nil
}

// reading is what every message says.
type reading struct {
	fact     domain.Fact // what every fact of the message has
	action   string
	bodyHash string
	created  fields.Date
}

func (c *Codec) read(root fields.Object, m domain.Message) *reading {
	id, idName := root.At(c.fields.OrderID)
	r := &reading{action: m.Action, bodyHash: provider.BodyHash(m.Body), created: c.date(root, c.fields.CreatedAt)}
	r.fact = domain.Fact{
		Provider: provider.ISET, Account: m.Account, ProviderOrderID: id.ID(idName),
		Reference: optional(root, c.fields.Reference, fields.Object.Reference),
		Amounts: domain.Amounts{
			Currency: "BRL",
			Total:    c.sum(root, c.fields.Total),
			Freight:  c.sum(root, c.fields.Freight),
			Discount: c.sum(root, c.fields.Discount),
		},
		Payment: domain.Payment{Method: optional(root, c.fields.Method, fields.Object.Method)},
	}
	p := domain.Personal{
		Name:  optional(root, c.fields.Name, fields.Object.Text),
		Email: optional(root, c.fields.Email, fields.Object.Email),
		Phone: optional(root, c.fields.Phone, fields.Object.Phone),
	}
	if c.fields.Document != "" {
		parent, name := root.At(c.fields.Document)
		p.Document, p.DocumentValid = parent.Document(name)
	}
	r.fact.Personal = fields.PersonalOrNil(p)
	return r
}

// optional reads a field that may not be mapped.
func optional(root fields.Object, pointer string, read func(fields.Object, string) string) string {
	if pointer == "" {
		return ""
	}
	parent, name := root.At(pointer)
	return read(parent, name)
}

// sum reads a sum that may not be mapped.
func (c *Codec) sum(root fields.Object, pointer string) domain.Amount {
	if pointer == "" {
		return domain.Amount{}
	}
	parent, name := root.At(pointer)
	if c.decimal {
		return parent.Decimal(name)
	}
	return parent.Minor(name)
}

// date reads a date that may not be mapped.
func (c *Codec) date(root fields.Object, pointer string) fields.Date {
	if pointer == "" {
		return fields.Date{}
	}
	parent, name := root.At(pointer)
	return parent.Date(name, c.zone)
}

// snapshot is the facts of an order that was created or changed.
func (c *Codec) snapshot(root fields.Object, r *reading) []domain.Fact {
	if c.fields.Status == "" {
		pending := r.of(meaning{kind: domain.KindPending}, r.created)
		pending.Key = provider.Key(r.action, r.fact.ProviderOrderID, pending.Kind.String())
		return []domain.Fact{pending, r.of(meaning{kind: domain.KindDetails}, fields.Date{})}
	}
	parent, name := root.At(c.fields.Status)
	word := parent.Status(name)
	m, ok := c.statuses[word]
	if !ok && word != "" {
		parent.FailStatus(name)
	}
	since := c.date(root, c.fields.StatusAt)
	fact := r.of(m, since)
	if since.At.IsZero() || m.kind == domain.KindDetails {
		return []domain.Fact{fact}
	}
	fact.Key = provider.Key(r.action, r.fact.ProviderOrderID, m.kind.String(), m.phase+string(m.reason), provider.KeyTime(since.At))
	return []domain.Fact{fact, r.of(meaning{kind: domain.KindDetails}, fields.Date{})}
}

// removal is the facts of an order that was deleted at the shop: a flag with its
// time, and an undated cancellation, which the machine lets move only an unpaid
// order, because deleting a record is no refund.
func (r *reading) removal(at fields.Date) []domain.Fact {
	flag := r.of(meaning{kind: domain.KindFlagged, reason: domain.ReasonRemoved}, at)
	flag.Detail = flagRemoved
	cancellation := r.of(meaning{kind: domain.KindCancelled, reason: domain.ReasonRemoved}, fields.Date{})
	return []domain.Fact{flag, cancellation}
}

// of is the fact of r that means m. Statuses before the payment are dated by the
// order's creation, where the map names it; the others by at.
func (r *reading) of(m meaning, at fields.Date) domain.Fact {
	fact := r.fact
	fact.Kind, fact.Payment.Phase, fact.Reason = m.kind, m.phase, m.reason
	early := m.kind == domain.KindStarted || m.kind == domain.KindAbandoned || m.kind == domain.KindPending
	if early && !r.created.At.IsZero() {
		at = r.created
	}
	fact.OccurredAt, fact.OccurredText = at.At, at.Text
	if m.kind == domain.KindApproved {
		fact.Amounts.Paid = fact.Amounts.Total
	}
	fact.Key = provider.Key(r.action, r.bodyHash)
	return fact
}
