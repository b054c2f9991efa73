package strictjson_test

import (
	"errors"
	"strings"
	"testing"

	"comanda.internal/adapters/provider/strictjson"
)

func TestParseRefuses(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	tests := []struct {
		name, text string
		want       error
	}{
		{"nothing", "", strictjson.ErrTruncated},
		{"cut object", `{"a":1`, strictjson.ErrTruncated},
		{"cut text", `"abc`, strictjson.ErrTruncated},
		{"word", `abc`, strictjson.ErrSyntax},
		{"comma", `[1,]`, strictjson.ErrSyntax},
		{"member without value", `{"a"}`, strictjson.ErrSyntax},
		{"name that is no text", `{1:2}`, strictjson.ErrSyntax},
		{"name that is null", `{null:2}`, strictjson.ErrSyntax},
		{"mismatched", `{"a":1]`, strictjson.ErrSyntax},
		{"lone surrogate", `"\ud800"`, strictjson.ErrSyntax},
		{"name twice", `{"a":1,"a":2}`, strictjson.ErrDuplicateName},
		{"name twice, escaped", `{"a":1,"\u0061":2}`, strictjson.ErrDuplicateName},
		{"name twice, below", `{"x":[{"a":1,"a":2}]}`, strictjson.ErrDuplicateName},
		{"bad UTF-8", "\"\xff\"", strictjson.ErrUTF8},
		{"bad UTF-8 in a name", "{\"\xc0\x80\":1}", strictjson.ErrUTF8},
		{"two values", `1 2`, strictjson.ErrTrailing},
		{"more after it", `{} x`, strictjson.ErrTrailing},
		{"brace after it", `{}}`, strictjson.ErrTrailing},
		{"too deep", deep(strictjson.MaxDepth + 1), strictjson.ErrDepth},
		{"too deep in objects", strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), strictjson.ErrDepth},
		{"far too deep", deep(100_000), strictjson.ErrDepth},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			document, err := strictjson.Parse([]byte(tt.text))
			if !errors.Is(err, tt.want) || document != nil {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
	if _, err := strictjson.Parse([]byte(deep(strictjson.MaxDepth))); err != nil {
		t.Errorf("%d levels: %v", strictjson.MaxDepth, err)
	}
}

// A parser that met an error is used again.
func TestParseAfterAnError(t *testing.T) {
	for range 100 {
		if _, err := strictjson.Parse([]byte(`{"a":{"b":[1,{"c":1,"c":2`)); err == nil {
			t.Fatal("accepted")
		}
		document, err := strictjson.Parse([]byte(`{"a":{"b":[1,{"c":"x"}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := document.Root().At("/a/b/1/c").Text(); got != "x" {
			t.Fatalf("text %q", got)
		}
	}
}

func TestValues(t *testing.T) {
	document, err := strictjson.Parse([]byte(`{
		"text": "a\u00e7\n\"", "": "no name", "a/b": 1, "m~n": 2, "number": -12.50e+3, "list": [1, [], {"x": null}, true, false],
		"Text": "another", "empty": {}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	root := document.Root()
	for pointer, want := range map[string]string{
		"/text": "aç\n\"", "/": "no name", "/a~1b": "1", "/m~0n": "2", "/number": "-12.50e+3", "/list/0": "1", "/Text": "another",
		"/TEXT": "", "/list/9": "", "/list/00": "", "/list/-1": "", "/list/x": "", "/text/x": "", "/none/of/it": "", "/list/2/x": "",
	} {
		if got := root.At(pointer).Text(); got != want {
			t.Errorf("text at %s is %q, want %q", pointer, got, want)
		}
	}
	for pointer, want := range map[string]strictjson.Kind{
		"": strictjson.Object, "/text": strictjson.String, "/number": strictjson.Number, "/list": strictjson.Array,
		"/list/2/x": strictjson.Null, "/list/3": strictjson.True, "/list/4": strictjson.False, "/none": strictjson.Absent, "/list/": strictjson.Absent,
	} {
		if got := root.At(pointer).Kind(); got != want {
			t.Errorf("kind at %q is %q, want %q", pointer, got, want)
		}
	}
	for pointer, want := range map[string]bool{"/list/1": true, "/empty": true, "/none": true, "/text": true, "/list": false, "": false} {
		if got := root.At(pointer).Empty(); got != want {
			t.Errorf("%q is empty: %t", pointer, got)
		}
	}
	var names []string
	for part := range root.Parts() {
		names = append(names, part.Name())
	}
	if got := strings.Join(names, ","); got != "text,,a/b,m~n,number,list,Text,empty" {
		t.Errorf("names %s", got)
	}
}

// Strings with escapes are put behind a copy of the text, never into the sender's memory.
func TestParseDoesNotWrite(t *testing.T) {
	const text = `{"a\u00e7":["x\n","plain","\"y\""],"":"\ud83d\ude00"}`
	given := make([]byte, 2*len(text))
	copy(given, text)
	document, err := strictjson.Parse(given[:len(text)])
	if err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]string{"/aç/0": "x\n", "/aç/1": "plain", "/aç/2": `"y"`, "/": "😀"} {
		if got := document.Root().At(pointer).Text(); got != want {
			t.Errorf("text at %s is %q, want %q", pointer, got, want)
		}
	}
	if want := text + strings.Repeat("\x00", len(text)); string(given) != want {
		t.Errorf("what was given is now %q", given)
	}
}

func TestValidPointer(t *testing.T) {
	for pointer, want := range map[string]bool{
		"": true, "/": true, "/id": true, "/a~0b/c~1d": true, "id": false, "/a~2": false, "/a~": false, "#/id": false,
	} {
		if got := strictjson.ValidPointer(pointer); got != want {
			t.Errorf("%q is a pointer: %t", pointer, got)
		}
	}
}

// Whatever is read is text of the source or of its escapes; nothing panics.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":[1,{"b":"c"}]}`, `"\ud83d\ude00"`, `[[[]]]`, `{"a":1,"a":2}`, "\xff", `-0.0e-1`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		document, err := strictjson.Parse(text)
		if (document == nil) == (err == nil) {
			t.Fatalf("document %v and error %v", document, err)
		}
		if err != nil {
			return
		}
		if depth := walk(document.Root()); depth > strictjson.MaxDepth+1 {
			t.Errorf("%d levels were read", depth)
		}
	})
}

func walk(v strictjson.Value) int {
	depth := 0
	names := make(map[string]bool)
	for part := range v.Parts() {
		if v.Kind() == strictjson.Object && names[part.Name()] {
			return strictjson.MaxDepth + 2
		}
		names[part.Name()] = true
		depth = max(depth, walk(part))
	}
	return depth + 1
}
