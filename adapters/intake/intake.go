package intake

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// Source is one configured way in. It is never changed after it was made.
type Source struct {
	ID       domain.SourceID
	Provider string // canonical, or "vega" which is a shape of aprovei
	Tenant   domain.TenantID
	Account  string // may be empty
	Codec    provider.Codec
}

// Recorder appends facts to their orders, in their order, and answers with one
// outcome each once they are durable. With an error come the outcomes of the
// facts before the one that failed.
type Recorder interface {
	Record(ctx context.Context, msg domain.Message, facts []domain.Fact) ([]domain.Outcome, error)
	// RecordOn stores one fact on terms, or nothing.
	RecordOn(ctx context.Context, msg domain.Message, fact domain.Fact, terms order.Terms) (domain.Outcome, error)
}

// Keeper keeps what is no fact: durably, and sealed where it may be personal.
type Keeper interface {
	// Quarantine keeps msg and answers with the id it is kept under. fields may be nil.
	Quarantine(ctx context.Context, msg domain.Message, reason, detail string, fields map[string][]string) (id string, err error)
	// Relay passes on an event that belongs to no order.
	Relay(ctx context.Context, msg domain.Message, eventType, key string, body []byte) error
}

// The reasons for quarantine that are not a codec's; the set is closed.
const (
	// UnknownSource: the message names a source that is not configured.
	UnknownSource provider.ErrorReason = "unknown_source"
	// CorruptOrder: what is stored of the order does not hold together, so
	// nothing may be appended until an operator looked.
	CorruptOrder provider.ErrorReason = "corrupt_order"
	// CodecFailed: the codec broke its contract; a bug of ours, not the sender's.
	CodecFailed provider.ErrorReason = "codec_failed"
	// NotRecorded: it failed again and again, and not because the log was away; a
	// fault of ours.
	NotRecorded provider.ErrorReason = "not_recorded"
)

// Intake is the pipeline. It is safe for concurrent use.
type Intake struct {
	recorder Recorder
	keeper   Keeper
	now      func() time.Time
	logger   *slog.Logger
	metrics  *metrics
}

// New makes an intake that records with recorder and keeps with keeper. The
// error is the registerer's.
func New(
	recorder Recorder, keeper Keeper, now func() time.Time, logger *slog.Logger, registerer prometheus.Registerer,
) (*Intake, error) {
	m, err := newMetrics(registerer)
	if err != nil {
		return nil, err
	}
	return &Intake{recorder: recorder, keeper: keeper, now: now, logger: logger, metrics: m}, nil
}

// Accept reads body as a message of src and makes it durable. action is the
// rest of the path, "" for none; receivedAt is when the message arrived. The
// error is of kind Unavailable, or Internal for a fault of ours; either way
// nothing was acknowledged and the same message may come again.
func (in *Intake) Accept(
	ctx context.Context, src *Source, action, contentType string, body []byte, receivedAt time.Time, cause domain.Cause,
) (Receipt, error) {
	d := in.Decode(ctx, src, action, contentType, body, receivedAt, cause)
	return in.Commit(ctx, &d)
}

// Insist is Accept for a sender who waits for the answer (DESIGN section 5): what the fold refuses
// is not stored, nor what comes behind it in the message; the error is then the
// [*order.RefusedError]. What came before it is stored, and a duplicate when it comes again.
func (in *Intake) Insist(
	ctx context.Context, src *Source, contentType string, body []byte, receivedAt time.Time, cause domain.Cause,
) (Receipt, error) {
	d := in.Decode(ctx, src, "", contentType, body, receivedAt, cause)
	d.insists = true
	return in.Commit(ctx, &d)
}

// Decoded is a message that was read, well or badly, and is not yet durable.
type Decoded struct {
	src   *Source
	msg   domain.Message
	facts []domain.Fact
	relay *provider.RelayEvent
	bad   *provider.Error

	insists bool // its sender waits for a refusal, instead of having it stored
}

// OrderID is the order of the message's first fact; "" when there is none.
func (d *Decoded) OrderID() domain.OrderID {
	if len(d.facts) == 0 {
		return ""
	}
	return d.facts[0].Identity(d.msg.Tenant).OrderID()
}

// Decode reads a message with the source's codec: the first half of Accept. It
// waits for nothing and keeps body, which the caller must not change after.
func (in *Intake) Decode(
	ctx context.Context, src *Source, action, contentType string, body []byte, receivedAt time.Time, cause domain.Cause,
) Decoded {
	name, _ := provider.Canonical(src.Provider)
	d := Decoded{src: src, msg: domain.Message{
		Source: src.ID, Tenant: src.Tenant, Account: src.Account, Provider: name,
		Action: action, ContentType: contentType, Body: body, ReceivedAt: receivedAt.UTC(), Cause: cause,
	}}
	if err := read(&d); err != nil {
		d.facts, d.relay, d.bad = nil, nil, in.asProviderError(ctx, src, err)
	}
	return d
}

// errNoFacts is a codec's answer without facts and without an error.
var errNoFacts = errors.New("the codec gave neither facts nor an error")

// read lets the codec read d.msg. A codec that panics must not take the
// process with it: a message in a durable queue would come again at every start.
func read(d *Decoded) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// The panic's value may quote the body, so it is dropped.
			err = errPanicked
		}
	}()
	if relayer, ok := d.src.Codec.(provider.Relayer); ok {
		event, isRelay, err := relayer.Relay(d.msg)
		if err != nil {
			return err
		}
		if isRelay {
			d.relay = &event
			return nil
		}
	}
	if d.facts, err = d.src.Codec.Decode(d.msg); err != nil {
		return err
	}
	if len(d.facts) == 0 {
		return errNoFacts
	}
	return nil
}

var errPanicked = errors.New("the codec panicked")

// asProviderError is err as the codec's word on the message, or CodecFailed.
func (in *Intake) asProviderError(ctx context.Context, src *Source, err error) *provider.Error {
	if bad, ok := errors.AsType[*provider.Error](err); ok {
		return bad
	}
	in.logger.ErrorContext(ctx, "codec failed", "source", string(src.ID), "provider", src.Provider, "panicked", errors.Is(err, errPanicked))
	return &provider.Error{Reason: CodecFailed}
}

// Commit makes d durable: the second half of Accept, with its error.
func (in *Intake) Commit(ctx context.Context, d *Decoded) (Receipt, error) {
	begun := in.now()
	receipt, err := in.commit(ctx, d)
	in.metrics.observe(d, &receipt, err, in.now().Sub(begun))
	return receipt, err
}

func (in *Intake) commit(ctx context.Context, d *Decoded) (Receipt, error) {
	switch {
	case d.bad != nil:
		return in.quarantine(ctx, &d.msg, d.bad, nil)
	case d.relay != nil:
		if err := in.keeper.Relay(ctx, d.msg, d.relay.Type, d.relay.Key, d.relay.Body); err != nil {
			return Receipt{}, retryLater(err, "relay")
		}
		return Receipt{Relayed: true}, nil
	}
	outcomes, err := in.record(ctx, d)
	if err == nil {
		return Receipt{Outcomes: outcomes}, nil
	}
	if _, refused := errors.AsType[*order.RefusedError](err); refused {
		return Receipt{}, err
	}
	bad := in.notMappable(ctx, d, err)
	if bad == nil {
		return Receipt{}, retryLater(err, "record")
	}
	return in.quarantine(ctx, &d.msg, bad, outcomes)
}

// record stores the facts of d, on terms when its sender hears of a refusal.
func (in *Intake) record(ctx context.Context, d *Decoded) (outcomes []domain.Outcome, err error) {
	if !d.insists {
		return in.recorder.Record(ctx, d.msg, d.facts) //nolint:wrapcheck // commit looks into it
	}
	for i := range d.facts {
		out, err := in.recorder.RecordOn(ctx, d.msg, d.facts[i], order.Terms{})
		if err != nil {
			return outcomes, err //nolint:wrapcheck // likewise
		}
		outcomes = append(outcomes, out)
	}
	return outcomes, nil
}

// notMappable is the reason to keep the message when the recorder's error will
// not go away by trying again; nil when it may.
func (in *Intake) notMappable(ctx context.Context, d *Decoded, err error) *provider.Error {
	var typed *domain.Error
	if !errors.As(err, &typed) {
		return nil
	}
	switch typed.Kind {
	case domain.Exhausted:
		return &provider.Error{Reason: provider.TooManyFacts}
	case domain.Invalid, domain.Refused:
		return &provider.Error{Reason: provider.RefusedContent, Fields: typed.Fields, Detail: typed.Error()}
	case domain.Corrupt:
		in.logger.ErrorContext(ctx, "order is corrupt, message quarantined",
			"source", string(d.src.ID), "order_id", string(d.OrderID()), "error", err)
		return &provider.Error{Reason: CorruptOrder}
	default:
		return nil
	}
}

func (in *Intake) quarantine(
	ctx context.Context, msg *domain.Message, bad *provider.Error, outcomes []domain.Outcome,
) (Receipt, error) {
	fields := bad.Fields
	if bad.Reason == provider.Malformed && len(fields) == 0 {
		fields = map[string][]string{"body": {"not strict JSON"}}
	}
	id, err := in.keeper.Quarantine(ctx, *msg, string(bad.Reason), bad.Detail, fields)
	if err != nil {
		return Receipt{}, retryLater(err, "quarantine")
	}
	return Receipt{
		QuarantineID: id, Reason: bad.Reason, Detail: bad.Detail, Fields: fields, Outcomes: outcomes,
	}, nil
}

// GiveUp keeps d in quarantine as [NotRecorded], for a way in that cannot leave it
// to its sender to try again. The error is as Commit's.
func (in *Intake) GiveUp(ctx context.Context, d *Decoded) (Receipt, error) {
	begun := in.now()
	receipt, err := in.quarantine(ctx, &d.msg, &provider.Error{Reason: NotRecorded}, nil)
	in.metrics.observe(d, &receipt, err, in.now().Sub(begun))
	return receipt, err
}

// retryLater is err as what the sender may do about it: nothing but try again.
func retryLater(err error, verb string) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return domain.Errorf(domain.Unavailable, "%s: %w", verb, err)
	case domain.KindOf(err) == domain.Unavailable:
		return domain.Errorf(domain.Unavailable, "%s: %w", verb, err)
	default:
		return domain.Errorf(domain.Internal, "%s: %w", verb, err)
	}
}

// AcceptUnknown keeps a message whose source is not configured, under a name
// made from token, which may be any text. It is for ways in whose transport has
// already said who may write; HTTP answers 401 and keeps nothing.
func (in *Intake) AcceptUnknown(
	ctx context.Context, token, contentType string, body []byte, receivedAt time.Time, cause domain.Cause,
) (Receipt, error) {
	msg := domain.Message{
		Source: SanitizeSource(token), ContentType: contentType, Body: body, ReceivedAt: receivedAt.UTC(), Cause: cause,
	}
	receipt, err := in.quarantine(ctx, &msg, &provider.Error{Reason: UnknownSource}, nil)
	// Anybody's text is no label.
	in.metrics.observe(&Decoded{src: &Source{ID: "unknown", Provider: "unknown"}}, &receipt, err, 0)
	return receipt, err
}

// maxSourceLength is that of domain.SourceID.
const maxSourceLength = 40

// SanitizeSource is token as a valid source id: lower case, every other
// character a hyphen, cut at 40; "unknown" when nothing is left.
func SanitizeSource(token string) domain.SourceID {
	token = strings.ToLower(token)
	var b strings.Builder
	for _, r := range token {
		if b.Len() == maxSourceLength {
			break
		}
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			r = '-'
		}
		b.WriteByte(byte(r))
	}
	if strings.Trim(b.String(), "-") == "" {
		return "unknown"
	}
	return domain.SourceID(b.String())
}
