package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"comanda.internal/domain"
)

// Deps is what an Authority works with. Registerer may be nil.
type Deps struct {
	Clock      func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Authority decides who may call. It is safe for concurrent use.
type Authority struct {
	cfg     Config
	clock   func() time.Time
	logger  *slog.Logger
	audit   *rate.Limiter // of the audit log's lines
	denials *prometheus.CounterVec
	stale   prometheus.Gauge

	mu       sync.Mutex
	files    struct{ tokens, cert, key, clientCA watched }
	required bool // credentials are; once true, for ever
	tokens   map[[sha256.Size]byte]*grant
	holders  []*grant // as Config.Identities
	quotas   map[string]*quota
	cert     *tls.Certificate
	clients  *x509.CertPool                  // nil: no client certificates
	verified map[[sha256.Size]byte]*admitted // certificates that clients vouches for
	sessions map[*session]struct{}
}

// grant is what one token or identity may do.
type grant struct {
	token     *Token // nil: an identity
	allowance *Allowance
	quota     *quota // nil: without bounds
	subject   string // as "token:tok_x"
}

// quota is what is left of a grant's bounds.
type quota struct {
	calls   *rate.Limiter
	streams int // open
}

// anyone is who calls while no credentials are required.
var anyone = &grant{allowance: Everything(), subject: "anyone"}

// Lines of the audit log, beyond which denied calls are only counted.
const (
	auditPerSecond = 10
	auditBurst     = 100
)

// New reads the files that cfg names. Until there is a file of tokens, or an identity,
// everything is allowed to everyone; it is for [Authority.MayListen] to see that
// this is only so on loopback.
func New(cfg Config, deps Deps) (*Authority, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, domain.Errorf(domain.Invalid, "configure access: %w", err)
	}
	a := &Authority{
		cfg: cfg, clock: deps.Clock, logger: deps.Logger, audit: rate.NewLimiter(auditPerSecond, auditBurst),
		denials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "comanda_access_denied_calls_total", Help: "Denied gRPC calls, and those ended because access did, by reason.",
		}, []string{"reason"}),
		stale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "comanda_access_stale_bool", Help: "1 while a changed file of tokens or certificates cannot be read, and the former counts.",
		}),
		required: len(cfg.Identities) > 0,
		quotas:   map[string]*quota{}, sessions: map[*session]struct{}{},
	}
	for _, reason := range Reasons() {
		a.denials.WithLabelValues(string(reason))
	}
	if deps.Registerer != nil {
		for _, c := range []prometheus.Collector{a.denials, a.stale} {
			if err := deps.Registerer.Register(c); err != nil {
				return nil, fmt.Errorf("register the metrics of access: %w", err)
			}
		}
	}
	a.files.tokens.path, a.files.cert.path = cfg.TokensFile, cfg.TLS.CertFile
	a.files.key.path, a.files.clientCA.path = cfg.TLS.KeyFile, cfg.TLS.ClientCAFile
	for i := range cfg.Identities {
		id := &cfg.Identities[i]
		a.holders = append(a.holders, a.newGrant("identity:"+id.Name, newAllowance(id.Name, id.Scopes, id.Tenants)))
	}
	if err := a.Refresh(); err != nil {
		return nil, domain.Errorf(domain.Invalid, "%w", err)
	}
	return a, nil
}

func (a *Authority) newGrant(subject string, allowance *Allowance) *grant {
	q := a.quotas[subject]
	if q == nil {
		q = &quota{calls: rate.NewLimiter(rate.Limit(a.cfg.CallsPerSecond), a.cfg.CallsPerSecond)}
		a.quotas[subject] = q
	}
	return &grant{allowance: allowance, quota: q, subject: subject}
}

// Run refreshes with every tick until ctx ends.
func (a *Authority) Run(ctx context.Context, ticks <-chan time.Time) error {
	said := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticks:
		}
		err := a.Refresh()
		a.stale.Set(0)
		if err == nil {
			said = ""
			continue
		}
		a.stale.Set(1)
		if text := err.Error(); text != said { // once, not with every tick
			said = text
			a.logger.ErrorContext(ctx, "cannot read credentials; the former ones count", "error", err)
		}
	}
}

// Refresh reads again what changed, and ends the calls of those who lost their access
// since: whose token or authority is another or gone, or has expired. What cannot be
// read leaves the former credentials as they were, and is the error.
func (a *Authority) Refresh() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := errors.Join(a.readTokens(), a.readCertificate(), a.readClientCAs())
	now := a.clock()
	for s := range a.sessions {
		if !a.holds(&s.admitted, now) && !s.ended {
			s.ended = true
			a.denials.WithLabelValues(string(Withdrawn)).Inc()
			a.logger.Warn("ended a gRPC call: its access was withdrawn",
				"method", s.method, "caller", s.allowance.caller, "credentials", s.subject)
			s.cancel(unauthenticated(Withdrawn))
		}
	}
	return err
}

func (a *Authority) readTokens() error {
	text, changed, err := a.files.tokens.read()
	if err != nil {
		return fmt.Errorf("read the tokens: %w", err)
	}
	if !changed {
		return nil
	}
	var tokens []Token
	if text != nil {
		if tokens, err = parseTokens(text); err != nil {
			return fmt.Errorf("read the tokens in %s: %w", a.cfg.TokensFile, err)
		}
		a.required = true
	}
	next := make(map[[sha256.Size]byte]*grant, len(tokens))
	for i := range tokens {
		t := &tokens[i]
		var sum [sha256.Size]byte
		if _, err := hex.Decode(sum[:], []byte(t.Hash)); err != nil {
			return fmt.Errorf("read the tokens in %s: token %s: %w", a.cfg.TokensFile, t.ID, err)
		}
		g := a.tokens[sum]
		if g == nil || !reflect.DeepEqual(g.token, t) {
			g = a.newGrant("token:"+t.ID, newAllowance(t.Name, t.Scopes, t.Tenants))
			g.token = t
		}
		next[sum] = g
	}
	a.tokens = next
	a.files.tokens.take(text)
	return nil
}

func (a *Authority) readCertificate() error {
	if a.cfg.TLS.CertFile == "" {
		return nil
	}
	cert, certChanged, err := a.files.cert.read()
	key, keyChanged, keyErr := a.files.key.read()
	if err := errors.Join(err, keyErr); err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	if !certChanged && !keyChanged {
		return nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("read the certificate in %s and the key in %s: %w", a.cfg.TLS.CertFile, a.cfg.TLS.KeyFile, err)
	}
	a.cert = &pair
	a.files.cert.take(cert)
	a.files.key.take(key)
	return nil
}

func (a *Authority) readClientCAs() error {
	if a.cfg.TLS.ClientCAFile == "" {
		return nil
	}
	text, changed, err := a.files.clientCA.read()
	if err != nil {
		return fmt.Errorf("read the client authorities: %w", err)
	}
	if !changed {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bytes.TrimSpace(text)) {
		return fmt.Errorf("read the client authorities: %s holds no PEM certificate", a.cfg.TLS.ClientCAFile)
	}
	a.clients, a.verified = pool, map[[sha256.Size]byte]*admitted{}
	a.files.clientCA.take(text)
	return nil
}

// TLS is the listener's configuration; nil for none. It always has the certificates
// of now.
func (a *Authority) TLS() *tls.Config {
	if a.cfg.TLS.CertFile == "" {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			cfg := &tls.Config{
				MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*a.cert},
				SessionTicketsDisabled: true, // a resumed session would carry what was verified before a reload
			}
			if a.clients != nil {
				cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, a.clients
			}
			return cfg, nil
		},
	}
}

// MayListen refuses an address beyond loopback without TLS, or without credentials that
// anybody could have. The error's kind is Invalid. A nil Authority allows everything to
// everyone, so it may listen on loopback only.
func (a *Authority) MayListen(addr net.Addr) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return nil // what is no TCP stays on the machine
	}
	refuse := func(what string) error {
		return domain.Errorf(domain.Invalid, "gRPC on %s, beyond loopback: %s", addr, what)
	}
	if a == nil || a.cfg.TLS.CertFile == "" {
		return refuse("needs TLS: configure access.tls.cert_file and key_file")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.holders) > 0 {
		return nil
	}
	for _, g := range a.tokens {
		if g.token.live(a.clock()) {
			return nil
		}
	}
	return refuse("needs credentials: make a token with 'comanda tokens create', or configure access.identities")
}
