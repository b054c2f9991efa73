package plainjson_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/plainjson"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestAppend(t *testing.T) {
	for want, m := range map[string]proto.Message{
		`{"event_id":"e","status_from":"pending","status_to":"approved","forced":false,"gap":true,"why":""}`: &comandav1.Step{
			EventId: "e", StatusFrom: comandav1.OrderStatus_ORDER_STATUS_PENDING, StatusTo: comandav1.OrderStatus_ORDER_STATUS_APPROVED, Gap: true,
		},
		`{"code":"\"é","title":"","unit_price":null,"quantity":9007199254740993}`: &comandav1.Item{Code: `"é`, Quantity: 1<<53 + 1},
		`{"code":"","title":"","unit_price":0,"quantity":0}`:                      &comandav1.Item{UnitPrice: proto.Int64(0)},
	} {
		got, err := plainjson.Append([]byte("at "), m)
		if err != nil || string(got) != "at "+want {
			t.Errorf("%s, %v, want %s", got, err, want)
		}
	}
}
