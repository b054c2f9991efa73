package customers

import (
	"errors"
	"os"

	bbolterrors "go.etcd.io/bbolt/errors"

	"comanda.internal/domain"
	"comanda.internal/projections/kv"
)

// Look opens the index at path of a stopped process for [Index.Verify] and Close alone. It changes nothing,
// follows nothing, and needs neither Begin nor Clock. The error's kind is NotFound when
// there is none, Unavailable when another process has it or it is not made of this log with these
// keys, and Corrupt when it is damaged.
func Look(path string, deps Deps) (*Index, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, domain.Errorf(domain.NotFound, "no customer index: %w", err)
	}
	bolt, err := kv.OpenBolt(path)
	switch {
	case errors.Is(err, bbolterrors.ErrTimeout):
		return nil, domain.Errorf(domain.Unavailable, "open the customer index %s: another process has the file: %w", path, err)
	case err != nil:
		return nil, domain.Errorf(domain.Corrupt, "open the customer index %s, which the next start makes anew: %w", path, err)
	}
	x := newIndex(path, deps)
	x.file.Store(kv.New(bolt))
	x.looking = true
	close(x.ready)
	close(x.done)
	if !x.isOurs() {
		err := domain.Errorf(domain.Unavailable,
			"the customer index %s is of another log, key-encryption key or version, or damaged: the next start makes it anew", path)
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}
