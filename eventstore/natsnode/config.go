package natsnode

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"comanda.internal/domain"
)

// None is the Listen address that opens no listener: in-process only.
const None = "none"

// Config says which server. The zero value needs DataDir, or URL.
type Config struct {
	// DataDir is where the embedded server keeps everything. Created if absent.
	DataDir string
	// Listen is host:port of the embedded server; port 0 is any free one, [None]
	// is no listener, "" is 127.0.0.1:4222.
	Listen string
	// UnsafeNoFsync acknowledges from the page cache: a power failure loses up
	// to two minutes of acknowledged events. For benchmarks.
	UnsafeNoFsync bool

	// Checkouts are the sources that have an account of their own on the embedded
	// server, and a file with its credentials; none: one account may speak for every source.
	Checkouts []domain.SourceID

	// URL is a server of yours; "" runs the embedded one.
	URL string
	// CredsFile are the credentials for URL: a NATS .creds file, or a JSON file
	// as an embedded server writes it. "" connects without.
	CredsFile string

	// Logger takes the server's and the connection's log; nil discards it.
	Logger *slog.Logger
	// StartTimeout bounds the wait for a started or foreign server; 0 is 10 s.
	// A large log is recovered before this clock runs.
	StartTimeout time.Duration
	// StopTimeout bounds Close; 0 is 10 s.
	StopTimeout time.Duration
}

const (
	defaultListen  = "127.0.0.1:4222"
	defaultTimeout = 10 * time.Second
)

func (c *Config) setDefaults() {
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = defaultTimeout
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = defaultTimeout
	}
}

// Validate joins every mistake of c.
func (c *Config) Validate() error {
	var mistakes []error
	if c.URL == "" && c.DataDir == "" {
		mistakes = append(mistakes, errors.New("an embedded server needs a data directory"))
	}
	if c.URL == "" && c.CredsFile != "" {
		mistakes = append(mistakes, errors.New("creds_file is for a server of yours: set url as well"))
	}
	if c.URL != "" && c.UnsafeNoFsync {
		mistakes = append(mistakes, errors.New("fsync of a server of yours is its own setting (jetstream.sync_interval)"))
	}
	if _, _, err := c.hostPort(); c.URL == "" && err != nil {
		mistakes = append(mistakes, err)
	}
	for _, source := range c.Checkouts {
		if !source.Valid() {
			mistakes = append(mistakes, fmt.Errorf("checkout %q: want 1 to 40 of a-z, 0-9 and hyphen", string(source)))
		}
	}
	if c.URL != "" && len(c.Checkouts) > 0 {
		mistakes = append(mistakes, errors.New("checkouts are users of the embedded server; 'comanda nats permissions' prints those of a server of yours"))
	}
	return errors.Join(mistakes...)
}

// grants are those of the embedded server.
func (c *Config) grants() []Grant {
	if len(c.Checkouts) == 0 {
		return []Grant{grantOfAll().taken()}
	}
	grants := make([]Grant, len(c.Checkouts))
	for i, source := range c.Checkouts {
		grants[i] = GrantOf(source).taken()
	}
	return grants
}

// hostPort is the address to listen on; port 0 is any free one.
func (c *Config) hostPort() (string, int, error) {
	if c.Listen == None || c.Listen == "" {
		return "", 0, nil
	}
	host, text, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return "", 0, fmt.Errorf("nats listen address %q: %w", c.Listen, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("nats listen address %q: port is 0 to 65535", c.Listen)
	}
	return host, int(port), nil
}
