package access

import (
	"context"
	"errors"
	"time"

	"comanda.internal/domain"
)

// Reason is why a call was denied: a word of a closed set, for the audit log and the
// metric. The caller is told less.
type Reason string

// The reasons.
const (
	NoCredentials  Reason = "no_credentials"
	BadToken       Reason = "bad_token"
	RevokedToken   Reason = "revoked_token"
	ExpiredToken   Reason = "expired_token"
	BadCertificate Reason = "bad_certificate"
	NoScope        Reason = "no_scope"
	NotEveryTenant Reason = "not_every_tenant"
	NoRule         Reason = "no_rule"
	TooManyCalls   Reason = "too_many_calls"
	TooManyStreams Reason = "too_many_streams"
	Withdrawn      Reason = "withdrawn" // while a call ran
)

// Reasons are all reasons.
func Reasons() []Reason {
	return []Reason{
		NoCredentials, BadToken, RevokedToken, ExpiredToken, BadCertificate, NoScope, NotEveryTenant, NoRule,
		TooManyCalls, TooManyStreams, Withdrawn,
	}
}

// DeniedError is a denied call. It wraps a [domain.Error] of kind Unauthenticated, Denied or
// Exhausted.
type DeniedError struct {
	Reason Reason
	// Scope is what was lacking, of NoScope and NotEveryTenant.
	Scope Scope
	// RetryAfter, Subject and Limit are of TooManyCalls and TooManyStreams: when to try
	// again, whose quota it is, as "token:tok_x", and what it is.
	RetryAfter time.Duration
	Subject    string
	Limit      string

	err *domain.Error
}

// Error is what the caller is told.
func (e *DeniedError) Error() string { return e.err.Error() }

// Unwrap is the error's kind.
func (e *DeniedError) Unwrap() error { return e.err }

// unauthenticated tells the caller as much as helps an honest one.
func unauthenticated(reason Reason) *DeniedError {
	text := "the credentials are unknown, have expired or were revoked"
	if reason == NoCredentials {
		text = `no credentials: send metadata "authorization: Bearer TOKEN", or a client certificate`
	}
	return &DeniedError{Reason: reason, err: domain.Errorf(domain.Unauthenticated, "%s", text)}
}

// Require is why what a call asks for, beside what its method needs, is denied: the caller
// lacks the scope. nil: it is allowed.
func Require(ctx context.Context, scope Scope) error {
	if From(ctx).Has(scope) {
		return nil
	}
	return &DeniedError{Reason: NoScope, Scope: scope, err: domain.Errorf(domain.Denied, "the credentials lack the scope %s", scope)}
}

// Lost is why the access of a call ended while it ran; nil when it did not. The call's
// context has ended then, but a stream's messages can still be sent.
func Lost(ctx context.Context) error {
	if denied, ok := errors.AsType[*DeniedError](context.Cause(ctx)); ok {
		return denied
	}
	return nil
}
