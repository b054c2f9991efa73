package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"comanda.internal/domain"
)

// serveCmd runs everything.
type serveCmd struct {
	HTTP       string `name:"http" default:"127.0.0.1:8080" help:"Webhooks: host:port, port 0 for any free one, or none."`
	GRPC       string `name:"grpc" default:"127.0.0.1:9090" help:"gRPC: likewise."`
	Ops        string `name:"ops" default:"127.0.0.1:8081" help:"/metrics, /livez and /readyz: likewise."`
	NATSListen string `name:"nats-listen" default:"127.0.0.1:4222" help:"The embedded NATS server, for the checkout: likewise."`
	DataDir    string `default:"./comanda-data" type:"path" help:"Where everything is kept."`
	Config     string `type:"path" help:"Configuration file; none: a demo source for each provider."`
	NATSURL    string `name:"nats-url" help:"A NATS server of yours instead of the embedded one."`
	Partitions int    `help:"Partitions of a new log; 0: 1 embedded, 8 on a cluster."`
	KeyFile    string `type:"path" help:"Key-encryption key; none: made in the data directory."`
	LogLevel   string `enum:"debug,info,warn,error" default:"info" help:"Least level to log: debug, info, warn or error."`
	Pprof      bool   `help:"Serve /debug/pprof on the ops address."`
	PprofLocks bool   `name:"pprof-locks" help:"Record who waits for locks, for /debug/pprof/mutex and block: costs speed."`

	UnsafeNoFsync   bool `name:"unsafe-no-fsync" help:"Acknowledge from memory: a power cut loses acknowledged events. For benchmarks."`
	UnsafeNoSealing bool `name:"unsafe-no-sealing" help:"Store personal data in the clear. For tests of the search for leaks."`
}

// readyLine begins the line that says that webhooks are taken.
const readyLine = "comanda is ready"

// Run serves until ctx ends, which is no error.
func (c *serveCmd) Run(ctx context.Context, out *stdio) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	a := newApp(c, cfg, out)
	err = a.start(ctx)
	if err == nil {
		a.stack.spawn(ctx, "garbage's room", heap.makeRoom) // not for a start's own
		err = c.greet(out.out, a.addr)
	}
	if err == nil {
		select {
		case <-ctx.Done():
			a.logger.InfoContext(ctx, "stopping")
		case err = <-a.stack.failed:
			a.logger.ErrorContext(ctx, "a part failed; stopping", "error", err)
		}
	}
	return errors.Join(err, a.stack.stop(ctx))
}

// load makes the data directory and reads the configuration, the demo's when
// none is named; flags and environment win over the file.
func (c *serveCmd) load() (*config, error) {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return nil, usagef("--data-dir: %v", err)
	}
	if c.Config == "" {
		path, err := demoConfig(c.DataDir)
		if err != nil {
			return nil, fmt.Errorf("make the demo's configuration: %w", err)
		}
		c.Config = path
	}
	return c.configured()
}

// configured is the configuration file with what flags and environment say; an
// empty one when no file is named.
func (c *serveCmd) configured() (*config, error) {
	cfg := &config{}
	if c.Config != "" {
		var err error
		if cfg, err = loadConfig(c.Config); err != nil {
			return nil, err
		}
	}
	if c.NATSURL != "" {
		cfg.NATS.URL = c.NATSURL
	}
	if c.Partitions != 0 {
		cfg.NATS.Partitions = c.Partitions
	}
	if cfg.NATS.Replicas == 0 {
		cfg.NATS.Replicas = 1
		if cfg.NATS.URL != "" {
			cfg.NATS.Replicas = 3
		}
	}
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.DataDir, keyFile)
	}
	return cfg, nil
}

func (c *serveCmd) logger(w io.Writer) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.LogLevel)) != nil {
		level = slog.LevelInfo // kong's enum lets nothing else through
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// greet says where what is, and what to try.
func (c *serveCmd) greet(w io.Writer, a addresses) error {
	try := ""
	if filepath.Base(c.Config) == demoFile {
		try = fmt.Sprintf(`
Try, in another terminal:
  comanda trigger aprovei pending --order TRY-1%[1]s
  comanda trigger aprovei approved --order TRY-1%[1]s
  comanda orders list%[1]s
  comanda orders watch%[1]s
Sources and their tokens are in %[2]s.
`, c.dataDirFlag(), c.Config)
	}
	_, err := fmt.Fprintf(w, "%s: webhooks %s, gRPC %s, ops %s, NATS %s, data %s\n%s",
		readyLine, orNone(a.HTTP), orNone(a.GRPC), orNone(a.Ops), orNone(a.NATS), c.DataDir, try)
	return err
}

// dataDirFlag is what a client command needs to find this server.
func (c *serveCmd) dataDirFlag() string {
	if here, err := filepath.Abs("comanda-data"); err == nil && here == c.DataDir {
		return ""
	}
	return " --data-dir " + c.DataDir
}

func orNone(addr string) string {
	if addr == "" {
		return addrNone
	}
	return addr
}

// addrNone closes a listener.
const addrNone = "none"

var errNoSources = domain.Errorf(domain.Invalid, "the configuration has no sources: nothing could come in")
