package webhook

import (
	"errors"
	"fmt"
	"time"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// Config bounds what one server takes. The zero value is the defaults.
type Config struct {
	// MaxBody is the greatest body in bytes: 256 KiB, and never more.
	MaxBody int `yaml:"max_body"`
	// MaxInFlight is how many requests are worked on at once; more are
	// answered 429. Default 4096.
	MaxInFlight int `yaml:"max_in_flight"`
	// RecordTimeout bounds the wait for the log, after which the answer is 503;
	// it goes on when the sender hangs up. Default 8 s: Aprovei waits for 10.
	RecordTimeout time.Duration `yaml:"record_timeout"`
	// RetryAfter is the wait that a 503 asks for, in whole seconds. Default 5 s.
	RetryAfter time.Duration `yaml:"retry_after"`

	// The server's own timeouts: 5 s for the header, 10 s for the whole
	// request, 30 s until the answer is written, 2 min between two requests.
	ReadHeaderTimeout time.Duration `yaml:"read_header_timeout"`
	ReadTimeout       time.Duration `yaml:"read_timeout"`
	WriteTimeout      time.Duration `yaml:"write_timeout"`
	IdleTimeout       time.Duration `yaml:"idle_timeout"`
	// MaxHeaderBytes bounds request line and headers. Default 16 KiB.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
}

const maxBody = 256 << 10

func (c *Config) setDefaults() {
	setDefault(&c.MaxBody, maxBody)
	setDefault(&c.MaxInFlight, 4096)
	setDefault(&c.RecordTimeout, 8*time.Second)
	setDefault(&c.RetryAfter, 5*time.Second)
	setDefault(&c.ReadHeaderTimeout, 5*time.Second)
	setDefault(&c.ReadTimeout, 10*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
	setDefault(&c.IdleTimeout, 2*time.Minute)
	setDefault(&c.MaxHeaderBytes, 16<<10)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate joins everything that is wrong with c, each naming its field.
func (c Config) Validate() error {
	c.setDefaults()
	var errs []error
	if c.MaxBody < 1 || c.MaxBody > maxBody {
		errs = append(errs, fmt.Errorf("max_body: %d, want 1 to %d bytes", c.MaxBody, maxBody))
	}
	for _, f := range []struct {
		name  string
		value int
	}{{"max_in_flight", c.MaxInFlight}, {"max_header_bytes", c.MaxHeaderBytes}} {
		if f.value < 1 {
			errs = append(errs, fmt.Errorf("%s: %d, want at least 1", f.name, f.value))
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"record_timeout", c.RecordTimeout},
		{"retry_after", c.RetryAfter},
		{"read_header_timeout", c.ReadHeaderTimeout},
		{"read_timeout", c.ReadTimeout},
		{"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %s, want a positive duration", f.name, f.value))
		}
	}
	if c.WriteTimeout > 0 && c.WriteTimeout < c.ReadTimeout+c.RecordTimeout {
		errs = append(errs, fmt.Errorf(
			"write_timeout: %s, want at least read_timeout and record_timeout together (%s)", c.WriteTimeout, c.ReadTimeout+c.RecordTimeout))
	}
	return errors.Join(errs...)
}

// SourceConfig is one entry of `sources` in the configuration file. A codec's
// own settings stand beside it; embed it inline.
type SourceConfig struct {
	ID       domain.SourceID `yaml:"id"`       // the {source} in the path: [a-z0-9-]{1,40}
	Provider string          `yaml:"provider"` // aprovei, vega, onprofit, voxuy, iset or comanda
	Tenant   domain.TenantID `yaml:"tenant"`   // [a-z0-9-]{1,40}
	Account  string          `yaml:"account"`  // the account at the provider; may be empty
	Auth     Auth            `yaml:"auth"`
	Rate     Rate            `yaml:"rate"`
}

// Rate bounds how many authenticated requests of one source are worked on.
type Rate struct {
	PerSecond float64 `yaml:"per_second"` // 0: no bound
	Burst     int     `yaml:"burst"`      // 0: one second's worth, at least 1
}

// Validate joins everything that is wrong with c, each naming source and field.
func (c *SourceConfig) Validate() error {
	var errs []error
	if !c.ID.Valid() {
		errs = append(errs, fmt.Errorf("id: %q, want 1 to 40 of a-z, 0-9 and hyphen", string(c.ID)))
	}
	if _, ok := provider.Canonical(c.Provider); !ok {
		errs = append(errs, fmt.Errorf("provider: %q, want aprovei, vega, onprofit, voxuy, iset or comanda", c.Provider))
	}
	if !c.Tenant.Valid() {
		errs = append(errs, fmt.Errorf("tenant: %q, want 1 to 40 of a-z, 0-9 and hyphen", string(c.Tenant)))
	}
	if c.Rate.PerSecond < 0 {
		errs = append(errs, fmt.Errorf("rate.per_second: %g, want 0 or more", c.Rate.PerSecond))
	}
	if c.Rate.Burst < 0 {
		errs = append(errs, fmt.Errorf("rate.burst: %d, want 0 or more", c.Rate.Burst))
	}
	errs = append(errs, c.Auth.mistakes()...)
	for i, err := range errs {
		errs[i] = fmt.Errorf("source %q: %w", string(c.ID), err)
	}
	return errors.Join(errs...)
}

// Source is what c becomes with its codec.
func (c *SourceConfig) Source(codec provider.Codec) Source {
	return Source{
		Source: &intake.Source{ID: c.ID, Provider: c.Provider, Tenant: c.Tenant, Account: c.Account, Codec: codec},
		Auth:   c.Auth, Rate: c.Rate,
	}
}

// Source is a way in over HTTP.
type Source struct {
	*intake.Source

	Auth Auth
	Rate Rate
}
