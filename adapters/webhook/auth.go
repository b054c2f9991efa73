package webhook

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"comanda.internal/domain"
)

// AuthType is how a source proves who it is.
type AuthType string

// The types.
const (
	// AuthToken is a secret that is sent as it is: Bearer, HTTP Basic (as the
	// password, the user name without one, or both as user:password), ?token=, or a named header.
	AuthToken AuthType = "token"
	// AuthHMAC is a keyed hash of the body in a header.
	AuthHMAC AuthType = "hmac"
	// AuthStandardWebhooks is a signature by standardwebhooks.com, v1 or v1a.
	AuthStandardWebhooks AuthType = "standard-webhooks"
)

// Auth is a source's credentials in the configuration file. Several tokens or
// secrets are live at once, so that they can be rotated.
type Auth struct {
	Type AuthType `yaml:"type"`

	// Tokens belong to type token. TokensFile names a file with one a line,
	// which Load adds to them.
	Tokens     []domain.Secret `yaml:"tokens,omitempty"`
	TokensFile string          `yaml:"tokens_file,omitempty"`

	// Secrets belong to the other types: the HMAC key as text, or whsec_ and
	// base64, or whpk_ and base64 (an Ed25519 public key, for v1a). SecretsFile is their TokensFile.
	Secrets     []domain.Secret `yaml:"secrets,omitempty"`
	SecretsFile string          `yaml:"secrets_file,omitempty"`

	// Header is where the signature is (hmac, required), or one more place
	// where the token may be (token).
	Header string `yaml:"header,omitempty"`
	// Encoding of the HMAC: hex (the default) or base64.
	Encoding string `yaml:"encoding,omitempty"`
	// Hash of the HMAC: sha256 (the default), sha1 or sha512.
	Hash string `yaml:"hash,omitempty"`
	// Template is what is signed, with {body} and {timestamp} for those. Default
	// "{body}", or "{timestamp}.{body}" with a timestamp header.
	Template string `yaml:"template,omitempty"`
	// TimestampHeader holds the Unix time of the signature, in seconds or
	// milliseconds; "" is none, and then an old request can be sent again.
	TimestampHeader string `yaml:"timestamp_header,omitempty"`
	// Tolerance is how far a timestamp may be from our clock. Default 5 min.
	Tolerance time.Duration `yaml:"tolerance,omitempty"`
}

const defaultTolerance = 5 * time.Minute

func (a *Auth) setDefaults() {
	setDefault(&a.Encoding, "hex")
	setDefault(&a.Hash, "sha256")
	setDefault(&a.Tolerance, defaultTolerance)
	if a.Template == "" && a.TimestampHeader != "" {
		a.Template = "{timestamp}.{body}"
	}
	setDefault(&a.Template, "{body}")
}

// Load adds the secrets of TokensFile and SecretsFile, which read opens: one a
// line, without the spaces around it; empty lines and those with a # in front are left out.
func (a *Auth) Load(read func(path string) ([]byte, error)) error {
	for _, f := range []struct {
		field, path string
		into        *[]domain.Secret
	}{{"auth.tokens_file", a.TokensFile, &a.Tokens}, {"auth.secrets_file", a.SecretsFile, &a.Secrets}} {
		if f.path == "" {
			continue
		}
		text, err := read(f.path)
		if err != nil {
			return fmt.Errorf("%s: %w", f.field, err)
		}
		before := len(*f.into)
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				*f.into = append(*f.into, domain.NewSecret(line))
			}
		}
		if len(*f.into) == before {
			return fmt.Errorf("%s: %s holds no secret", f.field, f.path)
		}
	}
	return nil
}

// Validate joins everything that is wrong with a, each naming its field. Files
// are not opened: that is Load's.
func (a *Auth) Validate() error { return errors.Join(a.mistakes()...) }

func (a *Auth) mistakes() []error {
	b := *a
	b.setDefaults()
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("auth.%s: %w", field, fmt.Errorf(format, args...)))
	}
	switch b.Type {
	case AuthToken:
		checkSecrets(bad, "tokens", b.Tokens, b.TokensFile)
		if len(b.Secrets) > 0 || b.SecretsFile != "" {
			bad("secrets", "type token has tokens, not secrets")
		}
	case AuthHMAC:
		b.checkHMAC(bad)
	case AuthStandardWebhooks:
		b.checkStandard(bad)
	default:
		bad("type", "%q, want token, hmac or standard-webhooks", string(b.Type))
	}
	if b.Header != "" && !validHeaderName(b.Header) {
		bad("header", "%q is no header name", b.Header)
	}
	if b.Tolerance < 0 {
		bad("tolerance", "%s, want a positive duration", b.Tolerance)
	}
	return errs
}

type badField func(field, format string, args ...any)

func checkSecrets(bad badField, field string, secrets []domain.Secret, file string) {
	if len(secrets) == 0 && file == "" {
		bad(field, "required, or %s_file", field)
	}
	for i, s := range secrets {
		if strings.TrimSpace(s.Reveal()) == "" {
			bad(field, "entry %d is empty", i+1)
		}
	}
}

func (a *Auth) checkHMAC(bad badField) {
	checkSecrets(bad, "secrets", a.Secrets, a.SecretsFile)
	if len(a.Tokens) > 0 || a.TokensFile != "" {
		bad("tokens", "type hmac has secrets, not tokens")
	}
	if a.Header == "" {
		bad("header", "required: where the signature is")
	}
	if a.Encoding != "hex" && a.Encoding != "base64" {
		bad("encoding", "%q, want hex or base64", a.Encoding)
	}
	if newHash(a.Hash) == nil {
		bad("hash", "%q, want sha256, sha1 or sha512", a.Hash)
	}
	if _, err := parseTemplate(a.Template); err != nil {
		bad("template", "%w", err)
	}
	if a.TimestampHeader != "" && !validHeaderName(a.TimestampHeader) {
		bad("timestamp_header", "%q is no header name", a.TimestampHeader)
	}
	if signed := strings.Contains(a.Template, "{timestamp}"); signed != (a.TimestampHeader != "") {
		bad("timestamp_header", "a timestamp is checked when it is signed, so the template's {timestamp} and this header need each other")
	}
}

func (a *Auth) checkStandard(bad badField) {
	checkSecrets(bad, "secrets", a.Secrets, a.SecretsFile)
	if len(a.Tokens) > 0 || a.TokensFile != "" {
		bad("tokens", "type standard-webhooks has secrets, not tokens")
	}
	for i, s := range a.Secrets {
		if _, err := parseStandardKey(s); err != nil {
			bad("secrets", "entry %d: %w", i+1, err)
		}
	}
}

// validHeaderName reports whether name is a token of RFC 9110, section 5.6.2.
func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return name != ""
}

// verifier checks a request's credentials. Implementations compare with every
// live secret, in constant time, whatever they found so far.
type verifier interface {
	verify(r *http.Request, body []byte, now time.Time) bool
}

// newVerifier makes a's verifier. a must be valid and loaded.
func newVerifier(a Auth) (verifier, error) {
	if err := a.Validate(); err != nil {
		return nil, err
	}
	a.setDefaults()
	if len(a.Tokens)+len(a.Secrets) == 0 {
		return nil, errors.New("auth: its file was not loaded")
	}
	switch a.Type {
	case AuthHMAC:
		return newHMACVerifier(&a)
	case AuthStandardWebhooks:
		return newStandardVerifier(&a)
	default:
		return newTokenVerifier(&a), nil
	}
}
