package providertest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/sample"
	"comanda.internal/domain"
)

var update = flag.Bool("update", false, "write the golden files of the codecs anew")

// Case is one codec under test.
type Case struct {
	Codec provider.Codec
	// Provider is the canonical name that facts must bear; a codec that reads
	// facts about other providers' orders has OtherProviders.
	Provider       string
	OtherProviders bool
	// Fixtures is the folder of *.json bodies, Golden that of what they become.
	// A fixture named "bad-…" must be refused, every other one must be read.
	Fixtures, Golden string
	// Action is the action of a fixture's path; nil is none.
	Action func(fixture string) string
	// Samples are the writers of synthetic bodies.
	Samples []Samples
	// KeyIsBodyHash says that by a documented rule the keys of this message are
	// its body's hash, so that reformatting changes them; nil is never.
	KeyIsBodyHash func(m domain.Message) bool
}

// Samples is one Sample function and its statuses.
type Samples struct {
	Name     string // a word for the golden files; "" when there is one
	Statuses []string
	Sample   func(sample.Options) (body []byte, action string, err error)
}

// input is one body under test.
type input struct {
	name   string
	body   []byte
	action string
	sample bool
}

// bad reports whether in must be refused.
func (in input) bad() bool { return strings.HasPrefix(in.name, "bad-") }

// sampleAt is the moment of the samples' statuses.
var sampleAt = time.Date(2026, time.May, 9, 17, 32, 14, 0, time.UTC)

// message is the message that in came as.
func (c *Case) message(in input) domain.Message {
	return domain.Message{
		Source: domain.SourceID("loja-" + c.Provider), Tenant: "loja", Account: "principal", Provider: c.Provider,
		Action: in.action, ContentType: "application/json", Body: in.body, ReceivedAt: sampleAt.Add(time.Second),
	}
}

// inputs are the fixtures, and one sample of every status.
func (c *Case) inputs(tb testing.TB) []input {
	tb.Helper()
	paths, err := filepath.Glob(filepath.Join(c.Fixtures, "*.json"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("fixtures in %s: %d, %v", c.Fixtures, len(paths), err)
	}
	var all []input
	for _, path := range paths {
		body, err := os.ReadFile(path) //nolint:gosec // the path is the test's own
		if err != nil {
			tb.Fatal(err)
		}
		in := input{name: strings.TrimSuffix(filepath.Base(path), ".json"), body: body}
		if c.Action != nil {
			in.action = c.Action(in.name)
		}
		all = append(all, in)
	}
	for _, s := range c.Samples {
		for _, status := range s.Statuses {
			all = append(all, s.input(tb, status, 1))
		}
	}
	return all
}

func (s *Samples) input(tb testing.TB, status string, seed uint64) input {
	tb.Helper()
	o := sample.Options{Status: status, At: sampleAt, Seed: seed}
	body, action, err := s.Sample(o)
	if err != nil {
		tb.Fatalf("sample of %q: %v", status, err)
	}
	again, _, err := s.Sample(o)
	if err != nil || !slices.Equal(body, again) {
		tb.Fatalf("sample of %q differs from itself: %v", status, err)
	}
	name := "sample-" + status
	if s.Name != "" {
		name = fmt.Sprintf("sample-%s-%s", s.Name, status)
	}
	return input{name: name, body: body, action: action, sample: true}
}

// answer is what a codec says to one message: one of the three.
type answer struct {
	facts   []domain.Fact
	relayed *provider.RelayEvent
	err     error
}

// ask asks the codec as an intake does: first whether the message is relayed.
func (c *Case) ask(m domain.Message) answer {
	if relayer, ok := c.Codec.(provider.Relayer); ok {
		event, relayed, err := relayer.Relay(m)
		if err != nil {
			return answer{err: err}
		}
		if relayed {
			return answer{relayed: &event}
		}
	}
	facts, err := c.Codec.Decode(m)
	return answer{facts: facts, err: err}
}
