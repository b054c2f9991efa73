package privacy

import (
	"context"

	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

const (
	roomForPersonal = 512 // of most
	roomForTags     = 16  // and lengths, of two fields
)

// SealEvent puts personal, and the message as received, sealed into e, whose id
// and order must be set. Without personal data that part stays empty.
func (k *Key) SealEvent(e *domain.Event, personal *domain.Personal, contentType string, body []byte) error {
	e.KeyID = k.id
	e.SealedPersonal = nil
	if personal != nil {
		plain, err := wire.AppendPersonal(k.place(roomForPersonal), personal)
		if err != nil {
			return domain.Errorf(domain.Invalid, "seal %s: %w", e.ID, err)
		}
		e.SealedPersonal = k.seal(e.OrderID, e.ID, PartPersonal, plain)
	}
	plain, err := wire.AppendRaw(k.place(roomForTags+len(contentType)+len(body)), contentType, body)
	if err != nil {
		return domain.Errorf(domain.Invalid, "seal %s: %w", e.ID, err)
	}
	e.SealedRaw = k.seal(e.OrderID, e.ID, PartRaw, plain)
	return nil
}

// Reveal opens the personal data of e; the zero value when it has none.
// NotFound says that it was erased.
func (v *Vault) Reveal(ctx context.Context, e *domain.Event) (domain.Personal, error) {
	if len(e.SealedPersonal) == 0 {
		return domain.Personal{}, nil
	}
	plain, err := v.open(ctx, e, PartPersonal, e.SealedPersonal)
	if err != nil {
		return domain.Personal{}, err
	}
	var p comandav1.Personal
	if err := proto.Unmarshal(plain, &p); err != nil {
		return domain.Personal{}, domain.Errorf(domain.Corrupt, "open %s of %s: %w", PartPersonal, e.ID, err)
	}
	return *wire.FromPersonal(&p), nil
}

// Raw opens the message as received that e keeps; empty when it keeps none.
func (v *Vault) Raw(ctx context.Context, e *domain.Event) (contentType string, body []byte, err error) {
	if len(e.SealedRaw) == 0 {
		return "", nil, nil
	}
	plain, err := v.open(ctx, e, PartRaw, e.SealedRaw)
	if err != nil {
		return "", nil, err
	}
	var raw comandav1.Raw
	if err := proto.Unmarshal(plain, &raw); err != nil {
		return "", nil, domain.Errorf(domain.Corrupt, "open %s of %s: %w", PartRaw, e.ID, err)
	}
	return raw.GetContentType(), raw.GetBody(), nil
}

func (v *Vault) open(ctx context.Context, e *domain.Event, part Part, sealed []byte) ([]byte, error) {
	k, err := v.Key(ctx, e.KeyID)
	if err != nil {
		return nil, err
	}
	return k.Open(e.OrderID, e.ID, part, sealed)
}
