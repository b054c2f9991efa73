package notify

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"comanda.internal/adapters/notify/egress"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// The kinds of endpoints.
const (
	KindHTTP  = "http"
	KindVoxuy = "voxuy"
)

// What becomes of an order whose delivery used up its schedule.
const (
	OnExhaustedHold = "hold"
	OnExhaustedSkip = "skip"
)

// Endpoint is a destination that wants events, as the configuration has it
// (DESIGN section 12). Secrets may come from files: cmd reads a *_file into its twin.
type Endpoint struct {
	// ID is [a-z0-9-]{1,40}; it names the durables, so a new id is a new endpoint.
	ID     string          `yaml:"id"`
	Tenant domain.TenantID `yaml:"tenant"`
	// Kind is http or voxuy.
	Kind string `yaml:"kind"`

	// URL may hold credentials, so all of it is a secret.
	URL     domain.Secret `yaml:"url"`
	URLFile string        `yaml:"url_file"`

	// Secrets sign what http endpoints get, each "whsec_" and base64. While they
	// are changed there are two, and two signatures.
	Secrets     []domain.Secret `yaml:"secrets"`
	SecretsFile string          `yaml:"secrets_file"` // one a line

	// Events are patterns of [delivery.ParseFilter]. None: order.*, and for
	// voxuy also the facts it has a status for.
	Events []string `yaml:"events"`

	// AllowPrivate permits loopback and private addresses, and http: development only.
	AllowPrivate bool `yaml:"allow_private"`
	// OnExhausted is hold (the default) or skip.
	OnExhausted string `yaml:"on_exhausted"`
	// Timeout bounds one attempt; 0 is 15 s.
	Timeout time.Duration `yaml:"timeout"`
	// Concurrency bounds attempts at one time; 0 is 16.
	Concurrency int `yaml:"concurrency"`

	// The rest is for voxuy.
	Plan         Plan          `yaml:"plan"`
	APIToken     domain.Secret `yaml:"api_token"`
	APITokenFile string        `yaml:"api_token_file"`
	// DontCancelPrevious keeps the messages that Voxuy scheduled before.
	DontCancelPrevious bool `yaml:"dont_cancel_previous"`
}

// Plan says which of Voxuy's plans an order goes to.
type Plan struct {
	Default string `yaml:"default"`
	// ByProduct maps a product code to a plan; the order's first line that is
	// in it decides.
	ByProduct map[string]string `yaml:"by_product"`
}

const (
	defaultTimeout     = 15 * time.Second
	defaultConcurrency = 16
	maxTimeout         = time.Minute
	maxConcurrency     = 256
)

// voxuyEvents are what a voxuy endpoint is told when its events are not given:
// the sink skips those of them that it has no status for.
var voxuyEvents = []string{
	"order.*", "fact.pending", "fact.refund_requested", "fact.abandoned", "fact.flagged", "fact.shipping", "fact.details",
}

// SetDefaults fills what was left out.
func (e *Endpoint) SetDefaults() {
	if len(e.Events) == 0 {
		e.Events = []string{"order.*"}
		if e.Kind == KindVoxuy {
			e.Events = voxuyEvents
		}
	}
	if e.OnExhausted == "" {
		e.OnExhausted = OnExhaustedHold
	}
	if e.Timeout == 0 {
		e.Timeout = defaultTimeout
	}
	if e.Concurrency == 0 {
		e.Concurrency = defaultConcurrency
	}
}

// Rules are the endpoint's, for [delivery.Rules.Next].
func (e *Endpoint) Rules() (delivery.Rules, error) {
	filter, err := delivery.ParseFilter(e.Events)
	return delivery.Rules{Tenant: e.Tenant, Filter: filter}, err
}

var idForm = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Validate joins all mistakes. It holds before and after [Endpoint.SetDefaults],
// and before the files were read: a named file stands for its secret.
func (e *Endpoint) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, domain.Errorf(domain.Invalid, format, args...)) }
	if !idForm.MatchString(e.ID) {
		bad("id: %q must be 1 to 40 of a-z, 0-9 and -", e.ID)
	}
	if !e.Tenant.Valid() {
		bad("tenant: %q must be 1 to 40 of a-z, 0-9 and -", e.Tenant)
	}
	if e.OnExhausted != "" && e.OnExhausted != OnExhaustedHold && e.OnExhausted != OnExhaustedSkip {
		bad("on_exhausted: %q is neither hold nor skip", e.OnExhausted)
	}
	if e.Timeout < 0 || e.Timeout > maxTimeout {
		bad("timeout: %s is not within 0 and %s", e.Timeout, maxTimeout)
	}
	if e.Concurrency < 0 || e.Concurrency > maxConcurrency {
		bad("concurrency: %d is not within 0 and %d", e.Concurrency, maxConcurrency)
	}
	if _, err := e.Rules(); err != nil {
		errs = append(errs, err)
	}
	if err := e.validateURL(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, e.validateKind()...)
	for i, err := range errs {
		errs[i] = fmt.Errorf("endpoint %q: %w", e.ID, err) // each says where
	}
	return errors.Join(errs...)
}

func (e *Endpoint) validateURL() error {
	if !e.URL.IsZero() {
		return egress.CheckURL(e.URL.Reveal(), e.AllowPrivate)
	}
	if e.URLFile == "" {
		return domain.Errorf(domain.Invalid, "url: missing; give url or url_file")
	}
	return nil
}

func (e *Endpoint) validateKind() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, domain.Errorf(domain.Invalid, format, args...)) }
	switch e.Kind {
	case KindHTTP:
		if len(e.Secrets) == 0 && e.SecretsFile == "" {
			bad("secrets: missing; give secrets or secrets_file")
		}
	case KindVoxuy:
		if e.APIToken.IsZero() && e.APITokenFile == "" {
			bad("api_token: missing; give api_token or api_token_file")
		}
		if e.Plan.Default == "" {
			bad("plan.default: missing")
		}
	default:
		bad("kind: %q is neither http nor voxuy", e.Kind)
	}
	return errs
}
