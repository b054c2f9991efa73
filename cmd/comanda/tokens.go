package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
)

// tokensCmd keeps the tokens of the gRPC server.
type tokensCmd struct {
	Create tokensCreateCmd `cmd:"" help:"Make a token and print it: it is kept as a hash only."`
	List   tokensListCmd   `cmd:"" help:"List the tokens: whose they are and what they may do."`
	Revoke tokensRevokeCmd `cmd:"" help:"End a token. A running server notices within a second, and ends the calls that run."`
}

// tokensFile is where tokens are kept below the data directory.
const tokensFile = "tokens.json"

// tokensFlags say where tokens are kept.
type tokensFlags struct {
	DataDir    string `help:"Data directory of the server; it need not run." default:"./comanda-data" type:"path"`
	TokensFile string `help:"The configuration's access.tokens_file, if it has one." type:"path"`
}

func (f *tokensFlags) store() access.Store {
	if f.TokensFile != "" {
		return access.Store{Path: f.TokensFile}
	}
	return access.Store{Path: filepath.Join(f.DataDir, tokensFile)}
}

type tokensCreateCmd struct {
	tokensFlags

	Name       string         `arg:"" help:"Whose it is, as erp: 1 to 40 of a-z, 0-9, hyphen and dot."`
	Scope      []access.Scope `required:"" help:"What it may do: orders:read, events:read, facts:write, endpoints:admin, personal:read, admin."`
	Tenant     []string       `help:"Whose orders it may see; several are allowed."`
	AllTenants bool           `help:"Every merchant's, of now and later."`
	ExpiresIn  time.Duration  `help:"End it after this long, as 720h; 0: never."`
}

// Run prints the token alone to the output, and what it is to standard error.
func (c *tokensCreateCmd) Run(io *stdio) error {
	grant := access.Token{Name: c.Name, Scopes: c.Scope}
	for _, tenant := range c.Tenant {
		grant.Tenants = append(grant.Tenants, domain.TenantID(tenant))
	}
	switch {
	case c.AllTenants == (len(c.Tenant) > 0):
		return usagef("--tenant or --all-tenants: want one of them")
	case c.AllTenants:
		grant.Tenants = []domain.TenantID{access.AnyTenant}
	case c.ExpiresIn < 0:
		return usagef("--expires-in: must not be negative")
	}
	now := io.now()
	if c.ExpiresIn > 0 {
		grant.ExpiresAt = now.Add(c.ExpiresIn)
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return usagef("--data-dir: %v", err)
	}
	made, text, err := c.store().Create(grant, now)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(io.err, "%s (%s), shown this once:\n", made.ID, made.Name); err != nil {
		return err
	}
	_, err = fmt.Fprintln(io.out, text.Reveal())
	return err
}

type tokensListCmd struct {
	tokensFlags

	Output string `short:"o" enum:"table,json" default:"table" help:"Output format: table or json."`
}

// tokenRow is a token as it is shown: without its hash.
type tokenRow struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	State     string            `json:"state"`
	Scopes    []access.Scope    `json:"scopes"`
	Tenants   []domain.TenantID `json:"tenants"`
	CreatedAt time.Time         `json:"created_at"`
	ExpiresAt *time.Time        `json:"expires_at"`
	RevokedAt *time.Time        `json:"revoked_at"`
}

// Run lists the tokens in the order of their creation.
func (c *tokensListCmd) Run(io *stdio) error {
	tokens, err := c.store().Load()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	known := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	rows := make([]tokenRow, len(tokens))
	for i := range tokens {
		t := &tokens[i]
		rows[i] = tokenRow{
			t.ID, t.Name, t.State(io.now()), t.Scopes, t.Tenants, t.CreatedAt, known(t.ExpiresAt), known(t.RevokedAt),
		}
	}
	if c.Output == formatJSON {
		enc := json.NewEncoder(io.out)
		enc.SetIndent("", "  ")
		return enc.Encode(rows)
	}
	w := tabwriter.NewWriter(io.out, 0, 8, 2, ' ', 0)
	if len(rows) > 0 {
		_, _ = fmt.Fprintln(w, "ID\tNAME\tSTATE\tSCOPES\tTENANTS\tCREATED_AT\tEXPIRES_AT") // Flush has its error
	}
	for i := range rows {
		r := &rows[i]
		expires := ""
		if r.ExpiresAt != nil {
			expires = r.ExpiresAt.Format(time.RFC3339)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			r.ID, r.Name, r.State, words(r.Scopes), words(r.Tenants), r.CreatedAt.Format(time.RFC3339), expires)
	}
	return w.Flush()
}

func words[T ~string](of []T) string {
	texts := make([]string, len(of))
	for i, t := range of {
		texts[i] = string(t)
	}
	return strings.Join(texts, ",")
}

type tokensRevokeCmd struct {
	tokensFlags

	Token string `arg:"" help:"Its id or its name."`
}

// Run revokes a token.
func (c *tokensRevokeCmd) Run(io *stdio) error {
	store := c.store()
	if _, err := os.Stat(store.Path); err != nil {
		return domain.Errorf(domain.NotFound, "%s: no token was ever made there", store.Path)
	}
	revoked, err := store.Revoke(c.Token, io.now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(io.out, "%s (%s) is revoked\n", revoked.ID, revoked.Name)
	return err
}
