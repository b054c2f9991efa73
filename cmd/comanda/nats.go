package main

import (
	"context"
	"encoding/json"
	"fmt"

	"comanda.internal/domain"
	"comanda.internal/eventstore/natsnode"
)

// natsCmd is about the checkout's side of NATS.
type natsCmd struct {
	Permissions natsPermissionsCmd `cmd:"" help:"Print account, user and permissions of a source's checkout."`
}

// natsPermissionsCmd is the same for every server: the names are the source's.
type natsPermissionsCmd struct {
	Source  domain.SourceID `arg:"" help:"Source that the checkout is."`
	Account string          `help:"Comanda's own account on that server." default:"core"`
	Output  string          `short:"o" enum:"conf,json" default:"conf" help:"Output format: conf, of nats-server, or json."`
}

// passwordVar is where a server finds the password that the printed file has not.
const passwordVar = "COMANDA_CHECKOUT_PASSWORD"

// Run prints.
func (c *natsPermissionsCmd) Run(_ context.Context, io *stdio) error {
	if !c.Source.Valid() {
		return usagef("source %q: want 1 to 40 of a-z, 0-9 and hyphen", string(c.Source))
	}
	grant := natsnode.GrantOf(c.Source)
	if c.Output == formatJSON {
		text, err := json.MarshalIndent(grant, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(io.out, "%s\n", text)
		return err
	}
	_, err := fmt.Fprintf(io.out, "# %s may publish as %s and ask about orders of its tenant, and nothing else.\n# Its password is in the environment of nats-server: %s.\n%s",
		grant.User, c.Source, passwordVar, grant.Conf(c.Account, passwordVar))
	return err
}
