package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"

	"google.golang.org/grpc"

	"comanda.internal/domain"
	"comanda.internal/proto/client"
)

// credentialFlags are what a client shows, and whom it believes.
type credentialFlags struct {
	Token     domain.Secret `help:"Token from 'comanda tokens create'. Other users of the machine see flags: rather COMANDA_TOKEN or --token-file."`
	TokenFile string        `help:"File with the token." type:"path"`
	TLSCA     string        `name:"tls-ca" help:"PEM file of the authorities that the server's certificate is checked by, or 'system'; none: no TLS." placeholder:"FILE"`
	TLSCert   string        `name:"tls-cert" help:"PEM file of the client's certificate, for mTLS." type:"path"`
	TLSKey    string        `name:"tls-key" help:"PEM file of its key." type:"path"`
}

// systemCAs stands for the authorities of the machine.
const systemCAs = "system"

// options are those of a connection to target.
func (f *credentialFlags) options(target string) ([]grpc.DialOption, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	config, err := f.tls()
	if err != nil {
		return nil, err
	}
	options, err := client.Options(target, token, config)
	if errors.Is(err, client.ErrInsecure) {
		return nil, usagef("%s is beyond loopback, and a token is not sent there in the clear: name --tls-ca", target)
	}
	return options, err
}

func (f *credentialFlags) token() (string, error) {
	if f.TokenFile == "" {
		return f.Token.Reveal(), nil
	}
	if !f.Token.IsZero() {
		return "", usagef("--token and --token-file: want one of them")
	}
	text, err := os.ReadFile(f.TokenFile)
	if err != nil {
		return "", usagef("--token-file: %v", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", usagef("--token-file: %s is empty", f.TokenFile)
	}
	return token, nil
}

// tls is nil for none.
func (f *credentialFlags) tls() (*tls.Config, error) {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return nil, usagef("--tls-cert and --tls-key belong together")
	}
	if f.TLSCA == "" {
		if f.TLSCert != "" {
			return nil, usagef("--tls-cert needs --tls-ca, by which the server is known")
		}
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.TLSCA != systemCAs {
		text, err := os.ReadFile(f.TLSCA)
		if err != nil {
			return nil, usagef("--tls-ca: %v", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, usagef("--tls-ca: %s holds no PEM certificate", f.TLSCA)
		}
	}
	if f.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey)
		if err != nil {
			return nil, usagef("--tls-cert: %v", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}
