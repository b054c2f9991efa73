package webhook

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// Handler answers POST /webhooks/…; mount it at [Prefix]. It is safe for
// concurrent use.
type Handler struct {
	cfg     Config
	sources map[string]*source
	// decoys are what is asked for an unknown source; see authenticate.
	decoys []verifier
	seed   maphash.Seed

	intake   *intake.Intake
	now      func() time.Time
	logger   *slog.Logger
	logRate  *rate.Limiter
	metrics  *metrics
	inFlight atomic.Int64
}

var _ http.Handler = (*Handler)(nil)

// Prefix is the path that a Handler is mounted at.
const Prefix = "/webhooks/"

// source is a Source at work.
type source struct {
	*intake.Source

	verifier verifier
	limiter  *rate.Limiter // nil: no bound
	retry    string        // Retry-After of a 429, in seconds
	canonic  string        // the provider's canonical name
}

// New makes the handler for sources, whose Auth must be loaded. The error joins
// everything that is wrong with cfg and sources.
func New(
	cfg Config, sources []Source, in *intake.Intake,
	now func() time.Time, logger *slog.Logger, registerer prometheus.Registerer,
) (*Handler, error) {
	cfg.setDefaults()
	h := &Handler{
		cfg: cfg, sources: make(map[string]*source, len(sources)), seed: maphash.MakeSeed(),
		intake: in, now: now, logger: logger, logRate: rate.NewLimiter(1, 10),
	}
	errs := []error{cfg.Validate()}
	for i := range sources {
		if err := h.add(&sources[i]); err != nil {
			errs = append(errs, fmt.Errorf("source %q: %w", string(sources[i].ID), err))
		}
	}
	if len(h.decoys) == 0 {
		none := Auth{Type: AuthToken, Tokens: []domain.Secret{domain.NewSecret(rand.Text())}}
		h.decoys = append(h.decoys, newTokenVerifier(&none))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var err error
	h.metrics, err = newMetrics(registerer)
	return h, err
}

var (
	errNoCodec    = errors.New("no codec")
	errTwice      = errors.New("configured twice")
	errInvalidID  = errors.New("id: want 1 to 40 of a-z, 0-9 and hyphen")
	errNoProvider = errors.New("provider: there is no such platform")
)

func (h *Handler) add(s *Source) error {
	name, known := provider.Canonical(s.Provider)
	switch {
	case !s.ID.Valid():
		return errInvalidID
	case !known:
		return errNoProvider
	case s.Codec == nil:
		return errNoCodec
	case h.sources[string(s.ID)] != nil:
		return errTwice
	}
	v, err := newVerifier(s.Auth)
	if err != nil {
		return err
	}
	added := &source{Source: s.Source, verifier: v, canonic: name}
	if per := s.Rate.PerSecond; per > 0 {
		burst := s.Rate.Burst
		if burst == 0 {
			burst = max(1, int(math.Ceil(per)))
		}
		added.limiter = rate.NewLimiter(rate.Limit(per), burst)
		added.retry = seconds(time.Duration(float64(time.Second) / per))
	}
	h.sources[string(s.ID)] = added
	h.decoys = append(h.decoys, v)
	return nil
}

// seconds is d for Retry-After: whole seconds, at least one.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d", max(1, int64(math.Ceil(d.Seconds())))) //nolint:perfsprint // read once, at start
}

// ServeHTTP answers one request by the table of DESIGN section 7.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	begun := h.now()
	id := requestID(r.Header)
	h.metrics.inFlight.Inc()
	a := h.answer(w, r, begun, id)
	header := w.Header()
	header["X-Request-Id"] = []string{id}
	a.write(w, header)
	h.metrics.inFlight.Dec()
	h.metrics.observe(a.status, h.now().Sub(begun))
}

// requestID is the sender's, when it may stand in headers and logs, else a new one.
func requestID(header http.Header) string {
	if ids := header["X-Request-Id"]; len(ids) == 1 && intake.ValidRequestID(ids[0]) {
		return ids[0]
	}
	return rand.Text()
}

func (h *Handler) answer(w http.ResponseWriter, r *http.Request, received time.Time, id string) answer {
	name, action, ok := route(r.URL.Path)
	switch {
	case !ok:
		return answerNotFound
	case r.Method != http.MethodPost:
		return answerMethod
	}
	defer h.inFlight.Add(-1)
	if h.inFlight.Add(1) > int64(h.cfg.MaxInFlight) {
		return answerBusy
	}
	if isEncoded(r.Header["Content-Encoding"]) {
		return answerEncoded
	}
	contentType, ok := jsonContentType(r.Header["Content-Type"])
	if !ok {
		return answerNotJSON
	}
	body, err := readBody(w, r, h.cfg.MaxBody)
	if err != nil {
		return answerUnread(err)
	}
	src := h.authenticate(name, r, body)
	switch {
	case src == nil:
		return answerUnauthorized
	case src.limiter != nil && !src.limiter.AllowN(h.now(), 1):
		return answerTooMany(src.retry)
	}
	cause := domain.Cause{RequestID: id}
	cause.Traceparent, cause.Tracestate = intake.Trace(r.Header["Traceparent"], r.Header["Tracestate"])
	return h.accept(r, src, &delivery{action: action, contentType: contentType, body: body, received: received, cause: cause})
}

// delivery is one authenticated message.
type delivery struct {
	action, contentType string
	body                []byte
	received            time.Time
	cause               domain.Cause
}

// accept hands d to the intake. It goes on when the sender hangs up: the
// message is whole and authentic, and an append that was sent is not taken back.
func (h *Handler) accept(r *http.Request, src *source, d *delivery) answer {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), h.cfg.RecordTimeout)
	defer cancel()
	receipt, err := h.intake.Accept(ctx, src.Source, d.action, d.contentType, d.body, d.received, d.cause)
	if err != nil {
		h.logRefusal(ctx, src, d.cause.RequestID, err)
		return answerUnavailable(seconds(h.cfg.RetryAfter))
	}
	return answerReceipt(src.canonic, &receipt, d.cause.RequestID)
}

// logRefusal tells of a 503, not of each one while the log is away.
func (h *Handler) logRefusal(ctx context.Context, src *source, id string, err error) {
	if !h.logRate.AllowN(h.now(), 1) {
		return
	}
	level := slog.LevelError
	if domain.KindOf(err) == domain.Unavailable {
		level = slog.LevelWarn
	}
	h.logger.Log(ctx, level, "webhook not accepted", "source", string(src.ID), "request_id", id, "error", err)
}

// authenticate is the source that the path names when the credentials are its
// own; otherwise nil. For an unknown name some configured source's verifier
// does its work, always the same one for the same name, and is not believed: so
// the time taken does not tell an unknown source from bad credentials.
func (h *Handler) authenticate(name string, r *http.Request, body []byte) *source {
	src := h.sources[name]
	v := h.decoys[maphash.String(h.seed, name)%uint64(len(h.decoys))]
	if src != nil {
		v = src.verifier
	}
	if ok := v.verify(r, body, h.now()); !ok {
		return nil
	}
	return src
}

// maxAction bounds the last segment of a path.
const maxAction = 64

// route reads /webhooks/{source} and /webhooks/{source}/{action}, with or
// without a slash at the end. Whether there is such a source is not its question.
func route(path string) (name, action string, ok bool) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return "", "", false
	}
	name, action, _ = strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	return name, action, name != "" && validAction(action)
}

// validAction reports whether s is at most 64 letters, digits and any of "._-".
func validAction(s string) bool {
	for i := range len(s) {
		c := s[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(s) <= maxAction
}

// timedOut reports whether err is the server's read deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
