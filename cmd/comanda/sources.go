package main

import (
	"context"
	"strconv"

	"google.golang.org/grpc"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/webhook"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// sourcesCmd reads the configured sources of a running server.
type sourcesCmd struct {
	List sourcesListCmd `cmd:"" help:"List the configured sources, without their secrets."`
}

type sourcesListCmd struct {
	clientFlags
	outputFlag

	Tenant string `help:"Only this merchant's."`
}

// Run lists the sources.
func (c *sourcesListCmd) Run(ctx context.Context, io *stdio) error {
	return c.with(func(conn *grpc.ClientConn) error {
		ctx, cancel := c.unary(ctx)
		defer cancel()
		answer, err := comandav1.NewSourceServiceClient(conn).ListSources(ctx, &comandav1.ListSourcesRequest{Tenant: c.Tenant})
		if err != nil {
			return err
		}
		p := newPrinter(io.out, c.Output, sourceColumns())
		for _, s := range answer.GetSources() {
			if err := p.print(s); err != nil {
				return err
			}
		}
		return p.flush()
	})
}

func sourceColumns() []column[*comandav1.Source] {
	type s = *comandav1.Source
	return []column[s]{
		{name: "source", text: s.GetSource},
		{name: "provider", text: s.GetProvider},
		{name: "tenant", text: s.GetTenant},
		{name: "account", text: s.GetAccount},
		{name: "auth", text: func(m s) string { return m.GetAuth().GetType() }},
		{name: "live_secrets", text: func(m s) string { return strconv.FormatUint(uint64(m.GetAuth().GetLiveSecrets()), 10) }},
	}
}

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
