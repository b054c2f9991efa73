package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/checkout"
	"comanda.internal/eventstore/natsnode"
)

// configCmd looks at a configuration.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say everything that is wrong with a configuration file, and with the NATS server that it names."`
}

// configCheckCmd changes nothing, neither here nor on the server.
type configCheckCmd struct {
	Config  string `required:"" type:"path" help:"Configuration file."`
	NATSURL string `name:"nats-url" help:"The NATS server to look at instead of the file's."`
}

// Run checks the file, and then that no stream of the server stores what
// Comanda would answer.
func (c *configCheckCmd) Run(ctx context.Context, io *stdio) error {
	cfg, err := (&serveCmd{Config: c.Config, NATSURL: c.NATSURL}).configured()
	if err != nil {
		return err
	}
	if len(cfg.Sources) == 0 {
		return errNoSources
	}
	if cfg.NATS.URL != "" {
		if err := checkServer(ctx, cfg); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(io.out, "%s: nothing is wrong; sources: %d, endpoints: %d\n", c.Config, len(cfg.Sources), len(cfg.Endpoints))
	return err
}

func checkServer(ctx context.Context, cfg *config) (err error) {
	node, err := natsnode.Start(ctx, natsnode.Config{URL: cfg.NATS.URL, CredsFile: cfg.NATS.CredsFile})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	js, err := jetstream.New(node.Conn())
	if err != nil {
		return err
	}
	return checkout.CheckOverlap(ctx, js)
}
