package proof_test

import (
	"os"
	"testing"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/domain/order/ordertest"
)

// mutant is the committed table with one other code.
type mutant struct {
	status domain.Status
	kind   domain.Kind
	code   order.Code
}

// TestMutants changes each of the 96 cells to each other code. A table that New
// refuses is killed by validation; of the others, each must fail a golden case or
// stand in survivors with the reason why it is the same machine.
func TestMutants(t *testing.T) {
	t.Parallel()
	cases, err := ordertest.Load(os.DirFS("../testdata/golden"))
	if err != nil {
		t.Fatal(err)
	}
	killed, refused, survived := 0, 0, map[mutant]bool{}
	for status := range domain.StatusCount {
		for kind := domain.KindStarted; kind < domain.KindDetails; kind++ {
			for _, m := range mutantsOf(status, kind) {
				machine, err := order.New(order.DefaultTable().With(status, kind, m.code))
				switch {
				case err != nil && domain.KindOf(err) == domain.Invalid:
					refused++
				case err != nil:
					t.Fatalf("%v: %v", m, err)
				case kill(cases, machine):
					killed++
				default:
					survived[m] = true
				}
			}
		}
	}
	for m := range survived {
		if survivors[m] == "" {
			t.Errorf("%s, %s: %q instead of %q fails no golden case", m.status, m.kind, m.code, order.DefaultTable().At(m.status, m.kind))
		}
	}
	for m, why := range survivors {
		if !survived[m] {
			t.Errorf("%s, %s: %q is listed as %q, but it is killed or is no mutant", m.status, m.kind, m.code, why)
		}
	}
	if sum := killed + refused + len(survived); sum != 96*(len(order.Codes())-1) {
		t.Errorf("%d mutants, want every cell with every other code", sum)
	}
	t.Logf("%d mutants fail a golden case, %d are refused by New, %d are the same machine", killed, refused, len(survived))
}

// mutantsOf is a cell with every code but its own.
func mutantsOf(status domain.Status, kind domain.Kind) []mutant {
	var all []mutant
	for _, code := range order.Codes() {
		if code != order.DefaultTable().At(status, kind) {
			all = append(all, mutant{status, kind, code})
		}
	}
	return all
}

// kill reports whether some case fails on m, and moves that case to the front:
// what kills one mutant of a cell mostly kills the next.
func kill(cases []ordertest.Case, m *order.Machine) bool {
	for i := range cases {
		if cases[i].Check(m) != nil {
			killer := cases[i]
			copy(cases[1:i+1], cases[:i])
			cases[0] = killer
			return true
		}
	}
	return false
}
