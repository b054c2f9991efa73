package main

import (
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/webhook"
)

// shown are the sources of c without their secrets.
func (c *config) shown() []grpcapi.Source {
	out := make([]grpcapi.Source, len(c.Sources))
	for i := range c.Sources {
		s := &c.Sources[i]
		canonical, _ := provider.Canonical(s.Provider)
		out[i] = grpcapi.Source{
			ID: s.ID, Provider: s.Provider, Canonical: canonical, Tenant: s.Tenant, Account: s.Account, Auth: shownAuth(&s.Auth),
		}
	}
	return out
}

func shownAuth(a *webhook.Auth) grpcapi.SourceAuth {
	out := grpcapi.SourceAuth{Type: string(a.Type), Header: a.Header, Live: len(a.Tokens) + len(a.Secrets)}
	if a.Type == webhook.AuthHMAC {
		out.Hash, out.Encoding = a.Hash, a.Encoding
		if out.Hash == "" {
			out.Hash = "sha256" // webhook's defaults
		}
		if out.Encoding == "" {
			out.Encoding = "hex"
		}
	}
	return out
}
