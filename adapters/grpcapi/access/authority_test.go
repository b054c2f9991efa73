package access_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/adapters/grpcapi/access/accesstest"
	"comanda.internal/domain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an authority with a clock of its own and a file of tokens.
type world struct {
	*access.Authority

	t        *testing.T
	store    access.Store
	now      time.Time
	logged   bytes.Buffer
	registry *prometheus.Registry
}

func newWorld(t *testing.T, cfg access.Config) *world {
	t.Helper()
	w := &world{t: t, store: newStore(t), now: noon, registry: prometheus.NewRegistry()}
	cfg.TokensFile = w.store.Path
	var err error
	w.Authority, err = access.New(cfg, access.Deps{
		Clock: func() time.Time { return w.now }, Logger: slog.New(slog.NewJSONHandler(&w.logged, nil)), Registerer: w.registry,
	})
	must(t, err)
	return w
}

// create makes a token and has the authority know it.
func (w *world) create(grant access.Token) string {
	w.t.Helper()
	_, text, err := w.store.Create(grant, w.now)
	must(w.t, err)
	must(w.t, w.Refresh())
	return text.Reveal()
}

// bearer is the context of a call with a token.
func (w *world) bearer(values ...string) context.Context {
	md := metadata.MD{}
	for _, v := range values {
		md.Append("authorization", v)
	}
	return metadata.NewIncomingContext(w.t.Context(), md)
}

// holder is the context of a call with a certificate.
func (w *world) holder(chain ...*x509.Certificate) context.Context {
	return peer.NewContext(w.t.Context(), &peer.Peer{
		Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7}, AuthInfo: credentials.TLSInfo{State: tls.ConnectionState{PeerCertificates: chain}},
	})
}

var readsOrders = access.Scoped(access.OrdersRead)

// call is why a call was denied; "" when it was not.
func (w *world) call(ctx context.Context, need access.Need) access.Reason {
	w.t.Helper()
	_, release, err := w.Admit(ctx, "/a.Service/Method", need, false)
	if err == nil {
		release()
		return ""
	}
	denied, ok := errors.AsType[*access.DeniedError](err)
	if !ok {
		w.t.Fatalf("error = %v, want a denial", err)
	}
	return denied.Reason
}

// stream is a stream that runs until the test ends.
func (w *world) stream(ctx context.Context) context.Context {
	w.t.Helper()
	running, release, err := w.Admit(ctx, "/a.Service/Stream", readsOrders, true)
	must(w.t, err)
	w.t.Cleanup(release)
	return running
}

// denials are the counted ones.
func (w *world) denials() map[string]float64 {
	families, err := w.registry.Gather()
	must(w.t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				out[l.GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}

func TestOnceThereAreTokensTheyAreRequiredForEver(t *testing.T) {
	w := newWorld(t, access.Config{})
	if got := w.call(w.bearer(), access.Whole(access.Admin)); got != "" {
		t.Errorf("without a file: %s", got)
	}
	before := w.stream(w.bearer())
	text := w.create(reader("erp"))
	if access.Lost(before) == nil {
		t.Error("the stream of anyone goes on")
	}
	if got := w.call(w.bearer("Bearer "+text), readsOrders); got != "" {
		t.Errorf("with it: %s", got)
	}
	if got := w.call(w.bearer(), readsOrders); got != access.NoCredentials {
		t.Errorf("with none: %q", got)
	}
	must(t, os.Remove(w.store.Path))
	must(t, w.Refresh())
	if got := w.call(w.bearer(), readsOrders); got != access.NoCredentials {
		t.Errorf("the file is gone, and a call without credentials: %q", got)
	}
	if got := w.call(w.bearer("Bearer "+text), readsOrders); got != access.BadToken {
		t.Errorf("the file is gone, and a call with its token: %q", got)
	}
}

func TestEveryDenialHasItsReasonACountAndALineWithoutTheToken(t *testing.T) {
	w := newWorld(t, access.Config{})
	some := w.create(reader("erp"))
	grant := reader("soon-over")
	grant.ExpiresAt = noon.Add(time.Minute)
	expired := w.create(grant)
	revoked := w.create(reader("gone"))
	_, err := w.store.Revoke("gone", noon)
	must(t, err)
	operator := w.create(access.Token{Name: "operator", Scopes: []access.Scope{access.Admin}, Tenants: []domain.TenantID{"loja"}})
	w.now = noon.Add(time.Minute)
	cases := []struct {
		name string
		sent []string
		need access.Need
		want access.Reason
	}{
		{"a probe", nil, access.Open(), ""},
		{"a token", []string{"Bearer " + some}, readsOrders, ""},
		{"the scheme in lower case", []string{"bearer " + some}, readsOrders, ""},
		{"any scope", []string{"Bearer " + some}, access.Known(), ""},
		{"nothing", nil, access.Known(), access.NoCredentials},
		{"an unknown token", []string{"Bearer " + some + "x"}, readsOrders, access.BadToken},
		{"no token", []string{"Bearer"}, readsOrders, access.BadToken},
		{"another scheme", []string{"Basic " + some}, readsOrders, access.BadToken},
		{"two tokens", []string{"Bearer " + some, "Bearer " + some}, readsOrders, access.BadToken},
		{"an expired one", []string{"Bearer " + expired}, readsOrders, access.ExpiredToken},
		{"a revoked one", []string{"Bearer " + revoked}, readsOrders, access.RevokedToken},
		{"a scope it lacks", []string{"Bearer " + some}, access.Scoped(access.EventsRead), access.NoScope},
		{"a scope that admin includes", []string{"Bearer " + operator}, access.Scoped(access.FactsWrite), ""},
		{"the one that it does not", []string{"Bearer " + operator}, access.Scoped(access.PersonalRead), access.NoScope},
		{"what is of every tenant", []string{"Bearer " + operator}, access.Whole(access.Admin), access.NotEveryTenant},
		{"a method without a row", []string{"Bearer " + operator}, access.Need{}, access.NoRule},
	}
	want := map[string]float64{}
	for _, reason := range access.Reasons() {
		want[string(reason)] = 0
	}
	for _, c := range cases {
		w.logged.Reset()
		if got := w.call(w.bearer(c.sent...), c.need); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if c.want == "" {
			continue
		}
		want[string(c.want)]++
		if line := w.logged.String(); !strings.Contains(line, string(c.want)) || !strings.Contains(line, "/a.Service/Method") {
			t.Errorf("%s: logged %q", c.name, line)
		}
		if line := w.logged.String(); strings.Contains(line, "comanda_") {
			t.Errorf("%s: the log has the token: %s", c.name, line)
		}
	}
	for reason, n := range w.denials() {
		if n != want[reason] {
			t.Errorf("%s was counted %v times, want %v", reason, n, want[reason])
		}
	}
}

func TestAStreamEndsWithItsAccessAndNoOther(t *testing.T) {
	w := newWorld(t, access.Config{})
	grant := reader("short")
	grant.ExpiresAt = noon.Add(time.Minute)
	short := w.stream(w.bearer("Bearer " + w.create(grant)))
	revoked := w.stream(w.bearer("Bearer " + w.create(reader("revoked"))))
	stays := w.stream(w.bearer("Bearer " + w.create(reader("stays"))))
	must(t, w.Refresh())
	for _, ctx := range []context.Context{short, revoked, stays} {
		if ctx.Err() != nil {
			t.Fatal("a stream ended though nothing changed")
		}
	}
	_, err := w.store.Revoke("revoked", noon)
	must(t, err)
	must(t, w.Refresh())
	if domain.KindOf(access.Lost(revoked)) != domain.Unauthenticated || short.Err() != nil || stays.Err() != nil {
		t.Errorf("after a revocation: %v, %v, %v", access.Lost(revoked), short.Err(), stays.Err())
	}
	w.now = noon.Add(time.Minute)
	must(t, w.Refresh())
	must(t, w.Refresh()) // and is counted once
	if access.Lost(short) == nil || stays.Err() != nil {
		t.Errorf("after an expiry: %v, %v", access.Lost(short), stays.Err())
	}
	if n := w.denials()[string(access.Withdrawn)]; n != 2 {
		t.Errorf("%v ends were counted, want 2", n)
	}
	if access.From(stays).Caller() != "stays" || !access.From(stays).AllowsTenant("loja") || access.From(stays).AllowsTenant("outra") {
		t.Error("the stream's allowance is not its token's")
	}
}

func TestQuotasAreEachCallersOwn(t *testing.T) {
	w := newWorld(t, access.Config{CallsPerSecond: 2, Streams: 1})
	one, other := w.bearer("Bearer "+w.create(reader("one"))), w.bearer("Bearer "+w.create(reader("other")))
	w.stream(one)
	_, _, err := w.Admit(one, "/m", readsOrders, true)
	denied, _ := errors.AsType[*access.DeniedError](err)
	if denied == nil || denied.Reason != access.TooManyStreams || denied.RetryAfter <= 0 || denied.Limit != "1 streams at once" {
		t.Fatalf("a second stream: %+v", denied)
	}
	_, _, err = w.Admit(one, "/m", readsOrders, false)
	denied, _ = errors.AsType[*access.DeniedError](err)
	if denied == nil || denied.Reason != access.TooManyCalls || denied.RetryAfter != time.Second/2 || !strings.HasPrefix(denied.Subject, "token:tok_") {
		t.Fatalf("a third call: %+v", denied)
	}
	if domain.KindOf(err) != domain.Exhausted {
		t.Errorf("error = %v", err)
	}
	w.stream(other)
	w.now = w.now.Add(denied.RetryAfter)
	w.create(reader("third")) // and reading the file again forgives nothing
	if got := w.call(one, readsOrders); got != "" {
		t.Errorf("after that time: %s", got)
	}
	if got := w.call(one, readsOrders); got != access.TooManyCalls {
		t.Errorf("and once more: %q", got)
	}
	if got := w.call(w.bearer(), access.Open()); got != "" {
		t.Errorf("a probe: %s", got)
	}
}

func TestAStreamThatEndedLeavesRoom(t *testing.T) {
	w := newWorld(t, access.Config{Streams: 1})
	ctx := w.bearer("Bearer " + w.create(reader("one")))
	for range 3 {
		running, release, err := w.Admit(ctx, "/m", readsOrders, true)
		must(t, err)
		release()
		if running.Err() == nil || access.Lost(running) != nil {
			t.Errorf("after its end: %v, %v", running.Err(), access.Lost(running))
		}
	}
}

func TestWhatCannotBeReadLeavesTheFormer(t *testing.T) {
	w := newWorld(t, access.Config{})
	ctx := w.bearer("Bearer " + w.create(reader("erp")))
	good, err := os.ReadFile(w.store.Path)
	must(t, err)
	accesstest.Write(t, w.store.Path, []byte("{"))
	ticks, ended := make(chan time.Time), make(chan error)
	running, cancel := context.WithCancel(t.Context())
	go func() { ended <- w.Run(running, ticks) }()
	for range 3 {
		ticks <- noon // taken when the one before was worked off
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	if n := strings.Count(w.logged.String(), "cannot read credentials"); n != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", n, w.logged.String())
	}
	if got := w.call(ctx, readsOrders); got != "" {
		t.Errorf("meanwhile: %s", got)
	}
	accesstest.Write(t, w.store.Path, good)
	must(t, w.Refresh())
}

func TestIdentitiesAreTheirCertificates(t *testing.T) {
	dir, authority := t.TempDir(), accesstest.NewCA(t, noon)
	var cfg access.Config
	cfg.TLS.CertFile, cfg.TLS.KeyFile = authority.Server().Write(t, dir, "server")
	cfg.TLS.ClientCAFile = accesstest.Write(t, filepath.Join(dir, "ca.pem"), authority.PEM)
	loja := []domain.TenantID{"loja"}
	orders := []access.Scope{access.OrdersRead}
	cfg.Identities = []access.Identity{
		{Name: "billing", SAN: "billing.example.com", Scopes: orders, Tenants: loja},
		{Name: "crm", SAN: "spiffe://example.com/crm", Scopes: orders, Tenants: loja},
		{Name: "erp", CN: "erp", Scopes: orders, Tenants: loja},
		{Name: "itself", SAN: "localhost", Scopes: orders, Tenants: loja},
	}
	w := newWorld(t, cfg)
	valid := authority.Client("", "billing.example.com", "").Cert
	for name, c := range map[string]struct {
		cert   *x509.Certificate
		caller string
		want   access.Reason
	}{
		"a DNS name":        {valid, "billing", ""},
		"a URI":             {authority.Client("", "", "spiffe://example.com/crm").Cert, "crm", ""},
		"a common name":     {authority.Client("erp", "", "").Cert, "erp", ""},
		"nobody's name":     {authority.Client("", "example.com", "").Cert, "", access.BadCertificate},
		"a name as another": {authority.Client("billing.example.com", "", "").Cert, "", access.BadCertificate},
		"a server's":        {authority.Server().Cert, "", access.BadCertificate},
		"another authority": {accesstest.NewCA(t, noon).Client("", "billing.example.com", "").Cert, "", access.BadCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			if got := w.call(w.holder(c.cert), readsOrders); got != c.want {
				t.Fatalf("denied for %q, want %q", got, c.want)
			}
			if c.want == "" {
				if got := access.From(w.stream(w.holder(c.cert))).Caller(); got != c.caller {
					t.Errorf("the caller is %s, want %s", got, c.caller)
				}
			}
		})
	}

	if got := w.call(w.holder(), readsOrders); got != access.NoCredentials {
		t.Errorf("no certificate: %q", got)
	}
	running := w.stream(w.holder(valid))
	_, _, err := w.Admit(metadata.NewIncomingContext(w.holder(valid), metadata.Pairs("authorization", "Bearer x")), "/m", readsOrders, false)
	if domain.KindOf(err) != domain.Unauthenticated {
		t.Errorf("a wrong token beside a good certificate: %v", err)
	}
	accesstest.Write(t, filepath.Join(dir, "ca.pem"), accesstest.NewCA(t, noon).PEM)
	must(t, w.Refresh())
	if access.Lost(running) == nil || w.call(w.holder(valid), readsOrders) != access.BadCertificate {
		t.Error("the authority is another, and its certificates hold")
	}
	accesstest.Write(t, filepath.Join(dir, "ca.pem"), authority.PEM)
	must(t, w.Refresh())
	running = w.stream(w.holder(valid))
	w.now = noon.Add(time.Hour)
	must(t, w.Refresh())
	if access.Lost(running) == nil || w.call(w.holder(valid), readsOrders) != access.BadCertificate {
		t.Error("the certificate has expired, and holds")
	}
}

func TestBeyondLoopbackTLSAndCredentialsAreNeeded(t *testing.T) {
	dir, authority := t.TempDir(), accesstest.NewCA(t, noon)
	cert, key := authority.Server().Write(t, dir, "server")
	clientCA := accesstest.Write(t, filepath.Join(dir, "ca.pem"), authority.PEM)
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	outer := &net.TCPAddr{IP: net.IPv4zero}
	encrypted := access.Config{TLS: access.TLS{CertFile: cert, KeyFile: key}}
	identified := encrypted
	identified.TLS.ClientCAFile = clientCA
	identified.Identities = []access.Identity{{Name: "erp", CN: "erp", Scopes: []access.Scope{access.Admin}, Tenants: []domain.TenantID{"*"}}}
	for name, c := range map[string]struct {
		cfg     access.Config
		token   bool
		refusal string
	}{
		"nothing":            {access.Config{}, false, "needs TLS"},
		"a token":            {access.Config{}, true, "needs TLS"},
		"TLS":                {encrypted, false, "needs credentials"},
		"TLS and a token":    {encrypted, true, ""},
		"TLS and identities": {identified, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.cfg)
			if c.token {
				w.create(reader("erp"))
			}
			if err := w.MayListen(local); err != nil {
				t.Errorf("on loopback: %v", err)
			}
			err := w.MayListen(outer)
			if (err != nil) != (c.refusal != "") || !strings.Contains(fmt.Sprint(err), c.refusal) {
				t.Errorf("beyond: %v, want %q", err, c.refusal)
			}
			if c.refusal == "" && c.token {
				_, err := w.store.Revoke("erp", noon)
				must(t, err)
				must(t, w.Refresh())
				if w.MayListen(outer) == nil {
					t.Error("beyond, with no token but a revoked one: no error")
				}
			}
		})
	}
	var none *access.Authority
	if none.MayListen(local) != nil || none.MayListen(outer) == nil {
		t.Error("without access control it is not just loopback that may be listened on")
	}
}

func TestEveryMistakeOfAConfigurationIsNamed(t *testing.T) {
	cfg := access.Config{
		CallsPerSecond: -1, Streams: -1, TLS: access.TLS{KeyFile: "k", ClientCAFile: "c"},
		Identities: []access.Identity{{Name: "a", SAN: "x", CN: "y", Scopes: []access.Scope{"z"}}, {Name: "a"}},
	}
	err := cfg.Validate()
	for _, want := range []string{"calls_per_second: ", "streams: ", "tls: cert_file", "tls: client_ca_file", `identity "a": `, "scopes: ", "tenants: ", "san or cn: ", "stands twice"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	for name, cfg := range map[string]access.Config{
		"no certificate": {TLS: access.TLS{CertFile: "/nowhere", KeyFile: "/nowhere"}},
		"torn tokens":    {TokensFile: accesstest.Write(t, filepath.Join(t.TempDir(), "t.json"), []byte("{"))},
	} {
		if _, err := access.New(cfg, access.Deps{Clock: time.Now, Logger: slog.New(slog.DiscardHandler)}); domain.KindOf(err) != domain.Invalid {
			t.Errorf("%s: %v, want an error of kind invalid", name, err)
		}
	}
}
