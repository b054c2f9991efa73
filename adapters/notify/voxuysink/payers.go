package voxuysink

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

// PayersBucket is the KV bucket that says, for a day, who has an approved order.
// A key is "<pseudonym>.<order id>", the value is empty.
const PayersBucket = "PAYERS"

// payerAge is how long an approval holds back another order of the same person
// that names no purchase (providers.md, "Voxuy", Out).
const payerAge = 24 * time.Hour

// Payers is the bucket. It knows persons only by their pseudonyms.
type Payers struct{ kv jetstream.KeyValue }

// OpenPayers finds or makes the bucket; afterCreate runs when it was made.
func OpenPayers(ctx context.Context, js jetstream.JetStream, replicas int, afterCreate func() error) (*Payers, error) {
	kv, err := js.KeyValue(ctx, PayersBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: PayersBucket, Description: "who has an approved order, by pseudonym", History: 1,
			TTL: payerAge, Storage: jetstream.FileStorage, Replicas: max(replicas, 1),
		})
		if err == nil {
			err = afterCreate()
		}
	}
	if err != nil {
		return nil, domain.Errorf(domain.Unavailable, "open bucket %s: %w", PayersBucket, err)
	}
	return &Payers{kv: kv}, nil
}

// Note remembers whether the person's order is approved now.
func (p *Payers) Note(ctx context.Context, person string, id domain.OrderID, approved bool) error {
	key := person + "." + string(id)
	var err error
	if approved {
		_, err = p.kv.Put(ctx, key, nil)
	} else {
		err = p.kv.Delete(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("note the payer of %s: %w", id, err)
	}
	return nil
}

// Paid reports whether another order of the person was approved within a day
// and still is.
func (p *Payers) Paid(ctx context.Context, person string, except domain.OrderID) (paid bool, err error) {
	keys, err := p.kv.ListKeysFiltered(ctx, person+".*")
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for other orders of the payer of %s: %w", except, err)
	}
	for key := range keys.Keys() { // to its end, which ends the lister
		paid = paid || !strings.HasSuffix(key, "."+string(except))
	}
	return paid, ctx.Err()
}

// pseudonyms name a person by everything that tells persons apart, each keyed by
// the account's token, so that nobody without it can find a person by trying.
func (s *Sink) pseudonyms(who *domain.Personal) []string {
	var out []string
	for kind, text := range map[string]string{
		"document": who.Document, "email": strings.ToLower(who.Email), "phone": who.Phone,
	} {
		if text == "" {
			continue
		}
		mac := hmac.New(sha256.New, []byte(s.token.Reveal()))
		mac.Write([]byte(kind + "\x00" + text))
		out = append(out, base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:16]))
	}
	return out
}

// payer notes what the event says of the person's being a payer, and reports
// whether an order of the same person, but not known to be of the same purchase,
// makes asking for a payment wrong.
func (s *Sink) payer(ctx context.Context, e *domain.Event, reference string, w word, who *domain.Personal) (paid bool, err error) {
	for _, person := range s.pseudonyms(who) {
		if e.From != e.To && (e.To == domain.StatusApproved || e.From == domain.StatusApproved) {
			if err := s.payers.Note(ctx, person, e.OrderID, e.To == domain.StatusApproved); err != nil {
				return false, err
			}
		}
		if paid || reference != "" || !w.asksToPay() {
			continue
		}
		if paid, err = s.payers.Paid(ctx, person, e.OrderID); err != nil {
			return false, err
		}
	}
	return paid, nil
}
