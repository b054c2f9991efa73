package celfilter

import (
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"comanda.internal/domain"
	"comanda.internal/projections/orders"
)

// term is one of the conditions that are joined by && and that an index knows: a
// field is one of some texts, or it is at, before or after a time.
type term struct {
	field string
	texts []string // of an equality; none: of a time
	op    string
	at    time.Time
}

// Narrow adds to filter what the indexes can answer of f. What is set already stays.
func (f *Filter) Narrow(filter *orders.Filter) {
	for i := range f.terms {
		t := &f.terms[i]
		switch t.field {
		case "tenant":
			narrow(&filter.Tenant, t.texts)
		case "source":
			narrow(&filter.Source, t.texts)
		case "reference":
			narrow(&filter.Reference, t.texts)
		case "provider_order_id":
			narrow(&filter.ProviderOrderID, t.texts)
		case "status":
			if len(filter.Statuses) == 0 {
				for _, word := range t.texts {
					status, _ := domain.ParseStatus(word) // wrongWords let no other through
					filter.Statuses = append(filter.Statuses, status)
				}
			}
		case needsAttention:
			filter.Attention = true
		case "recorded_at":
			t.bound(&filter.Recorded)
		case "first_recorded_at":
			t.bound(&filter.First)
		}
	}
}

// narrow sets a field that says one thing or, empty, anything.
func narrow[T ~string](field *T, texts []string) {
	if *field == "" && len(texts) == 1 {
		*field = T(texts[0])
	}
}

func (t *term) bound(span *orders.Span) {
	from, before := time.Time{}, time.Time{}
	switch t.op {
	case operators.Equals:
		from, before = t.at, t.at.Add(1)
	case operators.Greater:
		from = t.at.Add(1)
	case operators.GreaterEquals:
		from = t.at
	case operators.Less:
		before = t.at
	case operators.LessEquals:
		before = t.at.Add(1)
	}
	if from.After(span.From) {
		span.From = from
	}
	if !before.IsZero() && (span.Before.IsZero() || before.Before(span.Before)) {
		span.Before = before
	}
}

// terms are those of e that an index knows, if e is true only where all of them are.
func terms(e ast.Expr) []term {
	switch e.Kind() {
	case ast.IdentKind:
		if e.AsIdent() == needsAttention {
			return []term{{field: needsAttention}}
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == operators.LogicalAnd {
			var all []term
			for _, arg := range call.Args() {
				all = append(all, terms(arg)...)
			}
			return all
		}
		if t, ok := oneOf(e); ok {
			return []term{t}
		}
		if t, ok := timed(e); ok {
			return []term{t}
		}
	default:
	}
	return nil
}

// oneOf reads 'field == "text"', 'field in ["text", …]', and such of one field joined by ||.
func oneOf(e ast.Expr) (term, bool) {
	if e.Kind() != ast.CallKind {
		return term{}, false
	}
	call := e.AsCall()
	args := call.Args()
	switch call.FunctionName() {
	case operators.Equals:
		name, other, ok := named(args)
		if text, isText := literal[string](other); ok && isText {
			return term{field: name, op: operators.Equals, texts: []string{text}}, true
		}
	case operators.In:
		if args[0].Kind() == ast.IdentKind && args[1].Kind() == ast.ListKind {
			texts, ok := literals(args[1].AsList())
			return term{field: args[0].AsIdent(), op: operators.Equals, texts: texts}, ok
		}
	case operators.LogicalOr:
		var all term
		for i, arg := range args {
			t, ok := oneOf(arg)
			if !ok || i > 0 && t.field != all.field {
				return term{}, false
			}
			all = term{field: t.field, op: operators.Equals, texts: append(all.texts, t.texts...)}
		}
		return all, true
	}
	return term{}, false
}

// literals are the texts of a list; false when it has anything else, or nothing.
func literals(list ast.ListExpr) (texts []string, ok bool) {
	for _, element := range list.Elements() {
		text, ok := literal[string](element)
		if !ok {
			return nil, false
		}
		texts = append(texts, text)
	}
	return texts, len(texts) > 0
}

// turned is a comparison with its sides exchanged.
var turned = map[string]string{
	operators.Equals: operators.Equals, operators.Less: operators.Greater, operators.Greater: operators.Less,
	operators.LessEquals: operators.GreaterEquals, operators.GreaterEquals: operators.LessEquals,
}

// timed reads a comparison of a field with 'timestamp("…")'.
func timed(e ast.Expr) (term, bool) {
	call := e.AsCall()
	op := call.FunctionName()
	if turned[op] == "" {
		return term{}, false
	}
	name, other, ok := named(call.Args())
	if !ok || other.Kind() != ast.CallKind || other.AsCall().FunctionName() != "timestamp" || len(other.AsCall().Args()) != 1 {
		return term{}, false
	}
	text, _ := literal[string](other.AsCall().Args()[0])
	at, err := time.Parse(time.RFC3339Nano, text)
	if call.Args()[0] == other {
		op = turned[op]
	}
	return term{field: name, op: op, at: at}, err == nil
}

// named are the field of a comparison and what it is compared with.
func named(args []ast.Expr) (field string, other ast.Expr, ok bool) {
	for i, arg := range args {
		if len(args) == 2 && arg.Kind() == ast.IdentKind {
			return arg.AsIdent(), args[1-i], true
		}
	}
	return "", nil, false
}

func literal[T any](e ast.Expr) (value T, ok bool) {
	if e == nil || e.Kind() != ast.LiteralKind {
		return value, false
	}
	value, ok = e.AsLiteral().Value().(T)
	return value, ok
}

// wrongWords are the words that status is compared with and that are none: such a
// condition would silently match nothing, or everything.
func wrongWords(a *ast.AST) error {
	e := &SyntaxError{}
	check := func(word ast.Expr) {
		text, ok := literal[string](word)
		if _, known := domain.ParseStatus(text); ok && !known {
			at := a.SourceInfo().GetStartLocation(word.ID())
			e.Problems = append(e.Problems, Problem{at.Line(), at.Column() + 1, fmt.Sprintf(
				"%q is not a status: one of none, started, pending, approved, refused, cancelled, refunded, chargeback", text)})
		}
	}
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(expr ast.Expr) {
		if expr.Kind() != ast.CallKind {
			return
		}
		call := expr.AsCall()
		if !slices.Contains([]string{operators.Equals, operators.NotEquals, operators.In}, call.FunctionName()) {
			return
		}
		name, other, _ := named(call.Args())
		if name != "status" {
			return
		}
		if other.Kind() == ast.ListKind {
			for _, element := range other.AsList().Elements() {
				check(element)
			}
			return
		}
		check(other)
	}))
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}
