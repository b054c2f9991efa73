package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

func sampleOrder() *comandav1.Order {
	total := int64(12005)
	return &comandav1.Order{
		OrderId: "ord_x", Tenant: "loja", Provider: "aprovei", Status: comandav1.OrderStatus_ORDER_STATUS_APPROVED, Revision: 3,
		Total: &total, Reference: "=1+1", UpdatedAt: timestamppb.New(time.Unix(1_700_000_000, 0)),
		Utm: map[string]string{"utm_source": "google", "src": "x"},
	}
}

func TestFormats(t *testing.T) {
	for format, want := range map[string]string{
		"csv": "order_id,tenant,provider,provider_order_id,reference,status,revision,total,paid,refunded,method,updated_at,attention\n" +
			"ord_x,loja,aprovei,,'=1+1,approved,3,120.05,,,,2023-11-14T22:13:20Z,\n",
		"table": "ORDER_ID  TENANT  PROVIDER  PROVIDER_ORDER_ID  REFERENCE  STATUS    REVISION  TOTAL   PAID  REFUNDED  METHOD  UPDATED_AT            ATTENTION\n" +
			"ord_x     loja    aprovei                      =1+1       approved  3         120.05                          2023-11-14T22:13:20Z  \n",
	} {
		var b strings.Builder
		p := newPrinter(&b, format, orderColumns())
		if err := p.print(sampleOrder()); err != nil {
			t.Fatal(err)
		}
		if err := p.flush(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}

func TestJSONHasPlainWordsAndNumbers(t *testing.T) {
	text, err := messageJSON(sampleOrder())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`"order_id":"ord_x"`, `"status":"approved"`, `"revision":3`, `"total":12005`, `"paid":null`,
		`"updated_at":"2023-11-14T22:13:20Z"`, `"utm":{"src":"x","utm_source":"google"}`, `"conflicts":[]`, `"shipping":null`,
	} {
		if !strings.Contains(text, part) {
			t.Errorf("no %s in %s", part, text)
		}
	}
}

func TestAmounts(t *testing.T) {
	for minor, want := range map[int64]string{0: "0.00", 5: "0.05", 12000: "120.00", -105: "-1.05"} {
		if got := amountText(&minor); got != want {
			t.Errorf("%d is written %s, want %s", minor, got, want)
		}
	}
}
