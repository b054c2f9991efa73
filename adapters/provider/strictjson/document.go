package strictjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is how many objects and arrays may stand inside each other.
const MaxDepth = 32

// The ways in which a text is not strict JSON. Errors of [Parse] wrap one of them.
var (
	ErrSyntax        = errors.New("not JSON")
	ErrUTF8          = errors.New("not valid UTF-8")
	ErrDuplicateName = errors.New("an object has a name twice")
	ErrDepth         = fmt.Errorf("nested deeper than %d", MaxDepth)
	ErrTrailing      = errors.New("more after the value")
	ErrTruncated     = errors.New("cut short")
)

// Document is a parsed text. It refers to the bytes it was made of, which must
// not change while it is read.
type Document struct {
	// text is what was read, and after it the strings that had escapes, unquoted.
	text []byte
	// nodes are the values in order of appearance, each before its parts: one
	// allocation instead of a tree of them, without pointers to follow.
	nodes []node
}

// span is a part of a document's text. The zero span is empty.
type span struct{ start, end int32 }

// node is one value. The nodes from its own index + 1 to end are its parts.
type node struct {
	name span // in its object; empty elsewhere
	text span // of a string, unquoted, or of a number, as written
	end  int32
	kind Kind
}

// bytesPerNode is what a value takes in the messages that we know, name and
// quotes included; a first guess for the size of the node slice.
const bytesPerNode = 20

// parser is one reading of one text.
type parser struct {
	decoder jsontext.Decoder
	buffer  bytes.Buffer
	src     []byte
	doc     Document
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

// Parse reads text, at most 1 GiB of it, which it does not change.
func Parse(text []byte) (*Document, error) {
	p, _ := parsers.Get().(*parser) // the pool holds nothing else
	defer p.release()
	// The decoder reads a bytes.Buffer in place and does not write to it: see
	// invalidatePreviousRead in jsontext/decode.go.
	p.buffer = *bytes.NewBuffer(text)
	p.decoder.Reset(&p.buffer)
	p.src = text
	p.doc = Document{
		text:  slices.Clip(text), // so that to append is to copy
		nodes: make([]node, 0, len(text)/bytesPerNode+8),
	}
	if err := p.value(span{}, 0); err != nil {
		return nil, p.explain(err)
	}
	if _, err := p.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("offset %d: %w", p.decoder.InputOffset(), ErrTrailing)
	}
	doc := p.doc
	return &doc, nil
}

// release gives p back without what it read.
func (p *parser) release() {
	p.buffer = bytes.Buffer{}
	p.decoder.Reset(&p.buffer)
	p.src, p.doc = nil, Document{}
	parsers.Put(p)
}

// value reads one value and what it holds. depth is how many containers are open.
func (p *parser) value(name span, depth int) error {
	kind := Kind(p.decoder.PeekKind())
	index := len(p.doc.nodes)
	p.doc.nodes = append(p.doc.nodes, node{name: name, kind: kind})
	var err error
	switch kind {
	case Object, Array:
		err = p.container(kind, depth+1)
	case String:
		p.doc.nodes[index].text, err = p.text()
	case Number:
		var v jsontext.Value
		if v, err = p.decoder.ReadValue(); err == nil {
			p.doc.nodes[index].text = p.read(len(v), 0)
		}
	default:
		_, err = p.decoder.ReadToken() // a literal, or the error that PeekKind met
	}
	p.doc.nodes[index].end = int32(len(p.doc.nodes)) //nolint:gosec // a body of 256 KiB has fewer values than 2^31
	return err
}

// container reads an object or array whose opening is next.
func (p *parser) container(kind Kind, depth int) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	if _, err := p.decoder.ReadToken(); err != nil {
		return err //nolint:wrapcheck // explain words every error of this file
	}
	for {
		switch p.decoder.PeekKind() {
		case jsontext.KindEndObject, jsontext.KindEndArray, jsontext.KindInvalid:
			_, err := p.decoder.ReadToken()
			return err //nolint:wrapcheck // see above
		default:
		}
		var name span
		if kind == Object {
			var err error
			if name, err = p.text(); err != nil {
				return err
			}
		}
		if err := p.value(name, depth); err != nil {
			return err
		}
	}
}

// text reads a string, unquoted.
func (p *parser) text() (span, error) {
	v, err := p.decoder.ReadValue()
	if err != nil {
		return span{}, err //nolint:wrapcheck // explain words every error of this file
	}
	if v.Kind() != jsontext.KindString {
		return span{}, ErrSyntax // a name that is no string
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return p.read(len(v), 1), nil
	}
	start := len(p.doc.text)
	p.doc.text, err = jsontext.AppendUnquote(p.doc.text, v)
	return spanOf(start, len(p.doc.text)), err //nolint:wrapcheck // see above
}

// read is where the value of n bytes stands that was read last, without as many
// bytes as trim at both ends.
func (p *parser) read(n, trim int) span {
	end := int(p.decoder.InputOffset())
	return spanOf(end-n+trim, end-trim)
}

func spanOf(start, end int) span {
	return span{int32(start), int32(end)} //nolint:gosec // Parse's bound
}

// explain words the decoder's error without the text that it quotes.
func (p *parser) explain(err error) error {
	offset := p.decoder.InputOffset()
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = syntactic.ByteOffset
	}
	rule := ErrSyntax
	switch {
	case errors.Is(err, ErrDepth):
		rule = ErrDepth
	case errors.Is(err, jsontext.ErrDuplicateName):
		rule = ErrDuplicateName
	case !utf8.Valid(p.src):
		rule = ErrUTF8
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		rule = ErrTruncated
	}
	return fmt.Errorf("offset %d: %w", offset, rule)
}
