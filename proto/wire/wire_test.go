package wire_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// fill sets every field below v to a value other than zero, so that a mapping
// which forgets one is found.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString("text " + string(rune('a'+*n%26)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(*n)
	case reflect.Uint8:
		v.SetUint(uint64(1 + *n%4))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), n)
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"utm_source": "x"}))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1_700_000_000+*n, 7).UTC()))
			return
		}
		for _, field := range v.Fields() {
			fill(field, n)
		}
	default:
		panic("a kind of field that the mapping does not know: " + v.Kind().String())
	}
}

func fullEvent() domain.Event {
	var e domain.Event
	var n int64
	fill(reflect.ValueOf(&e).Elem(), &n)
	e.Fact.Personal = nil
	e.TimeInferred = false
	e.Fact.OccurredAt = e.EffectiveAt
	return e
}

func fullPersonal() domain.Personal {
	var p domain.Personal
	var n int64
	fill(reflect.ValueOf(&p).Elem(), &n)
	return p
}

func TestEnvelopeKeepsEveryField(t *testing.T) {
	want := fullEvent()
	stored, err := proto.Marshal(envelope(&want))
	if err != nil {
		t.Fatal(err)
	}
	var env comandav1.Envelope
	if err := proto.Unmarshal(stored, &env); err != nil {
		t.Fatal(err)
	}
	got, err := wire.FromEnvelope(&env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
}

func TestAnInferredTimeGivesNoProvidersDate(t *testing.T) {
	e := fullEvent()
	e.TimeInferred = true
	got, err := wire.FromEvent(event(&e))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Fact.OccurredAt.IsZero() {
		t.Errorf("OccurredAt = %v, want none", got.Fact.OccurredAt)
	}
}

func TestPersonalKeepsEveryField(t *testing.T) {
	want := fullPersonal()
	if diff := cmp.Diff(&want, wire.FromPersonal(personal(&want))); diff != "" {
		t.Errorf("there and back (-want +got):\n%s", diff)
	}
	if got := wire.FromPersonal(personal(nil)); got != nil {
		t.Errorf("nil came back as %v", got)
	}
}

func TestWhatIsOutsideItsSetIsCorrupt(t *testing.T) {
	spoil := map[string]func(*comandav1.Envelope){
		"no event":    func(e *comandav1.Envelope) { e.Event = nil },
		"kind":        func(e *comandav1.Envelope) { e.Event.Kind = 99 },
		"no kind":     func(e *comandav1.Envelope) { e.Event.Kind = 0 },
		"verdict":     func(e *comandav1.Envelope) { e.Event.Verdict = 77 },
		"status from": func(e *comandav1.Envelope) { e.Event.StatusFrom = 0 },
		"status to":   func(e *comandav1.Envelope) { e.Event.StatusTo = 9 },
		"path":        func(e *comandav1.Envelope) { e.Event.Path[0].StatusTo = -1 },
		"digest":      func(e *comandav1.Envelope) { e.Event.Digest = e.Event.Digest[:31] },
		"prev hash":   func(e *comandav1.Envelope) { e.PrevHash = nil },
	}
	for name, f := range spoil {
		t.Run(name, func(t *testing.T) {
			e := fullEvent()
			env := envelope(&e)
			f(env)
			_, err := wire.FromEnvelope(env)
			if domain.KindOf(err) != domain.Corrupt || err == nil {
				t.Errorf("error = %v, want one of kind corrupt", err)
			}
		})
	}
}

func TestEnumsAgreeWithTheDomainsWords(t *testing.T) {
	for k := domain.KindStarted; k < domain.KindCount; k++ {
		if got, ok := wire.FromKind(wire.Kind(k)); !ok || got != k {
			t.Errorf("kind %v came back as %v", k, got)
		}
		if word := wire.Word(wire.Kind(k)); word != k.String() {
			t.Errorf("kind %v is called %q on the wire", k, word)
		}
	}
	for s := range domain.StatusCount {
		if got, ok := wire.FromStatus(wire.Status(s)); !ok || got != s {
			t.Errorf("status %v came back as %v", s, got)
		}
		if word := wire.Word(wire.Status(s)); word != s.String() {
			t.Errorf("status %v is called %q on the wire", s, word)
		}
	}
	for v := domain.VerdictApplied; v <= domain.VerdictDuplicate; v++ {
		if got, ok := wire.FromVerdict(wire.Verdict(v)); !ok || got != v {
			t.Errorf("verdict %v came back as %v", v, got)
		}
		if word := wire.Word(wire.Verdict(v)); word != v.String() {
			t.Errorf("verdict %v is called %q on the wire", v, word)
		}
	}
}
