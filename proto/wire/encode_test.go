package wire_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// encodesAlike holds what is encoded to what the library marshals: the same bytes, or
// an error from both.
func encodesAlike(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, message proto.Message, encode func() ([]byte, error),
) {
	t.Helper()
	want, wantErr := wire.Marshal(message)
	got, err := encode()
	if (err != nil) != (wantErr != nil) || (err == nil && !bytes.Equal(want, got)) {
		t.Fatalf("%T:\nmarshalled %x, %v\nencoded    %x, %v", message, want, wantErr, got, err)
	}
}

// drawn draws every field of v by its type, so that none that is added later is forgotten.
func drawn(t *rapid.T, v reflect.Value, name string) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		seconds := rapid.OneOf(rapid.Just(time.Time{}.Unix()), rapid.Int64Range(-300, 300), rapid.Int64())
		v.Set(reflect.ValueOf(time.Unix(seconds.Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name))))
		return
	case reflect.TypeFor[domain.UTM]():
		v.Set(reflect.ValueOf(domain.UTMOf(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, name))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if rapid.IntRange(0, 4).Draw(t, name) == 0 {
			return
		}
		for i := range v.NumField() {
			drawn(t, v.Field(i), v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, name), 3))
		for i := range v.Len() {
			drawn(t, v.Index(i), name)
		}
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf(rapid.SliceOfN(rapid.Byte(), 0, v.Len()).Draw(t, name)))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name) {
			v.Set(reflect.New(v.Type().Elem()))
			drawn(t, v.Elem(), name)
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(100, 300, -1)).Draw(t, name))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Int32, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64()).Draw(t, name))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64().Draw(t, name))
	default:
		t.Fatalf("%s is of a kind that the test does not know: %s", name, v.Kind())
	}
}

func TestAnEventIsEncodedAsItIsMarshalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e domain.Event
		for i := range reflect.TypeOf(e).NumField() {
			drawn(t, reflect.ValueOf(&e).Elem().Field(i), reflect.TypeOf(e).Field(i).Name)
		}
		encodesAlike(t, envelope(&e), func() ([]byte, error) { return wire.Encode(&e) })
		encodesAlike(t, event(&e), func() ([]byte, error) { return wire.EncodeEvent(&e) })
	})
}

func TestPersonalIsEncodedAsItIsMarshalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p domain.Personal
		drawn(t, reflect.ValueOf(&p).Elem(), "personal")
		contentType, body := rapid.String().Draw(t, "content type"), rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		encodesAlike(t, personal(&p), func() ([]byte, error) { return wire.AppendPersonal(nil, &p) })
		encodesAlike(t, &comandav1.Raw{ContentType: contentType, Body: body}, func() ([]byte, error) {
			return wire.AppendRaw(nil, contentType, body)
		})
	})
}

// everyField fails for a field of m, or of a message in it, that is not set.
func everyField(t *testing.T, m protoreflect.Message) {
	t.Helper()
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case !m.Has(f):
			t.Errorf("%s is not set: what a new field is encoded to is not compared", f.FullName())
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			everyField(t, m.Get(f).List().Get(0).Message())
		case f.Message() != nil:
			everyField(t, m.Get(f).Message())
		}
	}
}

func TestEveryFieldIsEncodedAsItIsMarshalled(t *testing.T) {
	e := fullEvent()
	e.TimeInferred = true
	everyField(t, envelope(&e).ProtoReflect())
	encodesAlike(t, envelope(&e), func() ([]byte, error) { return wire.Encode(&e) })

	p := fullPersonal()
	everyField(t, personal(&p).ProtoReflect())
	encodesAlike(t, personal(&p), func() ([]byte, error) { return wire.AppendPersonal(nil, &p) })
}

// texts calls visit for every text below v.
func texts(v reflect.Value, visit func(text reflect.Value)) {
	switch v.Kind() {
	case reflect.String:
		visit(v)
	case reflect.Pointer:
		if !v.IsNil() {
			texts(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			texts(v.Index(i), visit)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for _, field := range v.Fields() {
			texts(field, visit)
		}
	default:
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	e, p := fullEvent(), fullPersonal()
	refused := 0
	for _, of := range []struct {
		whole  reflect.Value
		encode func() ([]byte, error)
	}{
		{reflect.ValueOf(&e), func() ([]byte, error) { return wire.Encode(&e) }},
		{reflect.ValueOf(&p), func() ([]byte, error) { return wire.AppendPersonal(nil, &p) }},
	} {
		texts(of.whole, func(text reflect.Value) {
			was := text.String()
			text.SetString("caf\xe9")
			if data, err := of.encode(); err == nil {
				t.Errorf("%x holds a text that is not UTF-8", data)
			}
			text.SetString(was)
			refused++
		})
		if _, err := of.encode(); err != nil {
			t.Errorf("after what was refused: %v", err)
		}
	}
	if refused < 50 {
		t.Errorf("%d texts were tried", refused)
	}
	if _, err := wire.EncodeEvent(&domain.Event{Why: "caf\xe9"}); err == nil {
		t.Error("an event alone holds a text that is not UTF-8")
	}
	if _, err := wire.AppendRaw(nil, "caf\xe9", nil); err == nil {
		t.Error("a content type is not UTF-8")
	}
}

func BenchmarkEncode(b *testing.B) {
	e := fullEvent()
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.Encode(&e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := wire.Marshal(envelope(&e)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
