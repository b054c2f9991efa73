package providertest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/provider"
	"comanda.internal/domain"
)

// Run is the suite.
func Run(t *testing.T, c Case) {
	t.Helper()
	inputs := c.inputs(t)
	t.Run("golden", func(t *testing.T) {
		for _, in := range inputs {
			t.Run(in.name, func(t *testing.T) { c.goldenInput(t, in) })
		}
	})
	t.Run("no golden file is left over", func(t *testing.T) { c.noneLeftOver(t, inputs) })
	t.Run("samples are clean", c.samplesAreClean)
	t.Run("body is only read", func(t *testing.T) {
		for _, in := range inputs {
			c.bodyIsOnlyRead(t, in)
		}
	})
	t.Run("reformatted", func(t *testing.T) {
		for _, in := range inputs {
			if err := c.reformatted(c.message(in)); err != nil {
				t.Errorf("%s: %v", in.name, err)
			}
		}
	})
	t.Run("malformed", func(t *testing.T) { c.malformed(t, inputs) })
	t.Run("says no values", func(t *testing.T) {
		for _, in := range inputs {
			// Samples have the fixtures' form, and a bad fixture one fault of its own.
			if !in.sample && !in.bad() {
				c.saysNoValues(t, in)
			}
		}
	})
	t.Run("concurrent", func(t *testing.T) { c.concurrent(t, inputs) })
}

func (c *Case) goldenInput(t *testing.T, in input) {
	t.Helper()
	got := c.ask(c.message(in))
	if in.bad() != (got.err != nil) {
		t.Errorf("error %v of %s", got.err, in.name)
	}
	if err := c.checkAnswer(got); err != nil {
		t.Error(err)
	}
	c.golden(t, in, got)
}

// checkAnswer reports what is wrong with an answer, whichever it is.
func (c *Case) checkAnswer(got answer) error {
	switch {
	case got.err != nil && got.facts != nil:
		return errors.New("facts beside an error")
	case got.err != nil:
		return CheckError(got.err)
	case got.relayed != nil:
		if got.relayed.Type == "" || got.relayed.Key == "" {
			return errors.New("a relayed event without type or key")
		}
		return nil
	default:
		return c.Check(got.facts)
	}
}

// seedsPerStatus is how many purchases each sample is read for.
const seedsPerStatus = 25

// samplesAreClean: what the samples write is read without a warning, and its
// documents are valid.
func (c *Case) samplesAreClean(t *testing.T) {
	for _, s := range c.Samples {
		for _, status := range s.Statuses {
			for seed := range uint64(seedsPerStatus) {
				c.isClean(t, s.input(t, status, seed))
			}
		}
	}
}

func (c *Case) isClean(t *testing.T, in input) {
	t.Helper()
	got := c.ask(c.message(in))
	if got.err != nil {
		t.Errorf("%s: %v", in.name, got.err)
	}
	for _, fact := range got.facts {
		if p := fact.Personal; len(fact.Warnings) > 0 || p != nil && p.Document != "" && !p.DocumentValid {
			t.Errorf("%s: warnings %q, or an invalid document, in\n%s", in.name, fact.Warnings, in.body)
		}
	}
}

// bodyIsOnlyRead: neither the body nor the memory behind it changes, a second
// reading is equal, and the facts live on when the body's memory is used again.
func (c *Case) bodyIsOnlyRead(t *testing.T, in input) {
	t.Helper()
	const tail = "the next request in this buffer"
	buffer := append(bytes.Clone(in.body), tail...)
	m := c.message(in)
	m.Body = buffer[:len(in.body)]
	first := c.ask(m)
	if string(buffer) != string(in.body)+tail {
		t.Errorf("%s: the body was written to", in.name)
	}
	second := c.ask(m)
	if diff := cmp.Diff(first.facts, second.facts); diff != "" {
		t.Errorf("%s: two readings differ:\n%s", in.name, diff)
	}
	clear(buffer)
	if diff := cmp.Diff(second.facts, c.ask(c.message(in)).facts); diff != "" {
		t.Errorf("%s: the facts hold the body's memory:\n%s", in.name, diff)
	}
}

// reformatted reports how the facts of another text of the same message differ.
func (c *Case) reformatted(m domain.Message) error {
	other := m
	var ok bool
	if other.Body, ok = reformat(m.Body); !ok {
		return nil
	}
	want, got := c.ask(m), c.ask(other)
	if c.KeyIsBodyHash != nil && c.KeyIsBodyHash(m) {
		blank(want.facts)
		blank(got.facts)
	}
	if (want.err == nil) != (got.err == nil) {
		return errors.New("one text is refused and the other is not")
	}
	if diff := cmp.Diff(want.facts, got.facts); diff != "" {
		return errors.New("reformatted (-original +reformatted):\n" + diff)
	}
	return nil
}

// blank takes away what a body's hash makes.
func blank(facts []domain.Fact) {
	for i := range facts {
		facts[i].Key = ""
		if strings.HasPrefix(facts[i].ProviderOrderID, "sha256:") {
			facts[i].ProviderOrderID = ""
		}
	}
}

// concurrent: many readers at once get what one gets. It is for the race detector.
func (c *Case) concurrent(t *testing.T, inputs []input) {
	t.Helper()
	want := make([]answer, len(inputs))
	for i, in := range inputs {
		want[i] = c.ask(c.message(in))
	}
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for i, in := range inputs {
				if diff := cmp.Diff(want[i].facts, c.ask(c.message(in)).facts); diff != "" {
					t.Errorf("%s:\n%s", in.name, diff)
				}
			}
		})
	}
	readers.Wait()
}

// reasonOf is the reason of a codec's error; "" is none.
func reasonOf(err error) provider.ErrorReason {
	if refused, ok := errors.AsType[*provider.Error](err); ok {
		return refused.Reason
	}
	return ""
}
