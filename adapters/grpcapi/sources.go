package grpcapi

import (
	"context"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Source is a configured way in, without its secrets.
type Source struct {
	ID        domain.SourceID
	Provider  string // as it is configured
	Canonical string // as it stands in an order's identity
	Tenant    domain.TenantID
	Account   string
	Auth      SourceAuth
}

// SourceAuth is how a source's webhooks are authenticated.
type SourceAuth struct {
	Type, Header, Hash, Encoding string
	Live                         int // secrets
}

const sourceResource = "comanda.v1.Source"

// sources are those that are configured, by id.
type sources []Source

// find is the source that the caller may know of.
func (s sources) find(ctx context.Context, id string) (*Source, error) {
	for i := range s {
		if string(s[i].ID) == id && access.From(ctx).AllowsTenant(s[i].Tenant) {
			return &s[i], nil
		}
	}
	return nil, notConfigured(id)
}

// identity is the order that a source names so, whether it exists or not.
func (s sources) identity(ctx context.Context, named *comandav1.SourceOrder) (domain.Identity, error) {
	source, err := s.find(ctx, named.GetSource())
	if err != nil {
		return domain.Identity{}, err
	}
	return domain.Identity{
		Tenant: source.Tenant, Provider: source.Canonical, Account: source.Account, ProviderOrderID: named.GetProviderOrderId(),
	}, nil
}

// sourceService answers from the configuration.
type sourceService struct {
	comandav1.UnimplementedSourceServiceServer

	sources sources
}

// GetSource implements [comandav1.SourceServiceServer].
func (s *sourceService) GetSource(ctx context.Context, req *comandav1.GetSourceRequest) (*comandav1.GetSourceResponse, error) {
	source, err := s.sources.find(ctx, req.GetSource())
	if err != nil {
		return nil, err
	}
	return &comandav1.GetSourceResponse{Source: source.message()}, nil
}

// ListSources implements [comandav1.SourceServiceServer].
func (s *sourceService) ListSources(ctx context.Context, req *comandav1.ListSourcesRequest) (*comandav1.ListSourcesResponse, error) {
	var check checker
	tenant := check.tenant(req.GetTenant())
	if err := check.err(); err != nil {
		return nil, err
	}
	out := &comandav1.ListSourcesResponse{}
	for i := range s.sources {
		source := &s.sources[i]
		if (tenant == "" || source.Tenant == tenant) && access.From(ctx).AllowsTenant(source.Tenant) {
			out.Sources = append(out.Sources, source.message())
		}
	}
	return out, nil
}

func (s *Source) message() *comandav1.Source {
	return &comandav1.Source{
		Source: string(s.ID), Provider: s.Provider, Tenant: string(s.Tenant), Account: s.Account,
		Auth: &comandav1.SourceAuth{
			Type: s.Auth.Type, Header: s.Auth.Header, Hash: s.Auth.Hash, Encoding: s.Auth.Encoding,
			LiveSecrets: uint32(s.Auth.Live), //nolint:gosec // a handful
		},
	}
}
