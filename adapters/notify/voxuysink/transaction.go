package voxuysink

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// transaction is the body (document 002). An absent field is one we know
// nothing of: Voxuy keeps what it has.
type transaction struct {
	APIToken           string `json:"apiToken"`
	ID                 string `json:"id"`
	PlanID             string `json:"planId"`
	PaymentType        int    `json:"paymentType"`
	Status             int    `json:"status"`
	DontCancelPrevious bool   `json:"dontCancelPrevious,omitempty"`

	CustomEvent int64     `json:"customEvent,omitempty"`
	Date        time.Time `json:"date"` // of the sale, in UTC
	TotalValue  *int64    `json:"totalValue,omitempty"`
	Freight     *int64    `json:"freight,omitempty"`
	Metadata    metadata  `json:"metadata"`

	ClientName            string `json:"clientName,omitempty"`
	ClientEmail           string `json:"clientEmail,omitempty"`
	ClientPhoneNumber     string `json:"clientPhoneNumber"`
	ClientDocument        string `json:"clientDocument,omitempty"`
	ClientAddress         string `json:"clientAddress,omitempty"`
	ClientAddressNumber   string `json:"clientAddressNumber,omitempty"`
	ClientAddressComp     string `json:"clientAddressComp,omitempty"`
	ClientAddressDistrict string `json:"clientAddressDistrict,omitempty"`
	ClientAddressCity     string `json:"clientAddressCity,omitempty"`
	ClientAddressState    string `json:"clientAddressState,omitempty"`
	ClientAddressCountry  string `json:"clientAddressCountry,omitempty"`
	ClientZipCode         string `json:"clientZipCode,omitempty"`

	CheckoutURL string `json:"checkoutUrl,omitempty"`
	PaymentLine string `json:"paymentLine,omitempty"`
	BoletoURL   string `json:"boletoUrl,omitempty"`
	PixQRCode   string `json:"pixQrCode,omitempty"`
	PixURL      string `json:"pixUrl,omitempty"`

	CurrentShippingEvent int       `json:"currentShippingEvent,omitempty"`
	Shipping             *shipping `json:"shipping,omitempty"`
}

// metadata may stand in messages as variables.
type metadata struct {
	Reference       string `json:"reference,omitempty"`
	Provider        string `json:"provider,omitempty"`
	ProviderOrderID string `json:"provider_order_id,omitempty"`
}

// shipping is the last news from the carrier; the document requires the city.
type shipping struct {
	TrackingCode string     `json:"trackingCode,omitempty"`
	TrackingURL  string     `json:"trackingUrl,omitempty"`
	BranchName   string     `json:"branchName,omitempty"`
	City         string     `json:"city"`
	State        string     `json:"state,omitempty"`
	Country      string     `json:"country,omitempty"`
	Date         *time.Time `json:"date,omitempty"`
}

// transaction says w of the order as it was after the revision.
func (s *Sink) transaction(st *story, revision uint64, w word, who *domain.Personal) transaction {
	state := st.states[revision]
	t := transaction{
		APIToken: s.token.Reveal(), ID: string(st.events[0].Event.OrderID), PlanID: s.planOf(state), PaymentType: paymentType(state),
		Status: w.status, DontCancelPrevious: s.dontCancelPrevious, CustomEvent: w.customEvent, Date: st.soldAt(),
		TotalValue: minor(state.Total), Freight: minor(state.Freight),
		Metadata: metadata{
			Reference: state.Reference, Provider: state.Identity.Provider, ProviderOrderID: state.Identity.ProviderOrderID,
		},
		ClientName: who.Name, ClientEmail: who.Email, ClientPhoneNumber: who.Phone, ClientDocument: who.Document,
		CheckoutURL: who.CheckoutURL, PaymentLine: who.BoletoLine, BoletoURL: who.BoletoURL, PixQRCode: who.PixCode, PixURL: who.PixURL,
	}
	if a := who.Address; a != nil {
		t.ClientAddress, t.ClientAddressNumber, t.ClientAddressComp = a.Street, a.Number, a.Complement
		t.ClientAddressDistrict, t.ClientAddressCity, t.ClientAddressState = a.District, a.City, a.State
		t.ClientAddressCountry, t.ClientZipCode = a.Country, a.PostalCode
	}
	if news := state.Shipping; news != nil {
		t.CurrentShippingEvent = shippingEvents[news.Event]
		if news.City != "" { // without it Voxuy refuses the whole transaction
			t.Shipping = shippingOf(news)
		}
	}
	return t
}

func shippingOf(news *domain.Shipping) *shipping {
	out := &shipping{
		TrackingCode: news.TrackingCode, TrackingURL: news.TrackingURL, BranchName: news.Branch,
		City: news.City, State: news.State, Country: news.Country,
	}
	if !news.Date.IsZero() {
		date := news.Date.UTC().Truncate(time.Second)
		out.Date = &date
	}
	return out
}

// planOf is the plan of the first line that has one, or the default.
func (s *Sink) planOf(state *order.State) string {
	for _, it := range state.Items {
		if plan, ok := s.plan.ByProduct[it.Code]; ok {
			return plan
		}
	}
	return s.plan.Default
}

// soldAt is when the order began: the earliest of what is known of it.
func (s *story) soldAt() time.Time {
	first := s.events[0].Event.EffectiveAt
	for i := range s.events {
		if at := s.events[i].Event.EffectiveAt; at.Before(first) {
			first = at
		}
	}
	return first.UTC().Truncate(time.Second)
}

// person gathers what the order's events say of the customer: of each field the
// value of the greatest fact that carries one, as with every facet. What was
// erased is not known.
func (s *Sink) person(ctx context.Context, events []domain.Recorded) (domain.Personal, error) {
	sorted := make([]*domain.Event, len(events))
	for i := range events {
		sorted[i] = &events[i].Event
	}
	slices.SortFunc(sorted, greatestFirst)
	var who domain.Personal
	for _, e := range sorted {
		if len(e.SealedPersonal) == 0 {
			continue
		}
		p, err := s.opener.Reveal(ctx, e)
		if domain.KindOf(err) == domain.NotFound {
			continue
		}
		if err != nil {
			return domain.Personal{}, fmt.Errorf("open the personal data of %s: %w", e.ID, err)
		}
		fill(&who, &p)
	}
	return who, nil
}

func greatestFirst(a, b *domain.Event) int {
	return cmp.Or(
		b.EffectiveAt.Compare(a.EffectiveAt), cmp.Compare(b.Fact.Kind, a.Fact.Kind),
		b.ReceivedAt.Compare(a.ReceivedAt), cmp.Compare(b.ID, a.ID),
	)
}

// fill takes from p what who lacks.
func fill(who, p *domain.Personal) {
	who.Name, who.Email, who.Phone = cmp.Or(who.Name, p.Name), cmp.Or(who.Email, p.Email), cmp.Or(who.Phone, p.Phone)
	who.Document, who.CheckoutURL = cmp.Or(who.Document, p.Document), cmp.Or(who.CheckoutURL, p.CheckoutURL)
	who.PixCode, who.PixURL = cmp.Or(who.PixCode, p.PixCode), cmp.Or(who.PixURL, p.PixURL)
	who.BoletoLine, who.BoletoURL = cmp.Or(who.BoletoLine, p.BoletoLine), cmp.Or(who.BoletoURL, p.BoletoURL)
	if who.Address == nil {
		who.Address = p.Address
	}
}

func minor(a domain.Amount) *int64 {
	if !a.Known {
		return nil
	}
	return &a.Minor
}
