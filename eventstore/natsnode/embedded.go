package natsnode

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/crypto/bcrypt"

	"comanda.internal/domain"
)

const (
	coreUser     = "core"
	checkoutUser = "checkout"
)

// accounts is the whole authority of an embedded server: core and its front, each with a
// password's hash, and every grant with its own.
func accounts(core, front string, grants []Grant, hashes []string) string {
	var exports, blocks strings.Builder
	for i := range grants {
		exports.WriteString(grants[i].exports())
		blocks.WriteString(grants[i].block(coreUser, strconv.Quote(hashes[i])))
	}
	return fmt.Sprintf("accounts {\n  %s {\n    jetstream: enabled\n    users: [\n      {user: %s, password: %q}\n%s    ]\n    exports: [\n%s    ]\n  }\n%s}\n",
		coreUser, coreUser, core, frontBlock(strconv.Quote(front)), exports.String(), blocks.String())
}

// embedded is a server in this process and the directory it holds.
type embedded struct {
	server  *server.Server
	lock    *os.File
	core    credentials
	front   credentials // in no file: new at each start
	dir     string
	staging staging
}

func startEmbedded(ctx context.Context, cfg *Config) (*embedded, error) {
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	e := &embedded{lock: lock, dir: cfg.DataDir}
	if err := e.start(ctx, cfg); err != nil {
		_ = e.stop(cfg.StopTimeout)
		return nil, err
	}
	return e, nil
}

func (e *embedded) start(ctx context.Context, cfg *Config) error {
	core, err := loadOrMake(e.dir, CoreCredentials, coreUser)
	if err != nil {
		return err
	}
	grants := cfg.grants()
	users := make([]credentials, len(grants))
	for i, g := range grants {
		if users[i], err = loadOrMake(e.dir, g.file, g.User); err != nil {
			return err
		}
	}
	e.core, e.front = core, newFront()
	opts, err := options(cfg, core, e.front, grants, users)
	if err != nil {
		return err
	}
	if err := e.finishMeta(cfg.Logger); err != nil {
		return err
	}
	left := e.leftStaging()
	if e.server, err = server.NewServer(opts); err != nil {
		return fmt.Errorf("make the nats server: %w", err)
	}
	e.server.SetLoggerV2(serverLog{cfg.Logger.With("component", "nats")}, false, false, false)
	e.server.Start()
	if err := e.awaitReady(ctx, cfg); err != nil {
		return err
	}
	if err := removeAll(left); err != nil {
		return fmt.Errorf("remove what an earlier run staged: %w", err)
	}
	if err := e.publishAddress(core, CoreCredentials); err != nil {
		return err
	}
	for i, g := range grants {
		if err := e.publishAddress(users[i], g.file); err != nil {
			return err
		}
	}
	return nil
}

// options are the server's. It is given hashes, as it asks for: their cost is the
// least, since the passwords are random.
func options(cfg *Config, core, front credentials, grants []Grant, users []credentials) (*server.Options, error) {
	opts := &server.Options{}
	coreHash, err := hashOf(core)
	if err != nil {
		return nil, err
	}
	frontHash, err := hashOf(front)
	if err != nil {
		return nil, err
	}
	hashes := make([]string, len(users))
	for i := range users {
		if hashes[i], err = hashOf(users[i]); err != nil {
			return nil, err
		}
	}
	if err := opts.ProcessConfigString(accounts(coreHash, frontHash, grants, hashes)); err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	host, port, err := cfg.hostPort()
	if err != nil {
		return nil, err
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	opts.ServerName = "comanda"
	opts.Host, opts.Port = host, port
	opts.DontListen = cfg.Listen == None
	opts.JetStream = true
	opts.StoreDir = filepath.Join(cfg.DataDir, storeDir)
	opts.SyncAlways = !cfg.UnsafeNoFsync
	opts.NoSigs = true
	return opts, nil
}

// as logs in as c, in this process.
func (e *embedded) as(c credentials) []nats.Option {
	return []nats.Option{nats.InProcessServer(e.server), nats.UserInfo(c.User, c.Password)}
}

func hashOf(c credentials) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(c.Password), bcrypt.MinCost)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return string(hash), nil
}

// awaitReady waits until clients can connect. Recovery of the streams is part
// of Start, before it.
func (e *embedded) awaitReady(ctx context.Context, cfg *Config) error {
	const step = 50 * time.Millisecond
	for waited := time.Duration(0); waited < cfg.StartTimeout; waited += step {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("start the nats server: %w", err)
		}
		if e.server.ReadyForConnections(step) {
			return nil
		}
		if !e.server.Running() {
			break // it gave up: an address in use, a store it cannot write
		}
	}
	return domain.Errorf(domain.Unavailable,
		"nats server did not start on %s: is the address in use, or the data directory not writable? Its log says more", cfg.Listen)
}

// publishAddress writes where the server listens into a credentials file, so that
// it is all that a client needs.
func (e *embedded) publishAddress(c credentials, file string) error {
	url := e.url()
	if c.URL == url {
		return nil
	}
	c.URL = url
	return c.write(filepath.Join(e.dir, file))
}

// healthTries is how often the server says that it is not well before it is
// believed: it gives itself a millisecond to see that it has started, and on a busy machine
// now and then misses it (server/server.go, readyForConnections).
const healthTries = 5

// health is the server's own word on its streams. It also sees to it that there is
// somewhere to stage batches: where that cannot be, they are refused and their events sent
// singly, which is slower and no less right.
func (e *embedded) health() error {
	_ = e.staging.keep()
	h := e.server.Healthz(&server.HealthzOptions{Account: coreUser})
	for try := 1; try < healthTries && h.Error != ""; try++ {
		h = e.server.Healthz(&server.HealthzOptions{Account: coreUser})
	}
	switch {
	case h.StatusCode == http.StatusNotFound: // no stream was ever made
		return nil
	case h.Error != "":
		return domain.Errorf(domain.Unavailable, "nats server: %s", h.Error)
	default:
		return nil
	}
}

func (e *embedded) url() string {
	if addr := e.addr(); addr != "" {
		return "nats://" + addr
	}
	return ""
}

func (e *embedded) addr() string {
	if addr := e.server.Addr(); addr != nil {
		return addr.String()
	}
	return ""
}

// stop ends the server and gives the directory back. The lock stays when the
// server does not end in time: it may still write.
func (e *embedded) stop(timeout time.Duration) error {
	if e.server != nil {
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.server.Shutdown()
			e.server.WaitForShutdown()
		}()
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			return domain.Errorf(domain.Unavailable, "nats server still stopping after %s", timeout)
		}
	}
	var errs []error
	if err := e.staging.unstage(); err != nil {
		errs = append(errs, fmt.Errorf("remove what was staged in memory: %w", err))
	}
	if err := e.lock.Close(); err != nil {
		errs = append(errs, fmt.Errorf("unlock the data directory: %w", err))
	}
	return errors.Join(errs...)
}
