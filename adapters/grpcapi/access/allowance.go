package access

import (
	"context"
	"slices"

	"comanda.internal/domain"
)

// Scope is what a caller may ask, as "orders:read".
type Scope string

// The scopes. Admin includes all others but PersonalRead: who operates the server need
// not see its customers.
const (
	OrdersRead     Scope = "orders:read"
	EventsRead     Scope = "events:read"
	FactsWrite     Scope = "facts:write"
	EndpointsAdmin Scope = "endpoints:admin" // no method asks for it yet: endpoints are configured
	PersonalRead   Scope = "personal:read"
	Admin          Scope = "admin"
)

// Scopes are all scopes, in the order of documentation.
func Scopes() []Scope {
	return []Scope{OrdersRead, EventsRead, FactsWrite, EndpointsAdmin, PersonalRead, Admin}
}

// Valid reports whether s is one of [Scopes].
func (s Scope) Valid() bool { return slices.Contains(Scopes(), s) }

// Allowance is what one caller may do. It does not change, and the zero value
// allows nothing.
type Allowance struct {
	caller  string
	scopes  []Scope
	tenants []domain.TenantID
	any     bool // of any tenant
}

// Everything allows all that there is: for a server on loopback that has no tokens.
func Everything() *Allowance { return &Allowance{caller: "anyone", scopes: Scopes(), any: true} }

// Caller is who calls, for logs: the name of a token or of an identity.
func (a *Allowance) Caller() string { return a.caller }

// Has reports whether the caller has the scope.
func (a *Allowance) Has(scope Scope) bool {
	return slices.Contains(a.scopes, scope) || scope != PersonalRead && slices.Contains(a.scopes, Admin)
}

// AllowsTenant reports whether the caller may know of the tenant.
func (a *Allowance) AllowsTenant(tenant domain.TenantID) bool {
	return a.any || slices.Contains(a.tenants, tenant)
}

// Tenants are those that the caller may know of, sorted; nil for any. It must not be
// changed.
func (a *Allowance) Tenants() []domain.TenantID {
	if a.any {
		return nil
	}
	return a.tenants
}

// AllowsEveryTenant reports whether the caller may know of any tenant.
func (a *Allowance) AllowsEveryTenant() bool { return a.any }

type contextKey struct{}

// With is ctx for a call of who has the allowance.
func With(ctx context.Context, a *Allowance) context.Context {
	return context.WithValue(ctx, contextKey{}, a)
}

var nothing = &Allowance{caller: "nobody", tenants: []domain.TenantID{}}

// From is the allowance of the call that ctx belongs to. It is never nil: without one
// it allows nothing.
func From(ctx context.Context) *Allowance {
	if a, ok := ctx.Value(contextKey{}).(*Allowance); ok {
		return a
	}
	return nothing
}
