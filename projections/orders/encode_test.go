package orders_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections/orders"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// drawn draws every field of v by its type, so that none that is added later is forgotten.
func drawn(t *rapid.T, v reflect.Value, name string) {
	switch at, isTime := reflect.TypeAssert[*time.Time](v.Addr()); {
	case isTime:
		if rapid.Bool().Draw(t, name) {
			*at = time.Unix(rapid.Int64Range(-10, 1<<33).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name)).UTC()
		}
		return
	case v.Type() == reflect.TypeFor[domain.Status]():
		v.SetUint(uint64(rapid.IntRange(0, int(domain.StatusCount)-1).Draw(t, name)))
		return
	case v.Type() == reflect.TypeFor[domain.UTM]():
		v.Set(reflect.ValueOf(domain.UTMOf(rapid.MapOf(rapid.String(), rapid.String()).Draw(t, name))))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			drawn(t, v.Field(i), v.Type().Field(i).Name)
		}
		if amount, ok := reflect.TypeAssert[*domain.Amount](v.Addr()); ok && !amount.Known {
			amount.Minor = 0
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, name), 3))
		for i := range v.Len() {
			drawn(t, v.Index(i), name)
		}
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

// A state has the keys that its row has, also after other states.
func TestAStateIsIndexedAsItsRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k orders.Keyed
		for range 3 {
			state := new(order.State)
			drawn(t, reflect.ValueOf(state).Elem(), "state")
			id := domain.OrderID(rapid.StringMatching(`ord_[a-z2-7]{26}`).Draw(t, "id"))
			if diff := cmp.Diff(orders.Keys(orders.Row(id, state.Source, state)), orders.Keys(k.Row(id, state))); diff != "" {
				t.Fatalf("keys (-of the row +of the state):\n%s", diff)
			}
		}
	})
}

// What is skimmed of a row is as it is decoded, also after other rows.
func TestARowIsSkimmedAsItIsDecoded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s orders.Skimmer
		for range 3 {
			state := new(order.State)
			drawn(t, reflect.ValueOf(state).Elem(), "state")
			state.Identity.Tenant = domain.TenantID(rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "tenant"))
			var stored wire.Appender
			orders.AppendRow(&stored, "ord_3q7a5zk2v6w4mbd2xn5hjyqkcu", domain.SourceID(rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "source")), state)
			row, ok := s.Skim(stored.Bytes)
			if !ok {
				t.Fatalf("not skimmed: %x", stored.Bytes)
			}
			want := new(comandav1.Order)
			if err := proto.Unmarshal(stored.Bytes, want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(orders.Keys(want), orders.Keys(row)); diff != "" {
				t.Fatalf("keys (-decoded +skimmed):\n%s", diff)
			}
			diff := cmp.Diff(want, row, protocmp.Transform(), protocmp.IgnoreFields(want,
				"provider", "account", "revision", "total", "freight", "discount", "refund_requested", "method", "phase", "reason", "detail",
				"started_at", "approved_at", "updated_at", "gap", "conflicts", "held_back", "attention", "payment_ids", "abandoned_at", "installments",
				"utm", "shipping", "flags", "custom_event", "path", "machine_version"),
				protocmp.IgnoreFields(new(comandav1.Item), "unit_price", "quantity"))
			if diff != "" {
				t.Fatalf("(-decoded +skimmed):\n%s", diff)
			}
		}
	})
}

func TestWhatIsNoRowIsNotSkimmed(t *testing.T) {
	var s orders.Skimmer
	for _, stored := range [][]byte{{0xff}, {0x0a}, {0x0a, 2, 'a'}, {0xca, 1, 3, 8, 2, 0x80}, {0x0d, 1, 2, 3, 4}, {0xca, 1, 2, 0x0a, 2}, {0xc2, 2, 1, 0x0a}} {
		if row, ok := s.Skim(stored); ok {
			t.Errorf("%x is skimmed: %v", stored, row)
		}
	}
}
