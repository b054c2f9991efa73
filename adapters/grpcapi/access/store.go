package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"comanda.internal/domain"
)

// Store is the file of tokens. Any number of processes may change it: a lock beside
// it keeps one from undoing what another did, and readers see the file before or after.
type Store struct{ Path string }

const fileMode = 0o600

// tokensFile is the file's form.
type tokensFile struct {
	Tokens []Token `json:"tokens"`
}

// Load reads the tokens, revoked ones too, by creation. The error is
// [fs.ErrNotExist] when there never was one.
func (s Store) Load() ([]Token, error) {
	text, err := os.ReadFile(s.Path)
	if err != nil {
		return nil, err
	}
	tokens, err := parseTokens(text)
	if err != nil {
		return nil, fmt.Errorf("read the tokens in %s: %w", s.Path, err)
	}
	return tokens, nil
}

func parseTokens(text []byte) ([]Token, error) {
	var file tokensFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	for i := range file.Tokens {
		if err := file.Tokens[i].validate(); err != nil {
			return nil, fmt.Errorf("token %d: %w", i+1, err)
		}
	}
	return file.Tokens, nil
}

// Create adds a token of grant's name, scopes, tenants and expiry, and answers it with
// its text, which is kept nowhere. The error's kind is Invalid, or Exists for the name
// of a token that is still live.
func (s Store) Create(grant Token, now time.Time) (made Token, text domain.Secret, err error) {
	made, text = newToken(grant, now)
	switch err := made.validate(); {
	case err != nil:
		return Token{}, text, domain.Errorf(domain.Invalid, "create a token: %w", err)
	case !made.live(now):
		return Token{}, text, domain.Errorf(domain.Invalid, "create a token: expires_at: %s is over", made.ExpiresAt.Format(time.RFC3339))
	}
	err = s.update(func(tokens []Token) ([]Token, error) {
		for i := range tokens {
			if tokens[i].Name == made.Name && tokens[i].live(now) {
				return nil, domain.Errorf(domain.Exists, "the token %s (%s) has that name and is live: revoke it, or take another name", tokens[i].ID, made.Name)
			}
		}
		return append(tokens, made), nil
	})
	return made, text, err
}

// Revoke ends the token with an id, or the live one with a name. It stays in the file,
// so that it is told from an unknown one. The error's kind is NotFound for none, and
// Refused for one that was revoked before.
func (s Store) Revoke(idOrName string, now time.Time) (revoked Token, err error) {
	err = s.update(func(tokens []Token) ([]Token, error) {
		t := find(tokens, idOrName, now)
		switch {
		case t == nil:
			return nil, domain.Errorf(domain.NotFound, "%s: no token has that id or name", idOrName)
		case !t.RevokedAt.IsZero():
			return nil, domain.Errorf(domain.Refused, "%s: was revoked at %s", idOrName, t.RevokedAt.Format(time.RFC3339))
		}
		t.RevokedAt = now.UTC().Truncate(time.Second)
		revoked = *t
		return tokens, nil
	})
	return revoked, err
}

// find is the token with an id, or the newest with a name, live ones first; nil for none.
func find(tokens []Token, idOrName string, now time.Time) (found *Token) {
	for i := range tokens {
		t := &tokens[i]
		if t.ID == idOrName {
			return t
		}
		if t.Name == idOrName && (found == nil || t.live(now) || !found.live(now)) {
			found = t
		}
	}
	return found
}

// update writes what change makes of the tokens, whole or not at all.
func (s Store) update(change func([]Token) ([]Token, error)) (err error) {
	lock, err := s.lock()
	if err != nil {
		return fmt.Errorf("lock %s: %w", s.Path, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	tokens, err := s.Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if tokens, err = change(tokens); err != nil {
		return err
	}
	text, err := json.MarshalIndent(tokensFile{tokens}, "", "  ")
	if err != nil {
		return err
	}
	if err := s.replace(append(text, '\n')); err != nil {
		return fmt.Errorf("write the tokens in %s: %w", s.Path, err)
	}
	return nil
}

// lock waits until no other process changes the file. Closing the lock gives it back.
func (s Store) lock() (*os.File, error) {
	f, err := os.OpenFile(s.Path+".lock", os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
	}
}

// replace puts a file with the text in the place of the old one, on disk when it returns.
func (s Store) replace(text []byte) error {
	next := s.Path + ".tmp"                                                   // of who holds the lock
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode) //nolint:gosec // the operator names the file
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, s.Path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(s.Path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
