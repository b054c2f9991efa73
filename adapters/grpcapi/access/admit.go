package access

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"comanda.internal/domain"
)

// admitted is a grant and how its holder proved to be that.
type admitted struct {
	*grant

	hash    [sha256.Size]byte // of the token
	clients *x509.CertPool    // that vouched for the certificate
	until   time.Time         // the certificate's
}

// session is a call that runs.
type session struct {
	admitted

	method string
	stream bool
	cancel context.CancelCauseFunc
	ended  bool
}

// holds reports whether what was admitted would be again.
func (a *Authority) holds(h *admitted, now time.Time) bool {
	switch {
	case h.grant == anyone:
		return !a.required
	case h.token != nil:
		return a.tokens[h.hash] == h.grant && h.token.live(now)
	default:
		return a.clients == h.clients && now.Before(h.until)
	}
}

// Admit decides on a call of a method with a need. ctx has the caller's allowance then,
// and ends when the access does: see [Lost]. release is called
// when the call has ended. An error is a [DeniedError], and was counted and logged.
func (a *Authority) Admit(ctx context.Context, method string, need Need, stream bool) (_ context.Context, release func(), err error) {
	a.mu.Lock()
	who, denied := a.decide(ctx, need, stream)
	if denied != nil {
		a.mu.Unlock()
		a.deny(ctx, method, who, denied)
		return ctx, nil, denied
	}
	if who == nil {
		a.mu.Unlock()
		return ctx, func() {}, nil
	}
	ctx, cancel := context.WithCancelCause(With(ctx, who.allowance))
	s := &session{admitted: *who, method: method, stream: stream, cancel: cancel}
	a.sessions[s] = struct{}{}
	if s.stream && s.quota != nil {
		s.quota.streams++
	}
	a.mu.Unlock()
	return ctx, func() { a.end(s) }, nil
}

func (a *Authority) end(s *session) {
	s.cancel(nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, s)
	if s.stream && s.quota != nil {
		s.quota.streams--
	}
}

// decide is who calls, nil for nobody in particular, and why not. A denied call counts
// for the caller's quota.
func (a *Authority) decide(ctx context.Context, need Need, stream bool) (*admitted, *DeniedError) {
	if need.who == whoOpen {
		return nil, nil
	}
	now := a.clock()
	who, denied := a.authenticate(ctx, now)
	if denied != nil {
		return who, denied
	}
	if denied := a.spend(who.grant, stream, now); denied != nil {
		return who, denied
	}
	lacks := func(reason Reason, format string, args ...any) (*admitted, *DeniedError) {
		return who, &DeniedError{Reason: reason, Scope: need.scope, err: domain.Errorf(domain.Denied, format, args...)}
	}
	switch {
	case need.who == 0:
		return lacks(NoRule, "nobody may call this method")
	case need.who == whoScoped && !who.allowance.Has(need.scope):
		return lacks(NoScope, "the credentials lack the scope %s", need.scope)
	case need.everyTenant && !who.allowance.AllowsEveryTenant():
		return lacks(NotEveryTenant, "the answer is of every tenant, and the credentials are of some only")
	}
	return who, nil
}

// authenticate is who calls. A token counts for more than a certificate, and a wrong one
// is wrong whatever else there is. Beside an error, who tells the log of whom a token was.
func (a *Authority) authenticate(ctx context.Context, now time.Time) (*admitted, *DeniedError) {
	if !a.required {
		return &admitted{grant: anyone}, nil
	}
	if sent := metadata.ValueFromIncomingContext(ctx, "authorization"); len(sent) > 0 {
		return a.byToken(sent, now)
	}
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, unauthenticated(NoCredentials)
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.PeerCertificates) == 0 {
		return nil, unauthenticated(NoCredentials)
	}
	who := a.byCertificate(info.State.PeerCertificates, now)
	if who == nil {
		return nil, unauthenticated(BadCertificate)
	}
	return who, nil
}

func (a *Authority) byToken(sent []string, now time.Time) (*admitted, *DeniedError) {
	scheme, text, _ := strings.Cut(sent[0], " ")
	if len(sent) > 1 || !strings.EqualFold(scheme, "bearer") {
		return nil, unauthenticated(BadToken)
	}
	// Who can choose the hash could guess by the time of a lookup; nobody can choose it.
	hash := sha256.Sum256([]byte(strings.TrimSpace(text)))
	g := a.tokens[hash]
	if g == nil {
		return nil, unauthenticated(BadToken)
	}
	who := &admitted{grant: g, hash: hash}
	switch {
	case !g.token.RevokedAt.IsZero():
		return who, unauthenticated(RevokedToken)
	case !g.token.live(now):
		return who, unauthenticated(ExpiredToken)
	}
	return who, nil
}

// mostVerified certificates are remembered.
const mostVerified = 4096

// byCertificate is the identity of a certificate; nil for none. The handshake verified
// the certificate by the authorities of then, so those of now are asked, once for each.
func (a *Authority) byCertificate(chain []*x509.Certificate, now time.Time) *admitted {
	if a.clients == nil {
		return nil
	}
	leaf := chain[0]
	id := sha256.Sum256(leaf.Raw)
	who := a.verified[id]
	if who == nil {
		if who = a.verify(chain, now); who == nil {
			return nil
		}
		if len(a.verified) >= mostVerified {
			clear(a.verified)
		}
		a.verified[id] = who
	}
	if !now.Before(who.until) {
		return nil
	}
	return who
}

func (a *Authority) verify(chain []*x509.Certificate, now time.Time) *admitted {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.clients, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil
	}
	for i := range a.cfg.Identities {
		if a.cfg.Identities[i].fits(chain[0]) {
			return &admitted{grant: a.holders[i], clients: a.clients, until: chain[0].NotAfter}
		}
	}
	return nil
}

// fits reports whether a certificate has the identity's name.
func (i *Identity) fits(c *x509.Certificate) bool {
	if i.CN != "" {
		return c.Subject.CommonName == i.CN
	}
	if slices.Contains(c.DNSNames, i.SAN) || slices.Contains(c.EmailAddresses, i.SAN) {
		return true
	}
	for _, uri := range c.URIs {
		if uri.String() == i.SAN {
			return true
		}
	}
	return false
}

// streamRetry is when to try again for a stream: nobody knows when one ends.
const streamRetry = 5 * time.Second

// spend takes a call, and looks for room for a stream.
func (a *Authority) spend(g *grant, stream bool, now time.Time) *DeniedError {
	if g.quota == nil {
		return nil
	}
	exhausted := func(reason Reason, wait time.Duration, limit string) *DeniedError {
		return &DeniedError{
			Reason: reason, RetryAfter: wait, Subject: g.subject, Limit: limit,
			err: domain.Errorf(domain.Exhausted, "these credentials have used up %s", limit),
		}
	}
	taken := g.quota.calls.ReserveN(now, 1)
	if wait := taken.DelayFrom(now); wait > 0 {
		taken.CancelAt(now)
		return exhausted(TooManyCalls, wait, fmt.Sprintf("%d calls a second", a.cfg.CallsPerSecond))
	}
	if stream && g.quota.streams >= a.cfg.Streams {
		return exhausted(TooManyStreams, streamRetry, fmt.Sprintf("%d streams at once", a.cfg.Streams))
	}
	return nil
}

// Denied counts and logs a call that was admitted and then asked for more than its caller
// may: an error of [Require]. ctx has the caller's allowance.
func (a *Authority) Denied(ctx context.Context, method string, denied *DeniedError) {
	a.deny(ctx, method, &admitted{grant: &grant{allowance: From(ctx)}}, denied)
}

// deny counts a denied call and leaves a line for who audits: never of the token's
// text, and no more lines than can be read.
func (a *Authority) deny(ctx context.Context, method string, who *admitted, denied *DeniedError) {
	a.denials.WithLabelValues(string(denied.Reason)).Inc()
	if !a.audit.AllowN(a.clock(), 1) {
		return
	}
	attrs := []slog.Attr{slog.String("method", method), slog.String("reason", string(denied.Reason))}
	if who != nil {
		attrs = append(attrs, slog.String("caller", who.allowance.caller))
	}
	if who != nil && who.subject != "" {
		attrs = append(attrs, slog.String("credentials", who.subject))
	}
	if denied.Scope != "" {
		attrs = append(attrs, slog.String("scope", string(denied.Scope)))
	}
	if p, ok := peer.FromContext(ctx); ok {
		attrs = append(attrs, slog.String("peer", p.Addr.String()))
	}
	a.logger.LogAttrs(ctx, slog.LevelWarn, "denied a gRPC call", attrs...)
}
