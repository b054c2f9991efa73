package domain

import "time"

// Message is what came in: the bytes exactly as received, and where from. The
// intake has authenticated it; a codec reads it.
type Message struct {
	Source   SourceID
	Tenant   TenantID
	Account  string // the provider account that the source stands for
	Provider string // canonical: vega is a shape of aprovei
	// Action is the rest of the path, as "changed" in /webhooks/loja-iset/changed; "" is none.
	Action      string
	ContentType string
	Body        []byte
	ReceivedAt  time.Time
	Cause       Cause
}

// Cause says by whose doing a message came. All of it may be empty.
type Cause struct {
	RequestID   string // of the intake's request
	Traceparent string // W3C trace context, as received
	Tracestate  string // W3C trace state, as received, of at most 512 characters; "" without a Traceparent
	Actor       string // the operator or service, for facts of RecordFact
	Reason      string // the actor's own words
}

// Fact is what one message says of one order. Codecs make facts; they are
// plain values and are never changed after.
type Fact struct {
	Kind Kind

	// Provider, Account and ProviderOrderID are the order's identity, with the
	// message's tenant. Provider is the canonical name.
	Provider        string
	Account         string
	ProviderOrderID string
	// Key is the idempotency key: two deliveries of one fact have one key.
	Key string

	// OccurredAt is the provider's date in UTC; zero is undated.
	OccurredAt time.Time
	// OccurredText is that date as the provider wrote it.
	OccurredText string
	// Inferred says that the codec concluded this fact from another's body (an
	// approval from a refund that carries date_approved).
	Inferred bool

	Reference string // the merchant's own code for the purchase; may repeat
	Reason    Reason
	// Detail is the provider's own short word for the reason or flag, as
	// "insufficient funds" or "blocked". Never personal data.
	Detail  string
	Amounts Amounts
	Payment Payment

	Items    []Item
	UTM      UTM
	Shipping *Shipping // nil: the fact says nothing of it
	// CustomEvent is the platform's own event number or name (Voxuy status 99).
	CustomEvent string

	// Resolution is set on facts of KindResolved and on no other.
	Resolution *Resolution

	// Personal is sealed before anything is stored; nil: none.
	Personal *Personal

	// Warnings name fields that were ignored because they were bad, as
	// "customer.document: check digits". Never a value, only the field and a rule.
	Warnings []string
}

// Identity is the order that f is about, for the tenant of its message.
func (f *Fact) Identity(tenant TenantID) Identity {
	return Identity{Tenant: tenant, Provider: f.Provider, Account: f.Account, ProviderOrderID: f.ProviderOrderID}
}

// Reason is why an order was refused, cancelled or put on hold, as far as the provider says.
type Reason string

// The reasons the machine or an adapter acts on; "" is unknown. A codec may
// return others: a cancellation with any reason but unknown, expired and
// payment_failed is a void.
const (
	ReasonUnknown       Reason = ""
	ReasonExpired       Reason = "expired"        // nobody paid in time
	ReasonPaymentFailed Reason = "payment_failed" // the payment did not go through
	ReasonVoid          Reason = "void"           // taken back by merchant or platform
	ReasonRemoved       Reason = "removed"        // deleted at the source
	ReasonFraud         Reason = "fraud"          // refused on suspicion of fraud
	ReasonBlocked       Reason = "blocked"        // a flag: held by the platform
	ReasonDuplicate     Reason = "duplicate"      // a flag: the platform calls it a duplicate payment
)

// Amount is a sum of money in minor units (centavos) that may be unknown. The
// zero value is unknown, which is not zero.
type Amount struct {
	Minor int64
	Known bool
}

// Minor is the known amount of n minor units.
func Minor(n int64) Amount { return Amount{Minor: n, Known: true} }

// Amounts are a fact's sums, all in one currency.
type Amounts struct {
	Currency string // ISO 4217, as "BRL"; "" is unknown
	Total    Amount // what the order asks
	Paid     Amount // cumulative, for the payment id, or for the order when it names none
	Refunded Amount // cumulative, likewise
	Refund   Amount // of the refund id alone
	Freight  Amount
	Discount Amount
}

// Payment is how, and which.
type Payment struct {
	Method       string // pix, boleto, card, … ; "" is unknown
	Phase        string // of pending: awaiting, in_analysis, processing, authorized, partially_paid
	PaymentID    string // the provider's own; "" when it names none
	RefundID     string
	Installments int32 // 0 is unknown
}

// Item is one line of an order.
type Item struct {
	Code      string
	Title     string
	UnitPrice Amount
	Quantity  int64
}

// Shipping is the last news from the carrier.
type Shipping struct {
	Event        string // posted, in_transit, awaiting_pickup, alert, out_for_delivery, delivered
	TrackingCode string
	TrackingURL  string
	Branch       string
	City         string
	State        string
	Country      string
	Date         time.Time // zero: undated
}

// Resolution is an operator's word on one event of the order.
type Resolution struct {
	Event  EventID
	Action ResolutionAction
}

// ResolutionAction is what the operator says.
type ResolutionAction string

// The actions (DESIGN section 5, "Operators").
const (
	ActionAccept ResolutionAction = "accept"
	ActionReject ResolutionAction = "reject"
	ActionReopen ResolutionAction = "reopen"
)

// Personal is what identifies a person. It leaves memory only sealed.
type Personal struct {
	Name  string
	Email string
	Phone string // E.164 where it could be made so
	// Document is a CPF (11 digits) or CNPJ (12 of [0-9A-Z] and 2 digits),
	// without punctuation; DocumentValid says that its check digits hold.
	Document      string
	DocumentValid bool
	Address       *Address // nil: none
	PixCode       string
	PixURL        string
	BoletoLine    string
	BoletoURL     string
	CheckoutURL   string
}

// Address is a postal address.
type Address struct {
	Street, Number, Complement, District, City, State string

	PostalCode string // CEP: 8 digits as text
	Country    string // ISO 3166-1 alpha-2
}
