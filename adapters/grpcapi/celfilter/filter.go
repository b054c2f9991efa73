package celfilter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	maxSize  = 4096   // characters of a text
	maxDepth = 64     // of a text's parentheses
	maxCost  = 20_000 // steps for one row
)

// Compiler reads conditions. It is safe for concurrent use.
type Compiler struct {
	env    *cel.Env
	fields map[string]field
}

// NewCompiler is a compiler of conditions on orders.
func NewCompiler() (*Compiler, error) {
	known := fields()
	options := []cel.EnvOption{
		cel.Types(new(comandav1.Item)), cel.ParserExpressionSizeLimit(maxSize), cel.ParserRecursionLimit(maxDepth), cel.ExtendedValidations(),
	}
	for name, f := range known {
		options = append(options, cel.Variable(name, f.kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make the language of filters: %w", err)
	}
	return &Compiler{env, known}, nil
}

// Problem is one thing that is wrong with a text, and where, both from 1.
type Problem struct {
	Line, Column int
	Text         string
}

// SyntaxError says everything that is wrong with a text. It is of kind Invalid.
type SyntaxError struct{ Problems []Problem }

func (e *SyntaxError) Error() string { return strings.Join(e.lines(), "; ") }

func (e *SyntaxError) lines() []string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%d:%d: %s", p.Line, p.Column, p.Text)
	}
	return lines
}

// Unwrap is the error's kind, with the field that every request has it in.
func (e *SyntaxError) Unwrap() error {
	err := domain.Errorf(domain.Invalid, "filter: %s", e.Error())
	err.Fields = map[string][]string{"filter": e.lines()}
	return err
}

// Filter is a condition on orders. It does not change.
type Filter struct {
	program cel.Program
	fields  map[string]field
	terms   []term
}

// Compile reads a condition. The error is a [SyntaxError].
func (c *Compiler) Compile(text string) (*Filter, error) {
	read, issues := c.env.Compile(text)
	if err := issues.Err(); err != nil {
		e := &SyntaxError{}
		for _, i := range issues.Errors() {
			e.Problems = append(e.Problems, Problem{max(i.Location.Line(), 1), max(i.Location.Column(), 0) + 1, i.Message})
		}
		slices.SortStableFunc(e.Problems, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
		return nil, e
	}
	if !read.OutputType().IsExactType(cel.BoolType) {
		return nil, &SyntaxError{[]Problem{{1, 1, fmt.Sprintf("is of type %s, and must be true or false", read.OutputType())}}}
	}
	native := read.NativeRep()
	if e := wrongWords(native); e != nil {
		return nil, e
	}
	program, err := c.env.Program(read, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil { // a constant that no evaluation accepts
		return nil, &SyntaxError{[]Problem{{1, 1, err.Error()}}}
	}
	return &Filter{program, c.fields, terms(native.Expr())}, nil
}

// Matches reports whether an order is as the condition says; it is not, where the
// condition has no answer. The error is of kind Invalid: it would cost too much.
func (f *Filter) Matches(order *comandav1.Order) (bool, error) {
	out, _, err := f.program.Eval(row{f.fields, order})
	if err == nil {
		return out == types.True, nil
	}
	if stopped, ok := errors.AsType[interpreter.EvalCancelledError](err); ok {
		return false, &SyntaxError{[]Problem{{1, 1, "costs too much for one order: " + stopped.Message}}}
	}
	return false, nil // unknown, so not one of those that match
}
