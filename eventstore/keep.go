package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/eventstore/privacy"
	"comanda.internal/eventstore/stream"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Quarantine keeps a message that could not become a fact, sealed, and returns
// when it is durable. reason is a word for the subject, [a-z0-9_-]; detail and
// fields say more and hold no value of the message. The same message of the
// same source has the same id; sent again within the hour it is kept once.
func (l *Log) Quarantine(ctx context.Context, msg domain.Message, reason, detail string, fields map[string][]string) (id string, err error) {
	if l.vault == nil {
		return "", domain.Errorf(domain.Unavailable, "quarantine: the log was opened without a vault")
	}
	if !validToken(reason) || strings.Contains(reason, ".") {
		return "", domain.Errorf(domain.Invalid, "quarantine: reason %q is not a word", reason)
	}
	id = contentID("qtn_", string(msg.Source), msg.Action, msg.ContentType, string(msg.Body))
	key, err := l.vault.Take(ctx)
	if err != nil {
		return "", fmt.Errorf("quarantine: %w", err)
	}
	raw, err := proto.Marshal(&comandav1.Raw{ContentType: msg.ContentType, Body: msg.Body})
	if err != nil {
		return "", domain.Errorf(domain.Invalid, "quarantine: %w", err)
	}
	kept := &comandav1.Quarantined{
		QuarantineId: id, Source: string(msg.Source), Tenant: string(msg.Tenant), Account: msg.Account, Provider: msg.Provider,
		Action: msg.Action, Reason: reason, Detail: detail, Fields: fieldErrors(fields),
		ReceivedAt: wire.Time(msg.ReceivedAt), Cause: causeOf(&msg.Cause),
		KeyId: key.ID(), SealedRaw: key.Seal(domain.OrderID(id), domain.EventID(id), privacy.PartRaw, raw),
	}
	if err := l.keep(ctx, "quarantine."+string(msg.Source)+"."+reason, id, kept); err != nil {
		return "", fmt.Errorf("quarantine: %w", err)
	}
	return id, nil
}

// Relay keeps a catalogue or operational event for those who want it passed on,
// and returns when it is durable. The same source, type and key are one event:
// sent again within two minutes it is kept once.
func (l *Log) Relay(ctx context.Context, msg domain.Message, eventType, key string, body []byte) error {
	if !validToken(eventType) {
		return domain.Errorf(domain.Invalid, "relay: type %q is not words with dots between", eventType)
	}
	id := contentID("rly_", string(msg.Source), eventType, key)
	kept := &comandav1.Relayed{
		RelayId: id, Source: string(msg.Source), Tenant: string(msg.Tenant), Provider: msg.Provider,
		Type: eventType, Key: key, ContentType: msg.ContentType, Body: body,
		ReceivedAt: wire.Time(msg.ReceivedAt), Cause: causeOf(&msg.Cause),
	}
	if err := l.keep(ctx, "relay."+string(msg.Tenant)+"."+eventType, id, kept); err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	return nil
}

// Quarantined hands every message in quarantine to handle, oldest first, as the
// stream's leader has it. Open it with [Log.OpenQuarantined].
func (l *Log) Quarantined(ctx context.Context, handle func(*comandav1.Quarantined) error) error {
	err := l.quarantine.Subject(ctx, "quarantine.*.*", func(m stream.Message) error {
		var kept comandav1.Quarantined
		if err := proto.Unmarshal(m.Data, &kept); err != nil {
			return domain.Errorf(domain.Corrupt, "%s at %d: %w", StreamQuarantine, m.Sequence, err)
		}
		return handle(&kept)
	})
	if err != nil {
		return storeError("read quarantine", err)
	}
	return nil
}

// OpenQuarantined is the message as it was received.
func (l *Log) OpenQuarantined(ctx context.Context, kept *comandav1.Quarantined) (contentType string, body []byte, err error) {
	if l.vault == nil {
		return "", nil, domain.Errorf(domain.Unavailable, "open quarantine: the log was opened without a vault")
	}
	e := domain.Event{
		ID: domain.EventID(kept.GetQuarantineId()), OrderID: domain.OrderID(kept.GetQuarantineId()),
		KeyID: kept.GetKeyId(), SealedRaw: kept.GetSealedRaw(),
	}
	contentType, body, err = l.vault.Raw(ctx, &e)
	if err != nil {
		return "", nil, fmt.Errorf("open quarantine %s: %w", kept.GetQuarantineId(), err)
	}
	return contentType, body, nil
}

// keep is store for those who need no sequence.
func (l *Log) keep(ctx context.Context, subject, id string, m proto.Message) error {
	_, err := l.store(ctx, subject, id, m)
	return err
}

// store publishes m with its id until it is acknowledged; a duplicate is kept already.
func (l *Log) store(ctx context.Context, subject, id string, m proto.Message) (sequence uint64, err error) {
	if err := l.Writable(); err != nil {
		return 0, err
	}
	data, err := proto.Marshal(m)
	if err != nil {
		return 0, domain.Errorf(domain.Invalid, "encode %s: %w", id, err)
	}
	msg := &nats.Msg{Subject: subject, Header: nats.Header{headerID: []string{id}}, Data: data}
	var last error
	for range l.cfg.AppendTries {
		tctx, cancel := context.WithTimeout(ctx, l.cfg.AppendTimeout)
		ack, err := l.publisher.Publish(tctx, msg)
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		last = errors.Join(last, err)
		l.watch.suspect()
		if !pause(ctx, pauseNoAnswer) {
			break
		}
	}
	return 0, domain.Errorf(domain.Unavailable, "store %s: %w", id, last)
}

func fieldErrors(fields map[string][]string) map[string]*comandav1.FieldErrors {
	if len(fields) == 0 {
		return nil
	}
	out := make(map[string]*comandav1.FieldErrors, len(fields))
	for name, messages := range fields {
		out[name] = &comandav1.FieldErrors{Messages: messages}
	}
	return out
}

func causeOf(c *domain.Cause) *comandav1.Cause {
	return &comandav1.Cause{RequestId: c.RequestID, Traceparent: c.Traceparent, Tracestate: c.Tracestate, Actor: c.Actor, Reason: c.Reason}
}
