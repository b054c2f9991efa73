package domain_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"comanda.internal/domain"
)

func TestIDs(t *testing.T) {
	// Computed with another program from DESIGN section 4.
	id := domain.Identity{Tenant: "loja", Provider: "aprovei", Account: "principal", ProviderOrderID: "VCP1O8SB9GJ"}.OrderID()
	if want := domain.OrderID("ord_ebquoluu7noccmfjn4vvbyoxue"); id != want {
		t.Errorf("order id = %s, want %s", id, want)
	}
	if got, want := id.Slot(), byte(237); got != want {
		t.Errorf("slot = %d, want %d", got, want)
	}
	if got, want := domain.NewEventID("loja-aprovei", id, domain.KindApproved, "k1"), domain.EventID("324fmo24veig36vkxlbuctupdq"); got != want {
		t.Errorf("event id = %s, want %s", got, want)
	}
	if !id.Valid() {
		t.Errorf("%s is not valid", id)
	}
}

func TestIDsTellTheirPartsApart(t *testing.T) {
	a := domain.Identity{Tenant: "l", Provider: "oja", ProviderOrderID: "1"}.OrderID()
	b := domain.Identity{Tenant: "lo", Provider: "ja", ProviderOrderID: "1"}.OrderID()
	if a == b {
		t.Error("two identities whose parts join to one text have one id")
	}
}

func TestAnOrderIDIsItsDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := domain.Identity{Tenant: "loja", Provider: "aprovei", ProviderOrderID: rapid.String().Draw(t, "order")}.OrderID()
		digest, ok := id.Digest()
		if back := domain.OrderIDOf(digest); !ok || back != id {
			t.Fatalf("%s comes back as %s", id, back)
		}
	})
}

func TestWhatIsNoID(t *testing.T) {
	for _, s := range []string{"", "ord_", "ord_x", "324fmo24veig36vkxlbuctupdq", "ord_aaaaaaaaaaaaaaaaaaaaaaaaab", "ord_AAAAAAAAAAAAAAAAAAAAAAAAAA", "ord_>.*", "ord_\naaaaaaaaaaaaaaaaaaaaaaaaa"} {
		if _, ok := domain.OrderID(s).Digest(); ok || domain.OrderID(s).Valid() {
			t.Errorf("%q passes for an order id", s)
		}
	}
	for _, s := range []string{"", "Loja", "loja aprovei", "loja.x", "*", ">", "01234567890123456789012345678901234567890"} {
		if domain.SourceID(s).Valid() {
			t.Errorf("%q passes for a source id", s)
		}
	}
}

func position(t *rapid.T, label string) domain.Position {
	var p domain.Position
	for i, s := range rapid.SliceOfN(rapid.Uint64Range(0, 1<<40), 0, 8).Draw(t, label) {
		p = p.With(i, s)
	}
	return p
}

func TestPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, q := position(t, "p"), position(t, "q")
		back, err := domain.ParsePosition(p.String())
		if err != nil || !back.Equal(p) {
			t.Fatalf("%v came back as %v, %v", p, back, err)
		}
		m := p.Merge(q)
		if !m.Covers(p) || !m.Covers(q) || !m.Equal(q.Merge(p)) {
			t.Fatalf("the merge of %v and %v is %v", p, q, m)
		}
		if p.Covers(q) && q.Covers(p) && !p.Equal(q) {
			t.Fatalf("%v and %v cover each other and differ", p, q)
		}
	})
}

func TestPositionsFromOutside(t *testing.T) {
	for _, s := range []string{"x", "AA", "AQD", "AYAC", "AYACAQ", "AP____8PAQ"} {
		p, err := domain.ParsePosition(s)
		if domain.KindOf(err) != domain.Invalid {
			t.Errorf("%q is read as %v, %v", s, p, err)
		}
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	s := domain.NewSecret("hunter2")
	asJSON, err := json.Marshal(map[string]any{"s": s, "p": &s})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%#v %+v %q", s, s, s), string(asJSON)} {
		if want := "hunter2"; strings.Contains(shown, want) {
			t.Errorf("a secret shows in %q", shown)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("Reveal does not give the text")
	}
}

func TestErrorKindsSurviveWrapping(t *testing.T) {
	cause := errors.New("disk")
	err := fmt.Errorf("append to ord_x: %w", domain.Errorf(domain.Unavailable, "the log: %w", cause))
	if domain.KindOf(err) != domain.Unavailable || !errors.Is(err, cause) {
		t.Errorf("kind %v of %v", domain.KindOf(err), err)
	}
	if domain.KindOf(cause) != domain.Internal {
		t.Error("an error without a kind is not internal")
	}
}

func TestErrorKeepsEveryCause(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	err := fmt.Errorf("outer: %w", domain.Errorf(domain.Unavailable, "%w, then %w", first, second))
	if !errors.Is(err, first) || !errors.Is(err, second) || domain.KindOf(err) != domain.Unavailable {
		t.Errorf("%v is not both of its causes, or not unavailable", err)
	}
	if one := domain.Errorf(domain.Invalid, "only %w", first); !errors.Is(one, first) || one.Error() != "only first" {
		t.Errorf("one cause: %v", one)
	}
}
