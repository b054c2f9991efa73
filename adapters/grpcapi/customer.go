package grpcapi

import (
	"context"
	"fmt"
	"strings"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/domain"
	"comanda.internal/projections/customers"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/paging"
)

// Customers finds the orders of a person; [customers.Index] does.
type Customers interface {
	// Orders are those to whose customer any of the names was given, by id; of all
	// tenants for "".
	Orders(ctx context.Context, tenant domain.TenantID, names []customers.Name) ([]domain.OrderID, error)
	// Written stands for names in what is given away, and tells nobody whose they are.
	Written(names []customers.Name) string
	// Wait blocks until the index holds position; the error's kind is Unavailable while it
	// is being made.
	Wait(ctx context.Context, position domain.Position) error
	// Rebuild begins to build the index anew beside itself, and CancelBuild ends that.
	Rebuild() (number uint64, err error)
	CancelBuild() (number uint64, err error)
}

const customerField = "customer"

// isNumber reports whether document has the length of a CPF or CNPJ, in digits.
func isNumber(document string) bool {
	return (len(document) == 11 || len(document) == 14) && strings.Trim(document, "0123456789") == ""
}

// customer is what text may be, none for "": eleven digits are a CPF or a mobile number. It
// is personal data, so that no error repeats it.
func (c *checker) customer(text string) []customers.Name {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil
	}
	if strings.IndexByte(text, '@') > 0 {
		return []customers.Name{{Kind: customers.Email, Text: text}}
	}
	var names []customers.Name
	if document, valid := brazil.Document(text); valid || isNumber(document) { // a wrong one is stored as it is
		names = append(names, customers.Name{Kind: customers.Document, Text: document})
	}
	if phone, ok := brazil.Phone(text); ok {
		names = append(names, customers.Name{Kind: customers.Phone, Text: phone})
	}
	if len(names) == 0 {
		c.violate(customerField, "must be an e-mail address, a phone number with its area code, a CPF or a CNPJ")
	}
	return names
}

// among are the orders of a customer, of all that was recorded before the call; nil for
// no names: anybody's. Only the tenants of filter are asked: that a customer of another
// has too many orders is not the caller's to know.
func (s *orderService) among(ctx context.Context, filter *orders.Filter, names []customers.Name) (*orders.Among, error) {
	if len(names) == 0 {
		return nil, nil //nolint:nilnil // no condition
	}
	if err := access.Require(ctx, access.PersonalRead); err != nil {
		return nil, err // that somebody is a customer is personal
	}
	head, err := s.log.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the head of the log: %w", err)
	}
	if err := s.customers.Wait(ctx, head); err != nil {
		return nil, err
	}
	among := &orders.Among{Written: s.customers.Written(names)}
	tenants := []domain.TenantID{""}
	if filter.Tenant != "" || filter.Within != nil {
		tenants = paging.Tenants(filter.Tenant, filter.Within)
	}
	for _, tenant := range tenants {
		found, err := s.customers.Orders(ctx, tenant, names)
		if err != nil {
			return nil, err
		}
		among.Orders = append(among.Orders, found...)
	}
	return among, nil
}
