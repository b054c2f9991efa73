package proof_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// same reports whether two states are one, in every field. It is written out
// because it is asked a million times; TestSame proves that no field is missing.
func same(a, b *order.State) bool {
	return sameSums(a, b) && sameWords(a, b) && sameTimes(a, b) && sameLists(a, b)
}

func sameSums(a, b *order.State) bool {
	return a.Status == b.Status && a.Revision == b.Revision && a.Identity == b.Identity && a.Total == b.Total &&
		a.Paid == b.Paid && a.Refunded == b.Refunded && a.Freight == b.Freight && a.Discount == b.Discount &&
		a.FullyRefunded == b.FullyRefunded && a.RefundRequested == b.RefundRequested && a.Installments == b.Installments &&
		a.Gap == b.Gap && a.MachineVersion == b.MachineVersion
}

func sameWords(a, b *order.State) bool {
	return a.Source == b.Source && a.Reference == b.Reference && a.Currency == b.Currency && a.Dispute == b.Dispute && a.Method == b.Method &&
		a.Phase == b.Phase && a.Reason == b.Reason && a.Detail == b.Detail && a.CustomEvent == b.CustomEvent
}

func sameTimes(a, b *order.State) bool {
	return a.StartedAt.Equal(b.StartedAt) && a.AbandonedAt.Equal(b.AbandonedAt) && a.ApprovedAt.Equal(b.ApprovedAt) &&
		a.UpdatedAt.Equal(b.UpdatedAt) && a.FirstRecordedAt.Equal(b.FirstRecordedAt) && a.RecordedAt.Equal(b.RecordedAt)
}

func sameLists(a, b *order.State) bool {
	shipping := a.Shipping == b.Shipping || (a.Shipping != nil && b.Shipping != nil && *a.Shipping == *b.Shipping)
	return shipping && slices.Equal(a.FormerReferences, b.FormerReferences) && slices.Equal(a.PaymentIDs, b.PaymentIDs) && slices.Equal(a.Items, b.Items) && slices.Equal(a.UTM, b.UTM) &&
		slices.Equal(a.Flags, b.Flags) && slices.Equal(a.Conflicts, b.Conflicts) && slices.Equal(a.HeldBack, b.HeldBack) &&
		slices.Equal(a.Attention, b.Attention) && slices.Equal(a.Path, b.Path)
}

// TestSame changes each field of a state in turn: same must see every change.
func TestSame(t *testing.T) {
	var zero order.State
	if !same(&zero, &order.State{}) {
		t.Fatal("two zero states differ")
	}
	for field := range reflect.TypeFor[order.State]().Fields() {
		var changed order.State
		change(t, reflect.ValueOf(&changed).Elem().FieldByIndex(field.Index))
		if same(&zero, &changed) {
			t.Errorf("a change of %s goes unseen", field.Name)
		}
	}
}

// change sets v to something that is not its zero value.
func change(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(noon))
		return
	case domain.Identity:
		v.Set(reflect.ValueOf(domain.Identity{Account: account}))
		return
	case domain.Amount:
		v.Set(reflect.ValueOf(domain.Minor(0)))
		return
	case map[string]string:
		v.Set(reflect.ValueOf(map[string]string{"source": "x"}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	default:
		t.Fatalf("a state holds a %s: teach same and this test about it", v.Type())
	}
}
