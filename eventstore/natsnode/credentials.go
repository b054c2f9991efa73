package natsnode

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go"

	"comanda.internal/domain"
)

// The files, in the data directory, with the two accounts' credentials.
const (
	CoreCredentials     = "nats-core.json"     //nolint:gosec // a file name
	CheckoutCredentials = "nats-checkout.json" //nolint:gosec // a file name
)

// credentials is one user. The form is that of a `nats context` file, so that
// the official command line reads it as it is.
type credentials struct {
	URL      string `json:"url,omitempty"`
	User     string `json:"user"`
	Password string `json:"password"`
}

const privateMode fs.FileMode = 0o600

// loadOrMake reads the user's credentials, or makes and writes them.
func loadOrMake(dir, name, user string) (credentials, error) {
	path := filepath.Join(dir, name)
	c, err := readCredentials(path)
	if err == nil {
		if c.User != user {
			return credentials{}, domain.Errorf(domain.Invalid, "%s is for user %q, not %q", path, c.User, user)
		}
		return c, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return credentials{}, err
	}
	c = credentials{User: user, Password: rand.Text()}
	return c, c.write(path)
}

// readCredentials refuses a file that others could have read.
func readCredentials(path string) (credentials, error) {
	info, err := os.Stat(path)
	if err != nil {
		return credentials{}, fmt.Errorf("read nats credentials: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return credentials{}, domain.Errorf(domain.Invalid, "%s has mode %04o: others can read it; chmod 600 and change the password",
			path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return credentials{}, fmt.Errorf("read nats credentials: %w", err)
	}
	var c credentials
	if err := json.Unmarshal(text, &c); err != nil || c.User == "" || c.Password == "" {
		return credentials{}, domain.Errorf(domain.Invalid, "%s: not credentials as Comanda writes them", path)
	}
	return c, nil
}

// write puts c at path.
func (c credentials) write(path string) error {
	text, err := json.MarshalIndent(c, "", "  ") //nolint:gosec // the file is what this password is for
	if err != nil {
		return fmt.Errorf("write nats credentials: %w", err)
	}
	if err := writeWhole(path, append(text, '\n')); err != nil {
		return fmt.Errorf("write nats credentials: %w", err)
	}
	return nil
}

// RunningURL is where the server that runs on dir, an embedded one's data
// directory, listens. Unavailable: nowhere.
func RunningURL(dir string) (string, error) {
	path := filepath.Join(dir, CoreCredentials)
	c, err := readCredentials(path)
	if err != nil {
		return "", err
	}
	if c.URL == "" {
		return "", domain.Errorf(domain.Unavailable, "the server on %s has no NATS listener", dir)
	}
	return c.URL, nil
}

// credsOption is how to log in with the file at path: our own JSON, or .creds.
func credsOption(path string) (nats.Option, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read nats credentials: %w", err)
	}
	if !json.Valid(text) {
		return nats.UserCredentials(path), nil
	}
	c, err := readCredentials(path)
	if err != nil {
		return nil, err
	}
	return nats.UserInfo(c.User, c.Password), nil
}
