package order_test

import (
	"os"
	"testing"

	"comanda.internal/domain/order"
	"comanda.internal/domain/order/ordertest"
)

// goldens is every committed case.
func goldens(t testing.TB) []ordertest.Case {
	t.Helper()
	cases, err := ordertest.Load(os.DirFS("testdata/golden"))
	if err != nil {
		t.Fatal(err)
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
