package privacy

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"

	"comanda.internal/domain"
)

// Part names what is sealed; it is part of the additional data.
type Part string

// The parts of an event.
const (
	PartPersonal Part = "personal"
	PartRaw      Part = "raw"
)

const (
	keySize   = 32
	nonceSize = 12
)

// unsealedMark begins what a disabled vault did not seal.
const unsealedMark = "COMANDA-UNSEALED\x00"

// Key seals and opens one order's parts. It is safe for concurrent use.
type Key struct {
	id   string
	aead cipher.AEAD // nil: of a disabled vault
}

// ID names the key in the bucket; "" is the disabled vault's.
func (k *Key) ID() string { return k.id }

// Seal is nonce and ciphertext of plain, bound to its place.
func (k *Key) Seal(order domain.OrderID, event domain.EventID, part Part, plain []byte) []byte {
	return k.seal(order, event, part, append(k.place(len(plain)), plain...))
}

// place has room for n bytes to be sealed, which are appended to it.
func (k *Key) place(n int) []byte {
	if k.aead == nil {
		return append(make([]byte, 0, len(unsealedMark)+n), unsealedMark...)
	}
	return make([]byte, nonceSize, nonceSize+n+k.aead.Overhead())
}

// seal is Seal of what was appended to a place, in the same memory.
func (k *Key) seal(order domain.OrderID, event domain.EventID, part Part, out []byte) []byte {
	if k.aead == nil {
		return out
	}
	nonce, plain := out[:nonceSize], out[nonceSize:]
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return k.aead.Seal(nonce, nonce, plain, additional(string(order), string(event), string(part)))
}

// Open is what Seal was given. An error, of kind Corrupt, says that the bytes,
// or the place they are opened for, are not those of the seal.
func (k *Key) Open(order domain.OrderID, event domain.EventID, part Part, sealed []byte) ([]byte, error) {
	if k.aead == nil {
		plain, ok := bytes.CutPrefix(sealed, []byte(unsealedMark))
		if !ok {
			return nil, domain.Errorf(domain.Corrupt, "open %s of %s: sealed, but the event names no key", part, event)
		}
		return plain, nil
	}
	if len(sealed) < nonceSize {
		return nil, domain.Errorf(domain.Corrupt, "open %s of %s: cut short", part, event)
	}
	plain, err := k.aead.Open(nil, sealed[:nonceSize], sealed[nonceSize:], additional(string(order), string(event), string(part)))
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "open %s of %s: %w", part, event, err)
	}
	return plain, nil
}

// additional are the parts, each after its length, so that no two lists look alike.
func additional(parts ...string) []byte {
	out := make([]byte, 0, 96) // enough for an event's
	for _, p := range parts {
		out = binary.BigEndian.AppendUint64(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "make a cipher: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "make a cipher: %w", err)
	}
	return gcm, nil
}
