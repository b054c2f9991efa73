package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"comanda.internal/adapters/checkout"
	"comanda.internal/adapters/grpcapi"
	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/provider"
	aprovei "comanda.internal/adapters/provider/aprovei"
	comandafmt "comanda.internal/adapters/provider/comanda"
	"comanda.internal/adapters/provider/iset"
	"comanda.internal/adapters/provider/onprofit"
	"comanda.internal/adapters/provider/voxuy"
	"comanda.internal/adapters/webhook"
	"comanda.internal/domain"
	"comanda.internal/eventstore/scrub"
	"comanda.internal/projections"
)

// config is the configuration file of DESIGN section 12. Each part is checked by
// the package that it configures.
type config struct {
	Tenants   []domain.TenantID  `yaml:"tenants"`
	Sources   []sourceConfig     `yaml:"sources"`
	Endpoints []notify.Endpoint  `yaml:"endpoints"`
	NATS      natsConfig         `yaml:"nats"`
	Webhook   webhook.Config     `yaml:"webhook"`
	Checkout  checkout.Config    `yaml:"checkout"`
	Views     projections.Config `yaml:"views"`
	Scrub     scrub.Config       `yaml:"scrub"`
	GRPC      grpcapi.Config     `yaml:"grpc"`
	Access    access.Config      `yaml:"access"`
}

// sourceConfig is a way in and the settings of its platform's codec.
type sourceConfig struct {
	webhook.SourceConfig `yaml:",inline"`

	OnProfit onprofit.Config `yaml:"onprofit"`
	ISET     iset.Config     `yaml:"iset"`
}

// natsConfig is the log's server and shape.
type natsConfig struct {
	URL        string `yaml:"url"`        // "": the embedded server
	CredsFile  string `yaml:"creds_file"` // for URL
	Replicas   int    `yaml:"replicas"`   // 0: 1 embedded, 3 on a cluster
	Partitions int    `yaml:"partitions"` // 0: 1 embedded, 8 on a cluster
	// Checkouts are the sources with a NATS user of their own; none: one user for all.
	Checkouts []domain.SourceID `yaml:"checkouts"`
}

// codec is the codec of the source's platform, with its settings.
func (c *sourceConfig) codec() (provider.Codec, error) {
	name, _ := provider.Canonical(c.Provider)
	switch name {
	case provider.Aprovei:
		return aprovei.New(aprovei.Config{})
	case provider.OnProfit:
		return onprofit.New(c.OnProfit)
	case provider.Voxuy:
		return voxuy.New(voxuy.Config{})
	case provider.ISET:
		return iset.New(c.ISET)
	case provider.Comanda:
		return comandafmt.New(comandafmt.Config{})
	default:
		return nil, fmt.Errorf("provider %q: not one that Comanda knows", c.Provider)
	}
}

// loadConfig reads a configuration file, and the secret files that it names. The
// error names every mistake at once.
func loadConfig(path string) (*config, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, usagef("--config: %v", err)
	}
	var c config
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return nil, usagef("%s: %v", path, err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, usagef("%s: more than one document: what follows the first would be ignored", path)
	}
	if err := errors.Join(c.loadSecrets(), c.validate()); err != nil {
		return nil, usagef("%s:\n%v", path, err)
	}
	return &c, nil
}

func (c *config) loadSecrets() error {
	var errs []error
	for i := range c.Sources {
		if err := c.Sources[i].Auth.Load(os.ReadFile); err != nil {
			errs = append(errs, prefixed(fmt.Sprintf("source %q", c.Sources[i].ID), err))
		}
	}
	for i := range c.Endpoints {
		if err := loadEndpoint(&c.Endpoints[i]); err != nil {
			errs = append(errs, prefixed(fmt.Sprintf("endpoint %q", c.Endpoints[i].ID), err))
		}
	}
	return errors.Join(errs...)
}

// loadEndpoint reads the files that stand for an endpoint's secrets.
func loadEndpoint(e *notify.Endpoint) error {
	var errs []error
	read := func(field, path string, use func(lines []string)) {
		if path == "" {
			return
		}
		text, err := os.ReadFile(path) //nolint:gosec // named by the operator's own file
		lines := strings.Fields(string(text))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", field, err))
		case len(lines) == 0:
			errs = append(errs, fmt.Errorf("%s: %s is empty", field, path))
		default:
			use(lines)
		}
	}
	read("url_file", e.URLFile, func(lines []string) { e.URL = domain.NewSecret(lines[0]) })
	read("api_token_file", e.APITokenFile, func(lines []string) { e.APIToken = domain.NewSecret(lines[0]) })
	read("secrets_file", e.SecretsFile, func(lines []string) {
		for _, line := range lines {
			e.Secrets = append(e.Secrets, domain.NewSecret(line))
		}
	})
	return errors.Join(errs...)
}

// validate joins every mistake.
func (c *config) validate() error {
	m := mistakes{tenants: map[domain.TenantID]bool{}, ids: map[string]bool{}, all: []error{
		prefixed("webhook", c.Webhook.Validate()), prefixed("checkout", c.Checkout.Validate()), prefixed("views", c.Views.Validate()),
		prefixed("scrub", c.Scrub.Validate()), prefixed("nats", c.NATS.validate()),
		prefixed("grpc", c.GRPC.Validate()), prefixed("access", c.Access.Validate()),
	}}
	for _, t := range c.Tenants {
		if !t.Valid() {
			m.add(fmt.Errorf("tenant %q: want 1 to 40 of a-z, 0-9 and hyphen", string(t)))
		}
		m.tenants[t] = true
	}
	c.validateSources(&m)
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		m.add(e.Validate())
		m.once(fmt.Sprintf("endpoint %q", e.ID))
		m.known(fmt.Sprintf("endpoint %q", e.ID), e.Tenant)
	}
	for i := range c.Access.Identities {
		for _, tenant := range c.Access.Identities[i].Tenants {
			if tenant != access.AnyTenant {
				m.known(fmt.Sprintf("access: identity %q", c.Access.Identities[i].Name), tenant)
			}
		}
	}
	return errors.Join(m.all...)
}

func (c *config) validateSources(m *mistakes) {
	for i := range c.Sources {
		s := &c.Sources[i]
		what := fmt.Sprintf("source %q", string(s.ID))
		m.add(s.Validate())
		if _, err := s.codec(); err != nil {
			m.add(prefixed(what, err))
		}
		m.once(what)
		if s.ID == domain.SourceAPI {
			m.add(fmt.Errorf("%s: the name is Comanda's own, of what is recorded with 'orders record'", what))
		}
		m.known(what, s.Tenant)
	}
	for _, id := range c.NATS.Checkouts {
		m.once(fmt.Sprintf("nats: checkout %q", string(id)))
		if !m.ids[fmt.Sprintf("source %q", string(id))] {
			m.add(fmt.Errorf("nats: checkouts: %q is not in sources", string(id)))
		}
	}
}

// mistakes are those of a configuration, and what it has named so far.
type mistakes struct {
	all     []error
	tenants map[domain.TenantID]bool
	ids     map[string]bool
}

func (m *mistakes) add(err error) { m.all = append(m.all, err) }

func (m *mistakes) known(what string, tenant domain.TenantID) {
	if !m.tenants[tenant] {
		m.add(fmt.Errorf("%s: tenant %q is not in tenants", what, string(tenant)))
	}
}

func (m *mistakes) once(what string) {
	if m.ids[what] {
		m.add(fmt.Errorf("%s stands twice", what))
	}
	m.ids[what] = true
}

// validate joins every mistake; the log itself looks at what flags say.
func (c *natsConfig) validate() error {
	var errs []error
	if p := c.Partitions; p < 0 || p > mostPartitions || p&(p-1) != 0 {
		errs = append(errs, fmt.Errorf("partitions: %d, want a power of two up to %d, or 0", p, mostPartitions))
	}
	if c.Replicas < 0 || c.Replicas > mostReplicas {
		errs = append(errs, fmt.Errorf("replicas: %d, want 0 to %d", c.Replicas, mostReplicas))
	}
	if c.URL != "" && len(c.Checkouts) > 0 {
		errs = append(errs, errors.New("checkouts: are users of the embedded server; for one of yours see 'comanda nats permissions'"))
	}
	return errors.Join(errs...)
}

const (
	mostPartitions = 256
	mostReplicas   = 5 // the server's own limit
)

// prefixed is err with the place that it is about; each one of joined errors
// has a line, so each says where.
func prefixed(place string, err error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) // of this error, not of one that it wraps
	if !ok || !strings.Contains(err.Error(), "\n") {
		return fmt.Errorf("%s: %w", place, err)
	}
	errs := slices.Clone(joined.Unwrap())
	for i := range errs {
		errs[i] = prefixed(place, errs[i])
	}
	return errors.Join(errs...)
}
