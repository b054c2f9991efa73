package providertest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// goldenFile is what stands in a golden file.
type goldenFile struct {
	Action  string         `json:"action,omitzero"`
	Body    jsontext.Value `json:"body,omitzero"` // of a sample; a fixture has its own file
	Facts   []domain.Fact  `json:"facts,omitzero"`
	Relayed *relayed       `json:"relayed,omitzero"`
	Error   *refusal       `json:"error,omitzero"`
}

type relayed struct {
	Type string `json:"type"`
	Key  string `json:"key"`
}

type refusal struct {
	Reason provider.ErrorReason `json:"reason"`
	Detail string               `json:"detail,omitzero"`
	Fields map[string][]string  `json:"fields,omitzero"`
}

// factText writes facts as people read them: kinds as words, sums as numbers.
var factText = []json.Options{
	json.WithMarshalers(json.JoinMarshalers(
		json.MarshalToFunc(func(e *jsontext.Encoder, k domain.Kind) error { return e.WriteToken(jsontext.String(k.String())) }),
		json.MarshalToFunc(func(e *jsontext.Encoder, a domain.Amount) error { return e.WriteToken(jsontext.Int(a.Minor)) }),
		json.MarshalToFunc(func(e *jsontext.Encoder, t time.Time) error {
			return e.WriteToken(jsontext.String(t.Format(time.RFC3339Nano)))
		}),
	)),
	json.Deterministic(true), json.OmitZeroStructFields(true), jsontext.WithIndent("  "),
}

// golden compares what in became with its golden file.
func (c *Case) golden(t *testing.T, in input, got answer) {
	t.Helper()
	file := goldenFile{Action: in.action, Facts: got.facts}
	if in.sample {
		file.Body = in.body
	}
	if got.relayed != nil {
		file.Relayed = &relayed{Type: got.relayed.Type, Key: got.relayed.Key}
	}
	if refused, ok := errors.AsType[*provider.Error](got.err); ok {
		file.Error = &refusal{Reason: refused.Reason, Detail: refused.Detail, Fields: refused.Fields}
	}
	text, err := json.Marshal(file, factText...)
	if err != nil {
		t.Fatalf("write the facts: %v", err)
	}
	text = append(text, '\n')
	path := filepath.Join(c.Golden, in.name+".json")
	if *update {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path) //nolint:gosec // the path is the test's own
	if err != nil {
		t.Fatalf("%v; run with -update and read what it wrote", err)
	}
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// noneLeftOver: every golden file belongs to an input.
func (c *Case) noneLeftOver(t *testing.T, inputs []input) {
	t.Helper()
	files, err := os.ReadDir(c.Golden)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		of := func(in input) bool { return in.name+".json" == file.Name() }
		if !slices.ContainsFunc(inputs, of) {
			t.Errorf("%s belongs to no fixture and no sample", file.Name())
		}
	}
}
