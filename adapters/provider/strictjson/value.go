package strictjson

import (
	"iter"
	"strconv"
	"strings"
)

// Kind is what a value is: the first byte of its JSON, with "0" for every number.
type Kind byte

// The kinds. The zero value is of a value that is not there.
const (
	Absent Kind = 0
	Null   Kind = 'n'
	False  Kind = 'f'
	True   Kind = 't'
	String Kind = '"'
	Number Kind = '0'
	Object Kind = '{'
	Array  Kind = '['
)

// Value is one value of a document. The zero Value is absent: it has no parts
// and no text, so that paths through it need no checks.
type Value struct {
	doc   *Document
	index int32
}

// Root is the document's one value.
func (d *Document) Root() Value { return Value{doc: d} }

func (v Value) node() *node { return &v.doc.nodes[v.index] }

func (d *Document) at(s span) []byte { return d.text[s.start:s.end] }

// Kind is what v is.
func (v Value) Kind() Kind {
	if v.doc == nil {
		return Absent
	}
	return v.node().kind
}

// Missing reports whether v is absent or null, which most platforms use alike.
func (v Value) Missing() bool { return v.Kind() == Absent || v.Kind() == Null }

// Text is the text of a string, unquoted, or of a number, as written; "" for
// every other kind. It is a copy: nothing of the document is kept with it.
func (v Value) Text() string {
	if v.doc == nil {
		return ""
	}
	return string(v.doc.at(v.node().text))
}

// Get is the member of object v with exactly this name; absent when v is none or has none.
func (v Value) Get(name string) Value {
	if v.Kind() != Object {
		return Value{}
	}
	for child := range v.Parts() {
		if string(v.doc.at(child.node().name)) == name {
			return child
		}
	}
	return Value{}
}

// Name is the name under which v stands in its object; "" elsewhere. It is a
// copy, as Text is.
func (v Value) Name() string {
	if v.doc == nil {
		return ""
	}
	return string(v.doc.at(v.node().name))
}

// Parts are the elements of an array, or the values of an object's members, in
// the order of the text.
func (v Value) Parts() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.doc == nil {
			return
		}
		nodes := v.doc.nodes
		for i, end := v.index+1, nodes[v.index].end; i < end; i = nodes[i].end {
			if !yield(Value{doc: v.doc, index: i}) {
				return
			}
		}
	}
}

// Empty reports whether v has no parts: the [] that PHP writes for an empty
// object, for one.
func (v Value) Empty() bool { return v.doc == nil || v.node().end == v.index+1 }

// At follows a JSON pointer (RFC 6901) from v, as "/order/items/0/id"; "" is v.
func (v Value) At(pointer string) Value {
	for pointer != "" {
		token, _, _ := strings.Cut(pointer[1:], "/")
		pointer = pointer[1+len(token):]
		if v = v.step(pointerUnescaper.Replace(token)); v.doc == nil {
			return v
		}
	}
	return v
}

var pointerUnescaper = strings.NewReplacer("~1", "/", "~0", "~")

func (v Value) step(token string) Value {
	if v.Kind() == Object {
		return v.Get(token)
	}
	n, err := strconv.Atoi(token)
	if v.Kind() != Array || err != nil || strconv.Itoa(n) != token {
		return Value{}
	}
	for element := range v.Parts() {
		if n == 0 {
			return element
		}
		n--
	}
	return Value{}
}

// ValidPointer reports whether s is a JSON pointer (RFC 6901).
func ValidPointer(s string) bool {
	if s != "" && s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] == '~' && (i+1 == len(s) || s[i+1] != '0' && s[i+1] != '1') {
			return false
		}
	}
	return true
}
