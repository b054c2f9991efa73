package order_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/domain/order/ordertest"
)

func live(t *testing.T) *order.Machine {
	t.Helper()
	m, err := order.Live(order.DefaultTable())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLooplabAnswers holds the compiled array to looplab for every question there
// is, and both to the table: an edge is where the table has one, and nowhere else.
func TestLooplabAnswers(t *testing.T) {
	m, asked := order.Default(), live(t)
	edges, questions := 0, 0
	for from := range domain.StatusCount {
		for kind := domain.KindStarted; kind < domain.KindDetails; kind++ {
			for choice := range domain.StatusCount {
				questions++
				got, want := m.Ask(from, kind, choice), asked.Ask(from, kind, choice)
				if got != want || got != byTable(from, kind, choice) {
					t.Errorf("%s, %s, choice %s: array %s, looplab %s, table %s", from, kind, choice, got, want, byTable(from, kind, choice))
				}
				if got != domain.StatusNone {
					edges++
				}
			}
		}
	}
	// 52 cells with one target, and one with three.
	if edges != 55 || questions != 768 {
		t.Errorf("%d edges in %d questions, want 55 in 768", edges, questions)
	}
}

// byTable is the answer that the table's text gives.
func byTable(from domain.Status, kind domain.Kind, choice domain.Status) domain.Status {
	code := order.DefaultTable().At(from, kind)
	if code == order.CodeReversed {
		switch choice {
		case domain.StatusRefunded, domain.StatusCancelled, domain.StatusApproved:
			return choice
		default:
			return domain.StatusNone
		}
	}
	if choice != domain.StatusNone {
		return domain.StatusNone
	}
	switch code {
	case order.CodeStay, order.CodeConflict:
		return domain.StatusNone
	case order.CodeReopen:
		return domain.StatusPending
	case order.CodeImplied:
		return domain.StatusApproved
	default:
		name := code
		if name[len(name)-1] == '?' {
			name = name[:len(name)-1]
		}
		to, _ := domain.ParseStatus(string(name))
		return to
	}
}

// TestLooplabSequences decides every sequence of up to four facts twice, by the
// array and by looplab itself, and finds the same events and states.
func TestLooplabSequences(t *testing.T) {
	m, asked := order.Default(), live(t)
	sequences := 0
	var extend func(h, g *order.History, depth int)
	extend = func(h, g *order.History, depth int) {
		for kind := domain.KindStarted; kind < domain.KindDetails; kind++ {
			fact := plain(kind, fmt.Sprint(depth), depth)
			got, err := m.Decide(h, fact, meta(later))
			if err != nil {
				t.Fatal(err)
			}
			want, err := asked.Decide(g, fact, meta(later))
			if err != nil {
				t.Fatal(err)
			}
			sequences++
			if !sameDecision(&got, &want) {
				t.Fatalf("%s after %v: array (-), looplab (+):\n%s", kind, h, cmp.Diff(got.Event, want.Event))
			}
			if depth < 4 {
				extend(got.History, want.History, depth+1)
			}
		}
	}
	extend(nil, nil, 1)
	if want := 12 + 12*12 + 12*12*12 + 12*12*12*12; sequences != want {
		t.Errorf("%d sequences, want %d", sequences, want)
	}
	for _, c := range goldens(t) {
		if err := c.Check(asked); err != nil {
			t.Errorf("asking looplab: %v", err)
		}
	}
}

func sameDecision(a, b *order.Decision) bool {
	return a.Event.To == b.Event.To && a.Event.Verdict == b.Event.Verdict && a.Event.Why == b.Event.Why &&
		a.Event.Gap == b.Event.Gap && cmp.Equal(a.After.Path, b.After.Path) && cmp.Equal(a.After.Conflicts, b.After.Conflicts)
}

// later is a receipt after everything.
var later = ordertest.Base.Add(100 * 24 * time.Hour)

// plain is a fact of kind, dated so many minutes after the base.
func plain(kind domain.Kind, key string, minute int) domain.Fact {
	return domain.Fact{
		Kind: kind, Provider: "aprovei", Account: "principal", ProviderOrderID: "tok_1", Key: key,
		OccurredAt: ordertest.Base.Add(time.Duration(minute) * time.Minute),
	}
}

func meta(received time.Time) order.Meta {
	return order.Meta{Tenant: "loja", Source: "loja-aprovei", ReceivedAt: received, Now: received}
}
