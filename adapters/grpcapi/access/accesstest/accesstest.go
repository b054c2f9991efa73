// Package accesstest makes certificates for tests of access control.
package accesstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is an authority.
type CA struct {
	// PEM is its certificate.
	PEM []byte

	tb   testing.TB
	now  time.Time
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA is an authority for about a day.
func NewCA(tb testing.TB, now time.Time) *CA {
	tb.Helper()
	c := &CA{tb: tb, now: now}
	pair := c.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test"}, NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	c.PEM, c.cert, c.key = pair.PEM, pair.Cert, pair.key
	return c
}

// Pair is a certificate and its key.
type Pair struct {
	Cert        *x509.Certificate
	PEM, KeyPEM []byte

	key *ecdsa.PrivateKey
}

// Write puts the pair into files of dir, and answers their paths.
func (p *Pair) Write(tb testing.TB, dir, name string) (cert, key string) {
	tb.Helper()
	return Write(tb, filepath.Join(dir, name+".pem"), p.PEM), Write(tb, filepath.Join(dir, name+"-key.pem"), p.KeyPEM)
}

// Write writes a file, and answers its path.
func Write(tb testing.TB, path string, text []byte) string {
	tb.Helper()
	must(tb, os.WriteFile(path, text, 0o600))
	return path
}

// sign is a certificate of the authority, or of itself for the first; of an hour
// unless the template says otherwise.
func (c *CA) sign(template *x509.Certificate) *Pair {
	c.tb.Helper()
	template.SerialNumber, template.NotBefore = big.NewInt(1), c.now.Add(-time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = c.now.Add(time.Hour)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(c.tb, err)
	parent, signer := c.cert, c.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(c.tb, err)
	cert, err := x509.ParseCertificate(der)
	must(c.tb, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	must(c.tb, err)
	return &Pair{
		Cert: cert, key: key, PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		KeyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	}
}

// Server is the certificate of a server on this machine.
func (c *CA) Server() *Pair {
	c.tb.Helper()
	return c.sign(&x509.Certificate{
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	})
}

// Client is a client's certificate with a name of any kind that is not "".
func (c *CA) Client(commonName, dnsName, uri string) *Pair {
	c.tb.Helper()
	template := &x509.Certificate{Subject: pkix.Name{CommonName: commonName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if dnsName != "" {
		template.DNSNames = []string{dnsName}
	}
	if uri != "" {
		u, err := url.Parse(uri)
		must(c.tb, err)
		template.URIs = []*url.URL{u}
	}
	return c.sign(template)
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
