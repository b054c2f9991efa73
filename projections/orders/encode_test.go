package orders_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/orders"
	"comanda.internal/proto/wire"
)

// drawn draws every field of v by its type, so that none that is added later is forgotten.
func drawn(t *rapid.T, v reflect.Value, name string) {
	switch at, isTime := v.Addr().Interface().(*time.Time); {
	case isTime:
		if rapid.Bool().Draw(t, name) {
			*at = time.Unix(rapid.Int64Range(-10, 1<<33).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name)).UTC()
		}
		return
	case v.Type() == reflect.TypeFor[domain.Status]():
		v.SetUint(uint64(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, name)))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			drawn(t, v.Field(i), v.Type().Field(i).Name)
		}
		if amount, ok := v.Addr().Interface().(*domain.Amount); ok && !amount.Known {
			amount.Minor = 0
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, name), 3))
		for i := range v.Len() {
			drawn(t, v.Index(i), name)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, name)))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name) {
			v.Set(reflect.New(v.Type().Elem()))
			drawn(t, v.Elem(), name)
		}
	case reflect.String:
		v.SetString(rapid.OneOf(rapid.Just(""), rapid.String(), rapid.StringN(100, 300, -1)).Draw(t, name))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Int32, reflect.Int64:
		v.SetInt(rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(-1<<31, 1<<31-1)).Draw(t, name))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.Uint64Range(0, 1<<32-1).Draw(t, name))
	default:
		t.Fatalf("%s is of a kind that the test does not know: %s", name, v.Kind())
	}
}

func TestARowIsAppendedAsItIsMarshalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := new(order.State)
		drawn(t, reflect.ValueOf(state).Elem(), "state")
		id, source := domain.OrderID(rapid.String().Draw(t, "id")), domain.SourceID(rapid.String().Draw(t, "source"))
		want, err := wire.Marshal(orders.Row(id, source, state))
		if err != nil {
			t.Fatal(err)
		}
		var got wire.Appender
		orders.AppendRow(&got, id, source, state)
		if !bytes.Equal(want, got.Bytes) {
			t.Fatalf("marshalled %x\nappended   %x", want, got.Bytes)
		}
	})
}
