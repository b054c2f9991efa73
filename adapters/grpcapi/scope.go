package grpcapi

import (
	"context"

	"comanda.internal/adapters/grpcapi/ring"
	"comanda.internal/domain"
)

// Scope says which merchants' data a caller may see. It is asked for every event
// before it is sent, from several goroutines: an answer may change while a call runs,
// and must be quick.
type Scope interface {
	AllowsTenant(id domain.TenantID) bool
}

// everyTenant is the scope of a server without access control.
type everyTenant struct{}

func (everyTenant) AllowsTenant(domain.TenantID) bool { return true }

// scopes is of, or everybody's scope when that is nil.
func scopes(of func(context.Context) Scope) func(context.Context) Scope {
	if of == nil {
		return func(context.Context) Scope { return everyTenant{} }
	}
	return of
}

// wanted is what passes the filter and the scope.
func wanted(f *filter, scope Scope) func(*ring.Entry) bool {
	return func(e *ring.Entry) bool { return f.match(e) && scope.AllowsTenant(e.Tenant) }
}
