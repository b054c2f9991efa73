package fields

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/strictjson"
)

// The rules that errors and warnings name.
const (
	ruleRequired   = "is required"
	ruleText       = "must be text"
	ruleWhole      = "must be a whole number"
	ruleRange      = "is out of range"
	ruleObject     = "must be an object"
	ruleList       = "must be a list"
	ruleLong       = "is too long"
	ruleControl    = "must hold no control characters"
	ruleUnmapped   = "is not in the status map"
	ruleNotInClear = "is not a short word without personal data"
)

// Object is one object of a message. The zero Object is not usable; an object
// that is absent has only absent fields.
type Object struct {
	value strictjson.Value
	// prefix is the path to this object; index is its place in the list there,
	// -1 when it is in none. They become a name only when something is wrong.
	prefix string
	index  int
	notes  *notes
}

// notes is what was found wrong with one message.
type notes struct {
	errors   map[string][]string
	warnings []string
	unknown  bool // a status that the map does not have
}

// Parse reads body as one JSON object. The error is a [*provider.Error], Malformed.
func Parse(body []byte) (Object, error) {
	document, err := strictjson.Parse(body)
	if err != nil {
		return Object{}, &provider.Error{Reason: provider.Malformed, Detail: err.Error()}
	}
	root := document.Root()
	if root.Kind() != strictjson.Object {
		return Object{}, &provider.Error{Reason: provider.Malformed, Detail: "the body " + ruleObject}
	}
	return Object{value: root, index: -1, notes: &notes{}}, nil
}

// Value is the field of this name as it came.
func (o Object) Value(name string) strictjson.Value { return o.value.Get(name) }

// Has reports whether the object has a field of this name that is not null.
func (o Object) Has(name string) bool { return !o.value.Get(name).Missing() }

// Exists reports whether the object is there and has fields.
func (o Object) Exists() bool { return !o.value.Empty() }

// At is the object and the name of its field to which a JSON pointer leads, so
// that a field of a configured map is read like any other. The object is absent
// when the way is not there.
func (o Object) At(pointer string) (parent Object, name string) {
	cut := strings.LastIndexByte(pointer, '/')
	if cut < 0 {
		return o, ""
	}
	parent = Object{value: o.value.At(pointer[:cut]), prefix: pointer[:cut], index: -1, notes: o.notes}
	return parent, strings.NewReplacer("~1", "/", "~0", "~").Replace(pointer[cut+1:])
}

// Object is the object in the field of this name. An empty list, as PHP writes an
// empty object, is an absent object; anything else that is no object is a warning.
func (o Object) Object(name string) Object {
	v := o.value.Get(name)
	switch {
	case v.Kind() == strictjson.Object:
	case v.Missing(), v.Kind() == strictjson.Array && v.Empty():
		v = strictjson.Value{}
	default:
		o.Warn(name, ruleObject)
		v = strictjson.Value{}
	}
	return Object{value: v, prefix: o.path(name), index: -1, notes: o.notes}
}

// List is the objects of the list in the field of this name. An object, as PHP
// writes a list with holes, is the list of its values, in order of their numbers.
// Elements that are no objects are warnings and left out.
func (o Object) List(name string) iter.Seq[Object] {
	v := o.value.Get(name)
	if !v.Missing() && v.Kind() != strictjson.Array && v.Kind() != strictjson.Object {
		o.Warn(name, ruleList)
	}
	return func(yield func(Object) bool) {
		prefix, index := o.path(name), -1
		for part := range ordered(v) {
			index++
			element := Object{value: part, prefix: prefix, index: index, notes: o.notes}
			if part.Kind() != strictjson.Object {
				element.Warn("", ruleObject)
				continue
			}
			if !yield(element) {
				return
			}
		}
	}
}

// ordered is the parts of v: those of an object in order of their names, numbers
// as numbers, because the order of its members means nothing.
func ordered(v strictjson.Value) iter.Seq[strictjson.Value] {
	if v.Kind() != strictjson.Object {
		return v.Parts()
	}
	return slices.Values(slices.SortedFunc(v.Parts(), func(a, b strictjson.Value) int {
		left, right := a.Name(), b.Name()
		return cmp.Or(cmp.Compare(len(left), len(right)), cmp.Compare(left, right))
	}))
}

// Texts are the members of this object whose values are text that is not empty,
// as name and value; a member that is no text is a warning about the object.
func (o Object) Texts() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for part := range ordered(o.value) {
			if part.Missing() {
				continue
			}
			text, ok := scalarText(part)
			if !ok || len(text) > maxText || len(part.Name()) > maxName {
				o.Warn("", "must hold short texts")
				continue
			}
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			if !yield(part.Name(), text) {
				return
			}
		}
	}
}

// Fail records that the field of this name makes the message unreadable, unless
// [maxErrors] fields do already.
func (o Object) Fail(name, rule string) {
	if len(o.notes.errors) >= maxErrors {
		return
	}
	if o.notes.errors == nil {
		o.notes.errors = make(map[string][]string)
	}
	path := o.path(name)
	if !slices.Contains(o.notes.errors[path], rule) {
		o.notes.errors[path] = append(o.notes.errors[path], rule)
	}
}

// FailStatus records that the field of this name holds a status that the map does not have.
func (o Object) FailStatus(name string) {
	o.notes.unknown = true
	o.Fail(name, ruleUnmapped)
}

// Warn records that the field of this name was ignored, unless [maxWarnings] are
// known already.
func (o Object) Warn(name, rule string) {
	if len(o.notes.warnings) >= maxWarnings {
		return
	}
	warning := o.path(name) + ": " + rule
	if !slices.Contains(o.notes.warnings, warning) {
		o.notes.warnings = append(o.notes.warnings, warning)
	}
}

// Err is every error of the message as one [*provider.Error]; nil when there is
// none. Its reason is UnknownStatus when that is all that is wrong.
func (o Object) Err() error {
	if len(o.notes.errors) == 0 {
		return nil
	}
	reason := provider.InvalidFields
	if o.notes.unknown && len(o.notes.errors) == 1 {
		reason = provider.UnknownStatus
	}
	return &provider.Error{Reason: reason, Fields: o.notes.errors}
}

// Warnings are the fields of the message that were ignored, in order of reading,
// at most [maxWarnings]; nil when there are none.
func (o Object) Warnings() []string {
	return slices.Clip(o.notes.warnings)
}

// What a hostile list can add to an event, to a message in quarantine and to an
// answer. A body of 256 KiB has 120,000 places for a mistake; what is past the
// bound costs nothing.
const (
	maxWarnings = 32
	maxErrors   = 32
)

// path is the name of a field for a reader: "customer.email", "products[0].amount".
func (o Object) path(name string) string {
	path := o.prefix
	if o.index >= 0 {
		path += "[" + strconv.Itoa(o.index) + "]"
	}
	switch {
	case path == "":
		return name
	case name == "":
		return path
	case strings.HasPrefix(path, "/"): // the path of a pointer stays one
		return path + "/" + name
	default:
		return path + "." + name
	}
}
