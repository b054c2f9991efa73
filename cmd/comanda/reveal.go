package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/go-json-experiment/json"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/adapters/export"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode"
	"comanda.internal/eventstore/privacy"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// revealFlags are those of an export that opens personal data.
type revealFlags struct {
	Reveal  string `env:"-" help:"Also write a table of personal data, because of REASON, which is recorded for ever, with your name, before anything is opened." placeholder:"REASON"`
	KeyFile string `type:"path" help:"Key-encryption key for --reveal; none: the data directory's." placeholder:"FILE"`
}

// actionReveal is the action of an audit record of an export.
const actionReveal = "reveal"

// reveal opens the keys; nil when nothing is to be revealed.
func (f *exportFlags) reveal(ctx context.Context, node *natsnode.Node, log *eventstore.Log, out *stdio) (*export.Reveal, error) {
	if f.Reveal == "" {
		return nil, nil //nolint:nilnil // nothing to reveal
	}
	actor, err := actorNow()
	if err != nil {
		return nil, err
	}
	vault, err := privacy.Open(ctx, node.Conn(), privacy.Config{
		Existing: true, KeyFile: cmp.Or(f.KeyFile, filepath.Join(f.DataDir, keyFile)),
	})
	if err != nil {
		return nil, err
	}
	return &export.Reveal{Vault: vault, Reason: f.Reveal, Record: func(ctx context.Context, what export.Scope) (export.Revealed, error) {
		filter, err := json.Marshal(what.Filter, json.Deterministic(true))
		if err != nil {
			return export.Revealed{}, fmt.Errorf("encode the filters: %w", err)
		}
		at := out.now().UTC()
		record := &comandav1.AuditRecord{
			Action: actionReveal, At: timestamppb.New(at), Actor: actor, Reason: what.Reason,
			Reveal: &comandav1.Reveal{
				Tables: what.Tables, Format: what.Format, Filter: string(filter),
				After: what.After.String(), Through: what.Through.String(), Events: what.Events,
			},
		}
		sequence, err := log.Audit(ctx, record)
		if err != nil {
			return export.Revealed{}, err
		}
		return export.Revealed{Sequence: sequence, AuditID: record.GetAuditId(), At: at, Actor: actor, Reason: what.Reason}, nil
	}}, nil
}

// actorNow is who runs this, as "maria@balcao-2".
func actorNow() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("who reveals: %w", err)
	}
	u, err := user.Current()
	if err != nil { // no entry for the user id, as in a container
		return strconv.Itoa(os.Getuid()) + "@" + host, nil //nolint:nilerr // the number is a name, too
	}
	return u.Username + "@" + host, nil
}

// logAuditCmd shows what operators did.
type logAuditCmd struct {
	outputFlag
	sourceFlags
}

// Run prints every audit record, the oldest first.
func (c *logAuditCmd) Run(ctx context.Context, out *stdio) (err error) {
	node, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Existing: true, Inspect: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	type a = *comandav1.AuditRecord
	p := newPrinter(out.out, c.Output, []column[a]{
		{name: "at", text: func(m a) string { return timeText(m.GetAt()) }},
		{name: "audit_id", text: a.GetAuditId},
		{name: "action", text: a.GetAction},
		{name: "actor", text: a.GetActor},
		{name: "reason", text: a.GetReason},
		{name: "events", text: func(m a) string { return strconv.FormatUint(m.GetReveal().GetEvents(), 10) }},
		{name: "filter", text: func(m a) string { return m.GetReveal().GetFilter() }},
	})
	if err := log.Audited(ctx, func(_ uint64, m *comandav1.AuditRecord) error { return p.print(m) }); err != nil {
		return err
	}
	return p.flush()
}
