package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"comanda.internal/adapters/grpcapi/access/accesstest"
)

// TestBeyondLoopback serves with the access that the README configures, on every
// address, and asks with certificates and tokens over TLS.
func TestBeyondLoopback(t *testing.T) {
	dir, ca := t.TempDir(), accesstest.NewCA(t, time.Now())
	secrets := t.TempDir()
	_, block, ok := strings.Cut(readme(t), "```yaml access\n")
	block, _, _ = strings.Cut(block, "```")
	if !ok {
		t.Fatal("the README shows no configuration of access")
	}
	server := ca.Server()
	for name, text := range map[string][]byte{"tls.crt": server.PEM, "tls.key": server.KeyPEM, "clients.crt": ca.PEM} {
		accesstest.Write(t, filepath.Join(secrets, name), text)
	}
	config := accesstest.Write(t, filepath.Join(dir, "comanda.yaml"), []byte(sourcesYAML+strings.ReplaceAll(block, "/run/secrets", secrets)))
	token := accesstest.Write(t, filepath.Join(secrets, "erp.token"), []byte(must(t, "tokens", "create", "erp", "--scope", "orders:read", "--all-tenants", "--data-dir", dir)))
	startConfigured(t, dir, config, "--grpc", "0.0.0.0:0")
	a, err := readAddresses(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(a.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	roots := accesstest.Write(t, filepath.Join(secrets, "roots.pem"), ca.PEM)
	billing, billingKey := ca.Client("", "billing.example.com", "").Write(t, secrets, "billing")
	other, otherKey := ca.Client("", "other.example.com", "").Write(t, secrets, "other")
	empty := accesstest.Write(t, filepath.Join(secrets, "empty"), nil)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"a certificate":             {[]string{"--tls-ca", roots, "--tls-cert", billing, "--tls-key", billingKey}, exitOK, ""},
		"a token in a file":         {[]string{"--tls-ca", roots, "--token-file", token}, exitOK, ""},
		"a certificate of nobody":   {[]string{"--tls-ca", roots, "--tls-cert", other, "--tls-key", otherKey}, exitFailed, "unknown"},
		"a wrong token":             {[]string{"--tls-ca", roots, "--token", "comanda_x"}, exitFailed, "unknown"},
		"nothing":                   {[]string{"--tls-ca", roots}, exitFailed, "no credentials"},
		"an unknown authority":      {[]string{"--tls-ca", "system", "--token-file", token}, exitUnavailable, "certificate"},
		"no TLS":                    {[]string{"--timeout", "1s"}, exitUnavailable, ""},
		"a token twice":             {[]string{"--token", "x", "--token-file", token}, exitUsage, "want one of them"},
		"a token that is not there": {[]string{"--token-file", "/nowhere"}, exitUsage, "/nowhere"},
		"an empty one":              {[]string{"--token-file", empty}, exitUsage, "is empty"},
		"half a pair":               {[]string{"--tls-ca", roots, "--tls-cert", billing}, exitUsage, "belong together"},
		"a pair for nobody":         {[]string{"--tls-cert", billing, "--tls-key", billingKey}, exitUsage, "--tls-ca"},
		"no authority":              {[]string{"--tls-ca", empty}, exitUsage, "no PEM"},
		"a key that is not its own": {[]string{"--tls-ca", roots, "--tls-cert", billing, "--tls-key", otherKey}, exitUsage, "--tls-cert"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, says := command(t, append([]string{"orders", "list", "-o", "json", "--server", "127.0.0.1:" + port}, c.args...)...)
			if code != c.code || !strings.Contains(says, c.says) || c.code == exitOK && strings.TrimSpace(out) != "[]" {
				t.Errorf("it ends with %d, answers %q and says %q; want %d and something of %q", code, out, says, c.code, c.says)
			}
		})
	}
}
