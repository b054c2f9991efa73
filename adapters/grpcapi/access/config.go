package access

import (
	"errors"
	"fmt"

	"comanda.internal/domain"
)

// Config tunes an [Authority]. The zero value is right.
type Config struct {
	// TokensFile is where tokens are kept; cmd's default is in the data directory.
	TokensFile string `yaml:"tokens_file"`
	// Identities are callers that show a client certificate; they need tls.client_ca_file.
	Identities []Identity `yaml:"identities"`
	// CallsPerSecond and Streams bound each token and each identity: calls begun, with
	// a burst of as many, and streams open at once, with waits for orders and purchases
	// among them. Defaults 1,000 and 1,024.
	CallsPerSecond int `yaml:"calls_per_second"`
	Streams        int `yaml:"streams"`
	// TLS is the listener's.
	TLS TLS `yaml:"tls"`
}

// Identity is what the holder of a certificate is given: of one with that name
// exactly, wildcards mean nothing. The first that fits counts.
type Identity struct {
	Name string `yaml:"name"` // for logs
	// SAN is a DNS name, URI or e-mail address of the certificate, CN its subject's common
	// name; one of them.
	SAN     string            `yaml:"san"`
	CN      string            `yaml:"cn"`
	Scopes  []Scope           `yaml:"scopes"`
	Tenants []domain.TenantID `yaml:"tenants"` // or "*" alone
}

// TLS names PEM files, which are read again when they change.
type TLS struct {
	CertFile string `yaml:"cert_file"` // with its chain; "": no TLS
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile has the authorities whose client certificates are accepted; "": none are.
	ClientCAFile string `yaml:"client_ca_file"`
}

func (c *Config) setDefaults() {
	if c.CallsPerSecond == 0 {
		c.CallsPerSecond = 1000
	}
	if c.Streams == 0 {
		c.Streams = 1024
	}
}

// Validate joins everything that is wrong with c. Files are not opened: that is New's.
func (c *Config) Validate() error {
	var errs []error
	if c.CallsPerSecond < 0 {
		errs = append(errs, fmt.Errorf("calls_per_second: %d, must not be negative", c.CallsPerSecond))
	}
	if c.Streams < 0 {
		errs = append(errs, fmt.Errorf("streams: %d, must not be negative", c.Streams))
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		errs = append(errs, errors.New("tls: cert_file and key_file belong together"))
	}
	if c.TLS.ClientCAFile != "" && c.TLS.CertFile == "" {
		errs = append(errs, errors.New("tls: client_ca_file needs cert_file and key_file"))
	}
	if len(c.Identities) > 0 && c.TLS.ClientCAFile == "" {
		errs = append(errs, errors.New("identities: need tls.client_ca_file"))
	}
	names := map[string]bool{}
	for i := range c.Identities {
		if err := c.Identities[i].validate(); err != nil {
			errs = append(errs, fmt.Errorf("identity %q: %w", c.Identities[i].Name, err))
		}
		if names[c.Identities[i].Name] {
			errs = append(errs, fmt.Errorf("identity %q stands twice", c.Identities[i].Name))
		}
		names[c.Identities[i].Name] = true
	}
	return errors.Join(errs...)
}

func (i *Identity) validate() error {
	err := checkGrant(i.Name, i.Scopes, i.Tenants)
	if (i.SAN == "") == (i.CN == "") {
		err = errors.Join(err, errors.New("san or cn: want one of them"))
	}
	return err
}
