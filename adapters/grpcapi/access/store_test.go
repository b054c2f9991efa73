package access_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
)

var noon = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newStore(t *testing.T) access.Store {
	t.Helper()
	return access.Store{Path: filepath.Join(t.TempDir(), "tokens.json")}
}

// reader is a token that reads orders of loja.
func reader(name string) access.Token {
	return access.Token{Name: name, Scopes: []access.Scope{access.OrdersRead}, Tenants: []domain.TenantID{"loja"}}
}

func TestATokenIsKeptAsItsHashOnly(t *testing.T) {
	store := newStore(t)
	if _, err := store.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before the first: %v", err)
	}
	grant := reader("erp")
	grant.ExpiresAt = noon.Add(time.Hour)
	made, text, err := store.Create(grant, noon)
	must(t, err)
	if !regexp.MustCompile(`^comanda_[a-z2-7]{52}$`).MatchString(text.Reveal()) || !strings.HasPrefix(made.ID, "tok_") {
		t.Errorf("the token is %d characters long, its id %q", len(text.Reveal()), made.ID)
	}
	file, err := os.ReadFile(store.Path)
	must(t, err)
	if secret := strings.TrimPrefix(text.Reveal(), "comanda_"); strings.Contains(string(file), secret) {
		t.Error("the file holds the token itself")
	}
	info, err := os.Stat(store.Path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", info.Mode())
	}
	kept, err := store.Load()
	must(t, err)
	if diff := cmp.Diff([]access.Token{made}, kept); diff != "" {
		t.Errorf("kept (-made +kept):\n%s", diff)
	}
	for at, want := range map[time.Time]string{noon: "live", noon.Add(time.Hour): "expired"} {
		if got := made.State(at); got != want {
			t.Errorf("at %v it is %s, want %s", at, got, want)
		}
	}
}

func TestWhatTokensAreRefused(t *testing.T) {
	store := newStore(t)
	_, _, err := store.Create(reader("erp"), noon)
	must(t, err)
	for name, c := range map[string]struct {
		change func(*access.Token)
		kind   domain.ErrorKind
		says   string
	}{
		"a live name":    {func(*access.Token) {}, domain.Exists, "erp"},
		"no name":        {func(k *access.Token) { k.Name = "" }, domain.Invalid, "name: "},
		"an odd name":    {func(k *access.Token) { k.Name = "Érp" }, domain.Invalid, "name: "},
		"no scope":       {func(k *access.Token) { k.Scopes = nil }, domain.Invalid, "scopes: "},
		"no such scope":  {func(k *access.Token) { k.Scopes = []access.Scope{"orders:write"} }, domain.Invalid, "orders:write"},
		"no tenant":      {func(k *access.Token) { k.Tenants = nil }, domain.Invalid, "tenants: "},
		"an odd tenant":  {func(k *access.Token) { k.Tenants = []domain.TenantID{"Loja"} }, domain.Invalid, "tenants: "},
		"any and one":    {func(k *access.Token) { k.Tenants = []domain.TenantID{"*", "loja"} }, domain.Invalid, "tenants: "},
		"expired before": {func(k *access.Token) { k.Name, k.ExpiresAt = "old", noon }, domain.Invalid, "expires_at: "},
	} {
		t.Run(name, func(t *testing.T) {
			grant := reader("erp")
			c.change(&grant)
			if _, _, err := store.Create(grant, noon); domain.KindOf(err) != c.kind || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("error = %v, want one of kind %v that says %s", err, c.kind, c.says)
			}
		})
	}
	if kept, err := store.Load(); err != nil || len(kept) != 1 {
		t.Errorf("%d tokens are kept, %v", len(kept), err)
	}
}

func TestARevokedTokenStaysAndItsNameIsFree(t *testing.T) {
	store := newStore(t)
	first, _, err := store.Create(reader("erp"), noon)
	must(t, err)
	revoked, err := store.Revoke("erp", noon.Add(time.Minute))
	must(t, err)
	if revoked.ID != first.ID || revoked.State(noon.Add(time.Minute)) != "revoked" {
		t.Errorf("revoked = %+v", revoked)
	}
	if _, err := store.Revoke(first.ID, noon); domain.KindOf(err) != domain.Refused {
		t.Errorf("again: %v, want an error of kind refused", err)
	}
	if _, err := store.Revoke("nobody", noon); domain.KindOf(err) != domain.NotFound {
		t.Errorf("nobody's: %v, want an error of kind not_found", err)
	}
	second, _, err := store.Create(reader("erp"), noon)
	must(t, err)
	if revoked, err = store.Revoke("erp", noon); err != nil || revoked.ID != second.ID {
		t.Errorf("by name, the live one: %+v, %v", revoked, err)
	}
	if kept, err := store.Load(); err != nil || len(kept) != 2 {
		t.Errorf("%d tokens are kept, %v", len(kept), err)
	}
}

func TestConcurrentChangesLoseNothing(t *testing.T) {
	store := newStore(t)
	const writers, each = 8, 5
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for n := range each {
				name := fmt.Sprintf("w%d-%d", w, n)
				if _, _, err := (access.Store{Path: store.Path}).Create(reader(name), noon); err != nil {
					t.Errorf("create %s: %v", name, err)
				}
				if n%2 == 1 {
					if _, err := store.Revoke(name, noon); err != nil {
						t.Errorf("revoke %s: %v", name, err)
					}
				}
			}
		})
	}
	group.Wait()
	kept, err := store.Load()
	must(t, err)
	revoked := 0
	for i := range kept {
		if kept[i].State(noon) == "revoked" {
			revoked++
		}
	}
	if len(kept) != writers*each || revoked != writers*2 {
		t.Errorf("%d tokens, %d revoked; want %d and %d", len(kept), revoked, writers*each, writers*2)
	}
}

func TestATornFileIsNamed(t *testing.T) {
	store := newStore(t)
	for _, text := range []string{`{"tokens": [`, `{"tokens": [{"id": "x", "name": "erp", "hash": "00", "scopes": ["admin"], "tenants": ["*"]}]}`} {
		must(t, os.WriteFile(store.Path, []byte(text), 0o600))
		if _, err := store.Load(); err == nil || !strings.Contains(err.Error(), store.Path) {
			t.Errorf("%s: %v", text, err)
		}
		if _, _, err := store.Create(reader("erp"), noon); err == nil {
			t.Errorf("%s: a token was added", text)
		}
	}
}
