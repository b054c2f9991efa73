package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// ErrForbidden is a connection to an address that is not public.
var ErrForbidden = errors.New("address is not public; allow_private permits it in development")

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// Config says whom a client may call.
type Config struct {
	// AllowPrivate permits loopback and private addresses: development only.
	AllowPrivate bool
	// MaxConnections bounds the connections to one host; 0 is 64.
	MaxConnections int
}

// NewClient is a client of its own pool. It has no timeout: the request's
// context bounds it. Whoever makes it closes its idle connections.
func NewClient(cfg Config) *http.Client {
	if cfg.MaxConnections == 0 {
		cfg.MaxConnections = 64
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	if !cfg.AllowPrivate {
		dialer.ControlContext = checkAddress
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			MaxConnsPerHost:        cfg.MaxConnections,
			MaxIdleConnsPerHost:    cfg.MaxConnections,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true,
		},
		// The 3xx itself is the answer, and no success.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkAddress runs after the name was resolved and before anything is sent,
// for each address that is tried: a name cannot change its mind in between.
func checkAddress(_ context.Context, _, address string, _ syscall.RawConn) error {
	addrPort, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial: %w", ErrForbidden)
	}
	if !Public(addrPort.Addr()) {
		return fmt.Errorf("dial: %w", ErrForbidden)
	}
	return nil
}

// forbidden are the special-purpose blocks (IANA registries, RFC 6890 and its
// successors) that netip has no predicate for. 169.254.169.254, where clouds
// serve their credentials, is link-local and so forbidden by predicate.
var forbidden = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // carrier-grade NAT, and metadata of some clouds
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"), // reserved, and broadcast
	netip.MustParsePrefix("::/96"),       // IPv4-compatible, deprecated
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"), // NAT64: an IPv4 address in disguise
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo among others
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), // 6to4: an IPv4 address in disguise
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("fec0::/10"),
}

// Public reports whether addr is one on the open internet. An IPv4 address
// written as IPv6 is judged as the IPv4 address it is.
func Public(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if !addr.IsValid() || !addr.IsGlobalUnicast() || addr.IsPrivate() {
		return false
	}
	for _, p := range forbidden {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}

// CheckURL reports what is wrong with a destination; nil: nothing. It never
// repeats the URL, which may be a secret.
func CheckURL(raw string, allowPrivate bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return domain.Errorf(domain.Invalid, "url: cannot be read")
	case u.Host == "" || u.Hostname() == "":
		return domain.Errorf(domain.Invalid, "url: has no host")
	case u.Fragment != "":
		return domain.Errorf(domain.Invalid, "url: has a fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && allowPrivate:
		return nil
	}
	return domain.Errorf(domain.Invalid, "url: must be https (http only with allow_private)")
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	// Body is at most 64 KiB of it, and less when it broke off: the status came,
	// and it is what counts.
	Body []byte
}

// Do sends req and reads the answer. The error holds the URL: see [Failure].
func Do(c *http.Client, req *http.Request) (Answer, error) {
	resp, err := c.Do(req) //nolint:gosec // a configured address; the dialer checks where it leads
	if err != nil {
		return Answer{}, fmt.Errorf("call an endpoint: %w", err)
	}
	defer resp.Body.Close()                                     //nolint:errcheck // it was only read
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // see Answer.Body
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// Failure is the outcome of a request that got no answer: Retry, with one word
// for the reason. The error's own text holds the URL and is dropped.
func Failure(err error) delivery.Outcome {
	reason := "connection"
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, ErrForbidden):
		reason = "forbidden_address"
	case errors.Is(err, context.DeadlineExceeded), isNet && netErr.Timeout():
		reason = "timeout"
	case errors.Is(err, context.Canceled):
		reason = "cancelled"
	}
	return delivery.Outcome{Kind: delivery.Retry, Reason: reason}
}

// RetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): seconds or
// a date. Absent, past or malformed is 0.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		most := int64(delivery.MaxRetryAfter / time.Second)
		return time.Duration(min(max(seconds, 0), most)) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), delivery.MaxRetryAfter)
}
