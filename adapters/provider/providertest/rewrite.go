package providertest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/adapters/provider/strictjson"
)

// reformat is body with the members of every object in reverse, white space
// everywhere and every character of every string escaped: another text, the same
// message. false when body is not strict JSON.
func reformat(body []byte) ([]byte, bool) {
	document, err := strictjson.Parse(body)
	if err != nil {
		return nil, false
	}
	var out bytes.Buffer
	write(&out, document.Root())
	return out.Bytes(), true
}

func write(out *bytes.Buffer, v strictjson.Value) {
	const space = "\n\t "
	out.WriteString(space)
	defer out.WriteString(space)
	switch v.Kind() {
	case strictjson.Object, strictjson.Array:
		parts := slices.Collect(v.Parts())
		brackets := "[]"
		if v.Kind() == strictjson.Object {
			brackets = "{}"
			slices.Reverse(parts)
		}
		out.WriteByte(brackets[0])
		for i, part := range parts {
			if i > 0 {
				out.WriteByte(',')
			}
			if v.Kind() == strictjson.Object {
				quote(out, part.Name())
				out.WriteByte(':')
			}
			write(out, part)
		}
		out.WriteByte(brackets[1])
	case strictjson.String:
		quote(out, v.Text())
	case strictjson.Number:
		out.WriteString(v.Text())
	default:
		out.WriteString(map[strictjson.Kind]string{strictjson.Null: "null", strictjson.True: "true", strictjson.False: "false"}[v.Kind()])
	}
}

func quote(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(out, `\u%04X`, unit)
	}
	out.WriteByte('"')
}

// span is where one scalar value stands in a body.
type span struct{ start, end int }

// scalars are the places of body's values that are no objects and no lists.
func scalars(tb testing.TB, body []byte) []span {
	tb.Helper()
	decoder := jsontext.NewDecoder(bytes.NewBuffer(bytes.Clone(body)))
	var all []span
	for {
		kind := decoder.PeekKind()
		if kind == jsontext.KindInvalid {
			return all
		}
		if bytes.IndexByte([]byte("{}[]"), byte(kind)) >= 0 {
			if _, err := decoder.ReadToken(); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		container, length := decoder.StackIndex(decoder.StackDepth())
		value, err := decoder.ReadValue()
		if err != nil {
			tb.Fatal(err)
		}
		if isName := container == jsontext.KindBeginObject && length%2 == 0; !isName {
			end := int(decoder.InputOffset())
			all = append(all, span{start: end - len(value), end: end})
		}
	}
}

// replace is body with other in the place of s.
func replace(body []byte, s span, other string) []byte {
	return slices.Concat(body[:s.start], []byte(other), body[s.end:])
}
