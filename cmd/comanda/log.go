package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"comanda.internal/adapters/groups"
	"comanda.internal/adapters/notify"
	"comanda.internal/domain"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/backup"
	"comanda.internal/eventstore/natsnode"
)

// logCmd is what is done to a log as a whole.
type logCmd struct {
	Backup      logBackupCmd      `cmd:"" help:"Copy the log, while it runs or stands, into a new directory."`
	Restore     logRestoreCmd     `cmd:"" help:"Make the log of a backup, in a data directory or on a NATS server that has none."`
	Mirror      logMirrorCmd      `cmd:"" help:"Keep a second copy of a running log up to date, or make a live log of it."`
	Audit       logAuditCmd       `cmd:"" help:"Show who revealed personal data, when and why."`
	Repartition logRepartitionCmd `cmd:"" help:"Make the log of a stopped server anew, with another number of partitions."`
}

// natsFlags name a NATS server that is not an embedded one.
type natsFlags struct {
	NATSURL   string `name:"nats-url" help:"NATS server of yours, instead of the data directory's."`
	NATSCreds string `name:"nats-creds" type:"path" help:"Credentials for it: .creds, or JSON as Comanda writes it."`
}

func (f *natsFlags) start(ctx context.Context) (*natsnode.Node, error) {
	return natsnode.Start(ctx, natsnode.Config{URL: f.NATSURL, CredsFile: f.NATSCreds})
}

// sourceFlags name a log that is copied.
type sourceFlags struct {
	DataDir string `default:"./comanda-data" type:"path" help:"Data directory: of a running server, or to be opened when none runs."`

	natsFlags
}

// connect reaches the server that runs on the data directory, or opens its files.
func (c *sourceFlags) connect(ctx context.Context) (*natsnode.Node, error) {
	if c.NATSURL != "" {
		return c.start(ctx)
	}
	dir := filepath.Join(c.DataDir, natsDir)
	if err := exists(dir); err != nil {
		return nil, err
	}
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if !errors.Is(err, natsnode.ErrInUse) {
		return node, err
	}
	url, err := natsnode.RunningURL(dir)
	if err != nil {
		return nil, err
	}
	return natsnode.Start(ctx, natsnode.Config{URL: url, CredsFile: filepath.Join(dir, natsnode.CoreCredentials)})
}

// logBackupCmd copies a log.
type logBackupCmd struct {
	Dir string `arg:"" type:"path" help:"Directory of the backup: one that is empty or not there yet."`

	sourceFlags
}

// Run copies the log of a running server through its JetStream API, that of a
// stopped one from its files.
func (c *logBackupCmd) Run(ctx context.Context, out *stdio) (err error) {
	node, err := c.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	b, err := takeBackup(ctx, node, c.Dir, out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.out, "backed up %d events of %s, epoch %d, in %d streams to %s\n", b.Events, b.Log, b.Epoch, len(b.Streams), c.Dir)
	return err
}

// takeBackup copies the log and what its notifications wait for.
func takeBackup(ctx context.Context, node *natsnode.Node, dir string, out *stdio) (*backup.Backup, error) {
	show := statusLine(out.err)
	defer show("")
	return backup.Create(ctx, node.Conn(), dir, backup.Options{
		Also: []string{"KV_" + notify.Bucket, "KV_" + groups.Bucket}, Clock: out.now, Progress: transferred(show, "copying"),
	})
}

func transferred(show func(string), doing string) func(string, int64) {
	return func(stream string, bytes int64) { show(fmt.Sprintf("%s %s: %d MiB", doing, stream, bytes>>20)) }
}

// logRestoreCmd makes a log from a backup.
type logRestoreCmd struct {
	Dir      string `arg:"" type:"existingdir" help:"Directory of the backup."`
	DataDir  string `default:"./comanda-data" type:"path" help:"Data directory to make: one that is empty or not there yet."`
	Replicas int    `help:"Replicas of the streams on --nats-url; 0: as in the backup."`

	natsFlags
}

// Run restores and then proves the log. It overwrites nothing.
func (c *logRestoreCmd) Run(ctx context.Context, out *stdio) error {
	b, err := backup.Open(c.Dir)
	if err != nil {
		return err
	}
	if c.NATSURL == "" {
		restored, err := restoreInto(ctx, b, c.DataDir, "", out)
		if err != nil {
			return err
		}
		return restored.print(out.out, "restored", c.DataDir)
	}
	node, err := c.start(ctx)
	if err != nil {
		return err
	}
	restored, err := restoreTo(ctx, node, b, c.Replicas, out)
	if err := errors.Join(err, node.Close()); err != nil {
		return err
	}
	return restored.print(out.out, "restored", c.NATSURL)
}

// logRepartitionCmd moves a log into other partitions.
type logRepartitionCmd struct {
	Dir        string `arg:"" type:"path" help:"Data directory to make: one that is empty or not there yet."`
	Partitions int    `required:"" help:"Partitions of the new log: a power of two up to 256."`
	DataDir    string `default:"./comanda-data" type:"path" help:"Data directory of the stopped server. It stays as it is."`
}

// Run makes the new log beside the old one, with the old one's key-encryption key.
func (c *logRepartitionCmd) Run(ctx context.Context, out *stdio) (err error) {
	dir := filepath.Join(c.DataDir, natsDir)
	if err := exists(dir); err != nil {
		return err
	}
	if err := vacant(c.Dir); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(c.Dir), filepath.Base(c.Dir)+".work-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	node, err := natsnode.Start(ctx, natsnode.Config{DataDir: dir, Listen: natsnode.None})
	if err != nil {
		return err
	}
	old, err := takeBackup(ctx, node, filepath.Join(work, "old"), out)
	if err := errors.Join(err, node.Close()); err != nil {
		return err
	}
	b, err := old.Repartition(ctx, filepath.Join(work, "new"), c.Partitions)
	if err != nil {
		return err
	}
	moved, err := restoreInto(ctx, b, c.Dir, filepath.Join(c.DataDir, keyFile), out)
	if err != nil {
		return err
	}
	return moved.print(out.out, "repartitioned", c.Dir)
}

// restored is a log that was made and proved.
type restored struct {
	log        string
	epoch      uint64
	partitions int
	report     *eventstore.Report
}

func (r *restored) print(w io.Writer, did, where string) error {
	_, err := fmt.Fprintf(w, "%s %d events of %d orders to %s: %s, epoch %d, %d partitions, 0 problems\n",
		did, r.report.Events, r.report.Orders, where, r.log, r.epoch, r.partitions)
	return err
}

// vacant refuses a data directory with anything in it.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if len(entries) > 0 {
		return domain.Errorf(domain.Exists, "%s is not empty: no log is overwritten", dir)
	}
	return ignoreNotExist(err)
}

// restoreInto makes a data directory: aside, and under its name when all is there,
// proved and durable. A key file that exists is copied into it; "" is none.
func restoreInto(ctx context.Context, b *backup.Backup, dir, key string, out *stdio) (_ *restored, err error) {
	if err := vacant(dir); err != nil {
		return nil, err
	}
	aside, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".restoring-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }() // nothing is left of it after the rename
	node, err := natsnode.Start(ctx, natsnode.Config{
		DataDir: filepath.Join(aside, natsDir), Listen: natsnode.None, UnsafeNoFsync: true, // synced below, once
	})
	if err != nil {
		return nil, err
	}
	made, err := restoreTo(ctx, node, b, 1, out)
	if err := errors.Join(err, node.Close()); err != nil {
		return nil, err
	}
	if err := copyKey(key, filepath.Join(aside, keyFile)); err != nil {
		return nil, err
	}
	if err := natsnode.SyncAll(aside); err != nil {
		return nil, err
	}
	if err := ignoreNotExist(os.Remove(dir)); err != nil { // only an empty one can be
		return nil, err
	}
	if err := os.Rename(aside, dir); err != nil {
		return nil, err
	}
	return made, natsnode.SyncAll(dir)
}

// copyKey copies the key-encryption key, if there is one at from.
func copyKey(from, to string) error {
	if from == "" {
		return nil
	}
	key, err := os.ReadFile(from) //nolint:gosec // in the operator's own data directory
	if err != nil {
		return ignoreNotExist(err)
	}
	return os.WriteFile(to, key, 0o600) //nolint:gosec // in the directory that the operator names
}

// restoreTo makes the streams of b on node's server, and proves the log.
func restoreTo(ctx context.Context, node *natsnode.Node, b *backup.Backup, replicas int, out *stdio) (_ *restored, err error) {
	show := statusLine(out.err)
	defer show("")
	if err := b.Restore(ctx, node.Conn(), backup.RestoreOptions{Replicas: replicas, Progress: transferred(show, "restoring")}); err != nil {
		return nil, err
	}
	log, err := eventstore.Open(ctx, node.Conn(), eventstore.Config{Existing: true, AfterCreate: node.SyncDirs})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	report, err := log.Verify(ctx, eventstore.VerifyOptions{
		Progress: func(events, total uint64) { show(fmt.Sprintf("verifying: %d of %d events", events, total)) },
	})
	if err != nil {
		return nil, err
	}
	if report.ProblemCount > 0 {
		p := report.Problems[0]
		return nil, domain.Errorf(domain.Corrupt, "the restored log does not hold together: %d problems, the first in partition %d at %d, order %s: %s: %s",
			report.ProblemCount, p.Partition, p.Sequence, p.OrderID, p.Rule, p.Detail)
	}
	if report.Events != b.Events {
		return nil, domain.Errorf(domain.Corrupt, "the restored log has %d events, the backup %d", report.Events, b.Events)
	}
	return &restored{log: log.Identity(), epoch: log.Epoch(), partitions: log.Partitions(), report: report}, nil
}
