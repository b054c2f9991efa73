package access_test

import (
	"context"
	"testing"

	"comanda.internal/adapters/grpcapi/access"
)

func TestWithoutAnAllowanceNothingIsAllowed(t *testing.T) {
	none := access.From(context.Background())
	for _, scope := range access.Scopes() {
		if none.Has(scope) {
			t.Errorf("nobody has %s", scope)
		}
	}
	if none.AllowsTenant("loja") || none.AllowsEveryTenant() || none.Tenants() == nil {
		t.Error("nobody may know of a tenant")
	}
}

func TestEverythingIsAllScopesOfAnyTenant(t *testing.T) {
	all := access.From(access.With(context.Background(), access.Everything()))
	for _, scope := range access.Scopes() {
		if !all.Has(scope) {
			t.Errorf("everything lacks %s", scope)
		}
	}
	if !all.AllowsTenant("loja") || !all.AllowsEveryTenant() || all.Tenants() != nil {
		t.Error("everything is not of any tenant")
	}
}
