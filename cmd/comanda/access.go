package main

import (
	"context"
	"path/filepath"
	"time"

	"comanda.internal/adapters/grpcapi/access"
)

// refreshEvery is how soon a changed certificate, and a token that was made or
// revoked, counts.
const refreshEvery = time.Second

// startAccess decides who may call the gRPC server.
func (a *app) startAccess(ctx context.Context) (*access.Authority, error) {
	cfg := a.cfg.Access
	if cfg.TokensFile == "" {
		cfg.TokensFile = filepath.Join(a.cmd.DataDir, tokensFile)
	}
	authority, err := access.New(cfg, access.Deps{Clock: a.now, Logger: a.logger, Registerer: a.registry})
	if err != nil {
		return nil, err
	}
	a.stack.spawn(ctx, "access", func(ctx context.Context) error {
		tick := time.NewTicker(refreshEvery)
		defer tick.Stop()
		return authority.Run(ctx, tick.C)
	})
	return authority, nil
}
