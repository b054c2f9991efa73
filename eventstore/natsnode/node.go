package natsnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
)

// Durability is what an acknowledgement of the server means.
type Durability int

// The durabilities.
const (
	// DurabilityUnknown is a server of yours, whose sync setting no client can
	// read: Comanda trusts that it says sync_interval: always.
	DurabilityUnknown Durability = iota
	// DurabilityFsync is on disk.
	DurabilityFsync
	// DurabilityNone is in the page cache.
	DurabilityNone
)

// String is the durability's word, as "fsync".
func (d Durability) String() string {
	switch d {
	case DurabilityFsync:
		return "fsync"
	case DurabilityNone:
		return "none"
	default:
		return "unknown"
	}
}

// Node is a server, or the way to one, and Comanda's own connection to it. It
// is safe for concurrent use.
type Node struct {
	cfg      Config
	embedded *embedded // nil: a server of yours
	conn     *nats.Conn

	mu    sync.Mutex
	conns []connection // in the order made; conn is the first

	closeOnce sync.Once
	closeErr  error
}

// connection is one connection and when it has ended.
type connection struct {
	conn   *nats.Conn
	closed chan struct{}
}

// Start runs the embedded server, or connects to cfg.URL, and returns when
// streams can be used. ctx bounds the start only; Close ends the node.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, domain.Errorf(domain.Invalid, "nats: %w", err)
	}
	cfg.setDefaults()
	n := &Node{cfg: cfg}
	if cfg.URL == "" {
		var err error
		if n.embedded, err = startEmbedded(ctx, &cfg); err != nil {
			return nil, err
		}
	}
	conn, err := n.Connect("comanda")
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.conn = conn
	n.warnOfDurability()
	return n, nil
}

func (n *Node) warnOfDurability() {
	switch n.Durability() {
	case DurabilityUnknown:
		n.cfg.Logger.Warn("the server's sync setting cannot be read: without jetstream.sync_interval always, " +
			"a power failure loses acknowledged events")
	case DurabilityNone:
		n.cfg.Logger.Warn("fsync is off: a power failure loses acknowledged events")
	case DurabilityFsync:
	}
}

// Conn is Comanda's connection, in the account core.
func (n *Node) Conn() *nats.Conn { return n.conn }

// Connect makes one more connection in the account core, which Close closes: a
// reader that replays the log should not share its connection with the acknowledgements
// of the writers.
func (n *Node) Connect(name string) (*nats.Conn, error) {
	switch {
	case n.embedded != nil:
		return n.connect(name, n.embedded.as(n.embedded.core)...)
	case n.cfg.CredsFile != "":
		creds, err := credsOption(n.cfg.CredsFile)
		if err != nil {
			return nil, err
		}
		return n.connect(name, creds)
	default:
		return n.connect(name)
	}
}

// ConnectFront is Connect for what handles messages of checkouts before they are in a
// stream: it may take them, pass them on, tell outcomes and answer, and nothing else in the
// account (see frontBlock). Only the embedded server has such a user.
func (n *Node) ConnectFront(name string) (*nats.Conn, error) {
	if n.embedded == nil {
		return nil, domain.Errorf(domain.Invalid, "a server of yours brings no message of a checkout to a front")
	}
	return n.connect(name, append(n.embedded.as(n.embedded.front), nats.CustomInboxPrefix(frontInbox))...)
}

// connect logs in with login, and has Close close what it makes.
func (n *Node) connect(name string, login ...nats.Option) (*nats.Conn, error) {
	closed := make(chan struct{})
	opts := append(connectOptions(n.cfg.Logger, name, n.cfg.StartTimeout),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	conn, err := n.dial(n.cfg.URL, append(opts, login...))
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "connect to nats: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = append(n.conns, connection{conn: conn, closed: closed})
	return conn, nil
}

// dial connects; to a server of yours, which may be starting as well, it tries
// until StartTimeout has passed.
func (n *Node) dial(url string, opts []nats.Option) (*nats.Conn, error) {
	const step = 100 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		conn, err := nats.Connect(url, opts...)
		if !errors.Is(err, nats.ErrNoServers) || n.embedded != nil || waited >= n.cfg.StartTimeout {
			return conn, err //nolint:wrapcheck // the caller wraps it
		}
		timer := time.NewTimer(step)
		<-timer.C
	}
}

// connectOptions reconnect for ever and buffer nothing meanwhile: what could
// not be sent is an error now, not a surprise later.
func connectOptions(log *slog.Logger, name string, timeout time.Duration) []nats.Option {
	log = log.With("component", "nats", "connection", name)
	return []nats.Option{
		nats.Name(name),
		nats.Timeout(timeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectBufSize(-1),
		nats.PingInterval(20 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("nats connection restored") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats connection error", "error", err)
		}),
	}
}

// Addr is the host:port of the embedded server's listener; "" without one.
func (n *Node) Addr() string {
	if n.embedded == nil {
		return ""
	}
	return n.embedded.addr()
}

// ClientURL is where clients connect: the embedded server's, or yours; "" when
// nothing listens.
func (n *Node) ClientURL() string {
	if n.embedded == nil {
		return n.cfg.URL
	}
	return n.embedded.url()
}

// Durability is what an acknowledgement means.
func (n *Node) Durability() Durability {
	switch {
	case n.embedded == nil:
		return DurabilityUnknown
	case n.cfg.UnsafeNoFsync:
		return DurabilityNone
	default:
		return DurabilityFsync
	}
}

// Health is why the embedded server cannot write what it is asked to: JetStream
// is off, or a stream met a write error, as on a full disk, after which the server
// answers no publish to it until it is started again. It is nil for a server of
// yours, which is not asked.
func (n *Node) Health() error {
	if n.embedded == nil {
		return nil
	}
	return n.embedded.health()
}

// Embedded reports whether the server runs in this process.
func (n *Node) Embedded() bool { return n.embedded != nil }

// Files is where the embedded server keeps the streams of the account core, by
// name; nil without one, as a server of yours may be anywhere.
func (n *Node) Files() func(stream string) string {
	if n.embedded == nil {
		return nil
	}
	return func(stream string) string { return filepath.Join(n.embedded.streamsDir(), stream) }
}

// SyncDirs makes the directories of new streams durable: call it after creating
// one. On a server of yours it does nothing.
func (n *Node) SyncDirs() error {
	if n.embedded == nil || n.cfg.UnsafeNoFsync {
		return nil
	}
	if err := syncDir(n.cfg.DataDir); err != nil {
		return err
	}
	return syncTree(filepath.Join(n.cfg.DataDir, storeDir))
}

// Close closes every connection and stops the embedded server. A second call
// answers as the first.
func (n *Node) Close() error {
	n.closeOnce.Do(func() { n.closeErr = n.close() })
	return n.closeErr
}

func (n *Node) close() error {
	n.mu.Lock()
	conns := n.conns
	n.mu.Unlock()
	timer := time.NewTimer(n.cfg.StopTimeout)
	defer timer.Stop()
	var errs []error
	for _, c := range conns {
		c.conn.Close()
		select {
		case <-c.closed:
		case <-timer.C:
			errs = append(errs, fmt.Errorf("nats connection %s still closing after %s", c.conn.Opts.Name, n.cfg.StopTimeout))
		}
	}
	if n.embedded != nil {
		errs = append(errs, n.embedded.stop(n.cfg.StopTimeout))
	}
	return errors.Join(errs...)
}
