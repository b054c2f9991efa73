package privacy

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"comanda.internal/domain"
)

// master is the key-encryption key: it wraps data keys, and peppers are derived from it.
type master struct {
	id      string // first bytes of its hash, to tell a wrong file from a broken record
	aead    cipher.AEAD
	peppers []byte // what tenants' peppers are derived from
}

const (
	masterPrefix          = "comanda-kek-v1:"
	masterMode            = fs.FileMode(0o600)
	masterIDSize          = 8
	wrapVersion      byte = 1
	wrapHeader            = 1 + masterIDSize + nonceSize
	wrapAdditional        = "comanda data key"
	pepperInfo            = "comanda pepper v1"
	masterOthersMask      = fs.FileMode(0o077)
)

// loadMaster reads the key file. It refuses one that others can read or write.
// The error is fs.ErrNotExist when there is none.
func loadMaster(path string) (*master, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the key-encryption key: %w", err)
	}
	if info.Mode().Perm()&masterOthersMask != 0 {
		return nil, domain.Errorf(domain.Invalid,
			"key-encryption key %s has mode %04o: it must be readable by its owner alone (chmod 600)", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read the key-encryption key: %w", err)
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(text)), masterPrefix)
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(secret) != keySize {
		return nil, domain.Errorf(domain.Invalid, "key-encryption key %s: not %s and the base64 of %d bytes", path, masterPrefix, keySize)
	}
	return newMaster(secret)
}

// makeMaster writes a new key file, durably, and never over another.
func makeMaster(path string) (*master, error) {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret)                                                   // never fails
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, masterMode) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("write the key-encryption key: %w", err)
	}
	_, werr := f.WriteString(masterPrefix + base64.StdEncoding.EncodeToString(secret) + "\n")
	if err := errors.Join(werr, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("write the key-encryption key: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("write the key-encryption key: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return nil, fmt.Errorf("write the key-encryption key: %w", err)
	}
	return newMaster(secret)
}

func newMaster(secret []byte) (*master, error) {
	aead, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	peppers, err := hkdf.Key(sha256.New, secret, nil, pepperInfo, sha256.Size)
	if err != nil {
		return nil, domain.Errorf(domain.Internal, "derive the peppers: %w", err)
	}
	sum := sha256.Sum256(append([]byte(masterPrefix), secret...))
	return &master{id: string(sum[:masterIDSize]), aead: aead, peppers: peppers}, nil
}

// name is the master's id for people and for the bucket's metadata.
func (m *master) name() string { return hex.EncodeToString([]byte(m.id)) }

// wrap is the record of a data key: version, master's id, nonce, ciphertext.
func (m *master) wrap(id string, secret []byte) []byte {
	out := make([]byte, wrapHeader, wrapHeader+keySize+m.aead.Overhead())
	out[0] = wrapVersion
	copy(out[1:], m.id)
	nonce := out[1+masterIDSize : wrapHeader]
	_, _ = rand.Read(nonce) // never fails
	return m.aead.Seal(out, nonce, secret, additional(wrapAdditional, id))
}

func (m *master) unwrap(id string, record []byte) (*Key, error) {
	if len(record) < wrapHeader || record[0] != wrapVersion {
		return nil, domain.Errorf(domain.Corrupt, "data key %s: not a record of version %d", id, wrapVersion)
	}
	if string(record[1:1+masterIDSize]) != m.id {
		return nil, domain.Errorf(domain.Corrupt, "data key %s was wrapped by another key-encryption key than %s", id, m.name())
	}
	secret, err := m.aead.Open(nil, record[1+masterIDSize:wrapHeader], record[wrapHeader:], additional(wrapAdditional, id))
	if err != nil {
		return nil, domain.Errorf(domain.Corrupt, "unwrap data key %s: %w", id, err)
	}
	aead, err := newGCM(secret)
	if err != nil {
		return nil, err
	}
	return &Key{id: id, aead: aead}, nil
}
