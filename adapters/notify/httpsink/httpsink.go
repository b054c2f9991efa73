package httpsink

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/egress"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
)

// Sink posts to one endpoint. It is safe for concurrent use.
type Sink struct {
	url    domain.Secret
	keys   []Key
	client *http.Client
	clock  func() time.Time
}

var _ message.Publisher = (*Sink)(nil)

// New makes the sink of e. The error joins all mistakes.
func New(e notify.Endpoint, clock func() time.Time) (*Sink, error) {
	errs := []error{egress.CheckURL(e.URL.Reveal(), e.AllowPrivate)}
	keys := make([]Key, 0, len(e.Secrets))
	for _, secret := range e.Secrets {
		key, err := ParseKey(secret)
		keys, errs = append(keys, key), append(errs, err)
	}
	if len(keys) == 0 {
		errs = append(errs, domain.Errorf(domain.Invalid, "secrets: missing"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	client := egress.NewClient(egress.Config{AllowPrivate: e.AllowPrivate, MaxConnections: e.Concurrency})
	return &Sink{url: e.URL, keys: keys, client: client, clock: clock}, nil
}

// Builder makes http sinks for a notifier.
func Builder(clock func() time.Time) notify.Builder {
	return func(e notify.Endpoint) (message.Publisher, error) { return New(e, clock) }
}

// Publish posts each message, and stops at the first that is not a success. The
// error is a [delivery.OutcomeError]. The topic means nothing.
func (s *Sink) Publish(_ string, messages ...*message.Message) error {
	for _, msg := range messages {
		if err := s.post(msg).Err(); err != nil {
			return err
		}
	}
	return nil
}

// Close closes idle connections.
func (s *Sink) Close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *Sink) post(msg *message.Message) delivery.Outcome {
	req, err := http.NewRequestWithContext(msg.Context(), http.MethodPost, s.url.Reveal(), bytes.NewReader(msg.Payload))
	if err != nil {
		return delivery.Outcome{Kind: delivery.Retry, Reason: "request"} // its text holds the URL
	}
	now := s.clock()
	req.Header.Set("Content-Type", msg.Metadata.Get(notify.MetaContentType))
	req.Header.Set("User-Agent", "Comanda/1")
	if parent := msg.Metadata.Get(notify.MetaTraceparent); parent != "" {
		req.Header.Set("Traceparent", parent)
	}
	if state := msg.Metadata.Get(notify.MetaTracestate); state != "" {
		req.Header.Set("Tracestate", state)
	}
	req.Header.Set(HeaderID, msg.UUID)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(HeaderSignature, Sign(s.keys, msg.UUID, now, msg.Payload))
	answer, err := egress.Do(s.client, req)
	if err != nil {
		return egress.Failure(err)
	}
	return judge(answer, now)
}

// judge says what an answer means.
func judge(a egress.Answer, now time.Time) delivery.Outcome {
	detail := strconv.Itoa(a.Status)
	switch {
	case a.Status >= 200 && a.Status < 300:
		return delivery.Outcome{Kind: delivery.OK}
	case a.Status >= 300 && a.Status < 400:
		return delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: detail}
	case a.Status == http.StatusGone:
		return delivery.Outcome{Kind: delivery.Disable, Reason: "gone", Detail: detail}
	}
	return delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: detail, After: egress.RetryAfter(a.Header, now)}
}
