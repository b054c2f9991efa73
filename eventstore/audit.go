package eventstore

import (
	"context"
	"crypto/rand"
	"fmt"

	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Audit records what is about to be done, under its action, and returns the record's
// sequence when it is durable. Who cannot record does not do it. It gives record its id
// and its log.
func (l *Log) Audit(ctx context.Context, record *comandav1.AuditRecord) (sequence uint64, err error) {
	if err := l.identity.Live(); err != nil {
		return 0, err
	}
	if !validToken(record.GetAction()) || record.GetReason() == "" || record.GetActor() == "" {
		return 0, domain.Errorf(domain.Invalid, "audit: it needs an action, a reason and an actor")
	}
	record.Log = l.identity.ID
	record.AuditId = contentID("aud_", rand.Text())
	sequence, err = l.store(ctx, "audit."+record.GetAction(), record.GetAuditId(), record)
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return sequence, nil
}

// Audited hands every audit record, with its sequence, to handle, oldest first.
func (l *Log) Audited(ctx context.Context, handle func(sequence uint64, record *comandav1.AuditRecord) error) error {
	err := stream.NewReader(l.js, StreamAudit, l.cfg.Logger).Subject(ctx, "audit.>", func(m stream.Message) error {
		var record comandav1.AuditRecord
		if err := proto.Unmarshal(m.Data, &record); err != nil {
			return domain.Errorf(domain.Corrupt, "%s at %d: %w", StreamAudit, m.Sequence, err)
		}
		return handle(m.Sequence, &record)
	})
	if err != nil {
		return storeError("read the audit records", err)
	}
	return nil
}
