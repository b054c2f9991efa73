package order_test

import (
	"math/rand/v2"
	"os"
	"testing"

	"comanda.internal/domain/order"
	"comanda.internal/domain/order/ordertest"
)

// goldens is every committed case.
func goldens(tb testing.TB) []ordertest.Case {
	tb.Helper()
	cases, err := ordertest.Load(os.DirFS("testdata/golden"))
	if err != nil {
		tb.Fatal(err)
	}
	return cases
}

// TestGolden holds the machine to every committed case, as delivered.
func TestGolden(t *testing.T) {
	for _, c := range goldens(t) {
		if err := c.Check(order.Default()); err != nil {
			t.Error(err)
		}
	}
}

// TestGoldenInEveryOrder delivers each case's facts in every other order, or in a
// hundred where there are more: the end is always the one that is written down.
func TestGoldenInEveryOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ways := 0
	for _, c := range goldens(t) {
		if !c.Converges() {
			continue
		}
		for _, sequence := range sequences(len(c.Facts), random) {
			ways++
			if err := c.CheckEnd(order.Default(), sequence); err != nil {
				t.Error(err)
				break
			}
		}
	}
	if ways < 1000 {
		t.Errorf("%d ways of delivery: the cases are not what they were", ways)
	}
}

// sequences is every order of n facts, or a hundred of them.
func sequences(n int, random *rand.Rand) [][]int {
	if n > 4 {
		all := make([][]int, 100)
		for i := range all {
			all[i] = random.Perm(n)
		}
		return all
	}
	all := [][]int{{}}
	for range n {
		var longer [][]int
		for _, s := range all {
			for place := range len(s) + 1 {
				next := append(append(append([]int{}, s[:place]...), len(s)), s[place:]...)
				longer = append(longer, next)
			}
		}
		all = longer
	}
	return all
}

// TestSortIsNeeded drops each part of the sort: some case must end otherwise.
func TestSortIsNeeded(t *testing.T) {
	for part, name := range map[int]string{
		order.ByTime: "time", order.ByRank: "rank", order.ByReceipt: "receipt time", order.ByID: "id",
	} {
		misled := order.Without(order.Default(), part)
		failed := 0
		for _, c := range goldens(t) {
			if c.Check(misled) != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("no case needs the sort by %s", name)
		}
		t.Logf("without %s %d cases fail", name, failed)
	}
}
