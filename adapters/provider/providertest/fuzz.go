package providertest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Fuzz is the codec's fuzz target, seeded with the suite's inputs. It never
// panics, an answer keeps the invariants, two readings are equal, and so is the
// reading of the same message in another text.
func Fuzz(f *testing.F, c Case) {
	f.Helper()
	for _, in := range c.inputs(f) {
		f.Add(in.body, in.action)
	}
	for _, body := range garbage {
		f.Add([]byte(body), "")
	}
	f.Fuzz(func(t *testing.T, body []byte, action string) {
		m := c.message(input{body: body, action: action})
		got := c.ask(m)
		if err := c.checkAnswer(got); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(got.facts, c.ask(m).facts); diff != "" {
			t.Errorf("two readings differ:\n%s", diff)
		}
		if err := c.reformatted(m); err != nil {
			t.Error(err)
		}
	})
}
