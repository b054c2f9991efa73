package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"comanda.internal/domain"
)

// A token is its prefix, by which leaked ones can be searched for, and 256 random bits.
const (
	tokenPrefix = "comanda_"
	tokenBytes  = 32
	idPrefix    = "tok_"
	idLength    = 12
)

var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// AnyTenant stands for every tenant, of now and later.
const AnyTenant = "*"

// Token is a token as it is kept: all but its text, of which there is a hash.
//
// The hash is one round of SHA-256. Slow, salted hashes exist because people choose
// guessable passwords; 256 random bits cannot be guessed at any speed, and every call is checked.
type Token struct {
	// ID is made from the hash, so that who finds a token can tell which it is.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Hash is SHA-256 of the token's text, in hex.
	Hash   string  `json:"hash"`
	Scopes []Scope `json:"scopes"`
	// Tenants are merchants, or AnyTenant alone.
	Tenants   []domain.TenantID `json:"tenants"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt time.Time         `json:"expires_at,omitzero"`
	RevokedAt time.Time         `json:"revoked_at,omitzero"`
}

// newToken is a token and its text, which is nowhere else.
func newToken(grant Token, now time.Time) (Token, domain.Secret) {
	text := tokenPrefix + encoding.EncodeToString(randomBytes())
	sum := sha256.Sum256([]byte(text))
	grant.ID = idPrefix + encoding.EncodeToString(sum[:])[:idLength]
	grant.Hash = hex.EncodeToString(sum[:])
	grant.CreatedAt = now.UTC().Truncate(time.Second)
	if !grant.ExpiresAt.IsZero() {
		grant.ExpiresAt = grant.ExpiresAt.UTC().Truncate(time.Second)
	}
	return grant, domain.NewSecret(text)
}

func randomBytes() []byte {
	b := make([]byte, tokenBytes)
	_, _ = rand.Read(b) // never fails (crypto/rand.Read)
	return b
}

// live reports whether the token holds at a time.
func (t *Token) live(now time.Time) bool {
	return t.RevokedAt.IsZero() && (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt))
}

// State is the plain word for how the token is at a time: live, expired or revoked.
func (t *Token) State(now time.Time) string {
	switch {
	case !t.RevokedAt.IsZero():
		return "revoked"
	case t.live(now):
		return "live"
	default:
		return "expired"
	}
}

// validate joins every mistake.
func (t *Token) validate() error {
	errs := []error{checkGrant(t.Name, t.Scopes, t.Tenants)}
	if sum, err := hex.DecodeString(t.Hash); err != nil || len(sum) != sha256.Size {
		errs = append(errs, errors.New("hash: want SHA-256 in hex"))
	}
	return errors.Join(errs...)
}

const maxName = 40

// checkGrant joins every mistake in what a token or an identity is given.
func checkGrant(name string, scopes []Scope, tenants []domain.TenantID) error {
	var errs []error
	if !validName(name) {
		errs = append(errs, fmt.Errorf("name: %q, want 1 to %d of a-z, 0-9, hyphen and dot", name, maxName))
	}
	if len(scopes) == 0 {
		errs = append(errs, errors.New("scopes: none, so it could do nothing"))
	}
	for _, s := range scopes {
		if !s.Valid() {
			errs = append(errs, fmt.Errorf("scopes: %q, want of %s", string(s), scopeList()))
		}
	}
	switch {
	case len(tenants) == 0:
		errs = append(errs, fmt.Errorf("tenants: none; %q is any", AnyTenant))
	case slices.Equal(tenants, []domain.TenantID{AnyTenant}):
	default:
		for _, tenant := range tenants {
			if !tenant.Valid() {
				errs = append(errs, fmt.Errorf("tenants: %q, want 1 to 40 of a-z, 0-9 and hyphen, or %q alone", string(tenant), AnyTenant))
			}
		}
	}
	return errors.Join(errs...)
}

func validName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

func scopeList() string {
	words := make([]string, 0, len(Scopes()))
	for _, s := range Scopes() {
		words = append(words, string(s))
	}
	return strings.Join(words, ", ")
}

// allowance is what a caller of that name is given.
func newAllowance(name string, scopes []Scope, tenants []domain.TenantID) *Allowance {
	a := &Allowance{caller: name, scopes: slices.Clone(scopes)}
	if slices.Contains(tenants, AnyTenant) {
		a.any = true
		return a
	}
	a.tenants = slices.Clone(tenants)
	slices.Sort(a.tenants)
	a.tenants = slices.Compact(a.tenants)
	return a
}
