package export

import (
	"time"

	"comanda.internal/domain"
)

// Personal is the personal data that one event came with. Null is what it did not say; of
// an event whose person was erased all is null.
type Personal struct {
	Partition     int32     `json:"partition" parquet:"partition"`
	Sequence      int64     `json:"sequence" parquet:"sequence,delta"`
	RecordedAt    time.Time `json:"recorded_at" parquet:"recorded_at,timestamp(microsecond)"`
	EventID       string    `json:"event_id" parquet:"event_id"`
	OrderID       string    `json:"order_id" parquet:"order_id"`
	Tenant        string    `json:"tenant" parquet:"tenant,dict"`
	Erased        bool      `json:"erased" parquet:"erased"`
	Name          *string   `json:"name" parquet:"name,optional"`
	Email         *string   `json:"email" parquet:"email,optional"`
	Phone         *string   `json:"phone" parquet:"phone,optional"`
	Document      *string   `json:"document" parquet:"document,optional"`
	DocumentValid *bool     `json:"document_valid" parquet:"document_valid,optional"`
	Street        *string   `json:"street" parquet:"street,optional"`
	Number        *string   `json:"number" parquet:"number,optional"`
	Complement    *string   `json:"complement" parquet:"complement,optional"`
	District      *string   `json:"district" parquet:"district,optional"`
	City          *string   `json:"city" parquet:"city,optional"`
	State         *string   `json:"state" parquet:"state,optional"`
	PostalCode    *string   `json:"postal_code" parquet:"postal_code,optional"`
	Country       *string   `json:"country" parquet:"country,optional"`
	PixCode       *string   `json:"pix_code" parquet:"pix_code,optional"`
	PixURL        *string   `json:"pix_url" parquet:"pix_url,optional"`
	BoletoLine    *string   `json:"boleto_line" parquet:"boleto_line,optional"`
	BoletoURL     *string   `json:"boleto_url" parquet:"boleto_url,optional"`
	CheckoutURL   *string   `json:"checkout_url" parquet:"checkout_url,optional"`
}

// Customer is who an order's customer is, as its facts together say. Its day is the
// order's.
type Customer struct {
	OrderID         string    `json:"order_id" parquet:"order_id"`
	FirstRecordedAt time.Time `json:"first_recorded_at" parquet:"first_recorded_at,timestamp(microsecond)"`
	Tenant          string    `json:"tenant" parquet:"tenant,dict"`
	Erased          bool      `json:"erased" parquet:"erased"`
	Name            *string   `json:"name" parquet:"name,optional"`
	Email           *string   `json:"email" parquet:"email,optional"`
	Phone           *string   `json:"phone" parquet:"phone,optional"`
	Document        *string   `json:"document" parquet:"document,optional"`
	DocumentValid   *bool     `json:"document_valid" parquet:"document_valid,optional"`
	Street          *string   `json:"street" parquet:"street,optional"`
	Number          *string   `json:"number" parquet:"number,optional"`
	Complement      *string   `json:"complement" parquet:"complement,optional"`
	District        *string   `json:"district" parquet:"district,optional"`
	City            *string   `json:"city" parquet:"city,optional"`
	State           *string   `json:"state" parquet:"state,optional"`
	PostalCode      *string   `json:"postal_code" parquet:"postal_code,optional"`
	Country         *string   `json:"country" parquet:"country,optional"`
}

func (r Personal) recorded() time.Time { return r.RecordedAt }
func (r Customer) recorded() time.Time { return r.FirstRecordedAt }

func (Personal) sortedBy() []string { return []string{"partition", "sequence"} }
func (Customer) sortedBy() []string { return []string{"order_id"} }

func personalOf(r *domain.Recorded, p *domain.Personal, erased bool) Personal {
	e, a := &r.Event, addressOf(p)
	return Personal{
		Partition: int32(r.Partition), Sequence: int64(r.Sequence), //nolint:gosec // at most 256, and a count
		RecordedAt: e.RecordedAt, EventID: string(e.ID), OrderID: string(e.OrderID), Tenant: string(e.Tenant), Erased: erased,
		Name: said(p.Name), Email: said(p.Email), Phone: said(p.Phone), Document: said(p.Document), DocumentValid: validity(p),
		Street: said(a.Street), Number: said(a.Number), Complement: said(a.Complement), District: said(a.District),
		City: said(a.City), State: said(a.State), PostalCode: said(a.PostalCode), Country: said(a.Country),
		PixCode: said(p.PixCode), PixURL: said(p.PixURL), BoletoLine: said(p.BoletoLine), BoletoURL: said(p.BoletoURL),
		CheckoutURL: said(p.CheckoutURL),
	}
}

func customerOf(of *Order, p *domain.Personal, erased bool) Customer {
	a := addressOf(p)
	return Customer{
		OrderID: of.OrderID, FirstRecordedAt: of.FirstRecordedAt, Tenant: of.Tenant, Erased: erased,
		Name: said(p.Name), Email: said(p.Email), Phone: said(p.Phone), Document: said(p.Document), DocumentValid: validity(p),
		Street: said(a.Street), Number: said(a.Number), Complement: said(a.Complement), District: said(a.District),
		City: said(a.City), State: said(a.State), PostalCode: said(a.PostalCode), Country: said(a.Country),
	}
}

func addressOf(p *domain.Personal) domain.Address {
	if p.Address == nil {
		return domain.Address{}
	}
	return *p.Address
}

// said is nil for nothing.
func said(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// validity is nil without a document.
func validity(p *domain.Personal) *bool {
	if p.Document == "" {
		return nil
	}
	return &p.DocumentValid
}
