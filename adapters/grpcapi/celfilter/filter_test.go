package celfilter_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"comanda.internal/adapters/grpcapi/celfilter"
	"comanda.internal/domain"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	"comanda.internal/projections/timeline"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func compiler(t *testing.T) *celfilter.Compiler {
	t.Helper()
	c, err := celfilter.NewCompiler()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compile(t *testing.T, text string) *celfilter.Filter {
	t.Helper()
	f, err := compiler(t).Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return f
}

func TestMatches(t *testing.T) {
	o := &comandav1.Order{
		OrderId: "ord_a", Tenant: "loja", Status: comandav1.OrderStatus_ORDER_STATUS_APPROVED, Revision: 3, Paid: proto.Int64(12_000),
		Items: []*comandav1.Item{{Code: "SKU1", Quantity: 2}}, Utm: map[string]string{"utm_source": "x"},
		Attention: []*comandav1.Attention{{Kind: "underpaid"}},
	}
	for text, want := range map[string]bool{
		`status == "approved" && paid > 10000`:                     true,
		`status != "approved"`:                                     false,
		`status in ["refunded", "approved"]`:                       true,
		`total > 1`:                                                false, // unknown
		`!(total > 1)`:                                             false, // as unknown
		`total == null && paid != null`:                            true,
		`total > 1 || revision == 3`:                               true,
		`approved_at < timestamp("2026-01-01T00:00:00Z")`:          false,
		`approved_at == null`:                                      true,
		`items.exists(i, i.code == "SKU1" && i.quantity >= 2)`:     true,
		`"utm_source" in utm && utm.utm_source.startsWith("x")`:    true,
		`utm.utm_medium == "y"`:                                    false,
		`needs_attention && "underpaid" in attention`:              true,
		`size(payment_ids) == 0 && order_id.matches("^ord_[a-c]")`: true,
		`1 / (revision - 3) == 1`:                                  false,
	} {
		if got, err := compile(t, text).Matches(o); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestSyntaxErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		`status ==`:                              "1:10: ",
		"paid > 1 &&\n  nobody == 2":             "2:3: undeclared reference to 'nobody'",
		`status == "aproved"`:                    `1:11: "aproved" is not a status`,
		"true ||\n status in ['paid']":           `2:13: "paid" is not a status`,
		`paid > "x"`:                             "1:6: found no matching overload",
		`paid`:                                   "1:1: is of type",
		`recorded_at > timestamp("yesterday")`:   "1:25: ",
		`reference.matches("(")`:                 "1:19: ",
		``:                                       "1:1: ",
		strings.Repeat("(", 500) + "true":        "1:",
		strings.Repeat("true || ", 600) + "true": "1:1: ",
		`items.exists(i, i.nothing == 1)`:        "1:18: undefined field 'nothing'",
	} {
		_, err := compiler(t).Compile(text)
		wrong, ok := errors.AsType[*celfilter.SyntaxError](err)
		if !ok || domain.KindOf(err) != domain.Invalid || !strings.HasPrefix(wrong.Error(), want) {
			t.Errorf("%.40s: %v, want %s…", text, err, want)
		}
	}
}

func TestACostlyConditionIsRefused(t *testing.T) {
	o := &comandav1.Order{}
	for range 1000 {
		o.Items = append(o.Items, &comandav1.Item{})
	}
	got, err := compile(t, `items.all(a, items.all(b, a.code == b.code))`).Matches(o)
	if got || domain.KindOf(err) != domain.Invalid {
		t.Errorf("%v, %v: want an error", got, err)
	}
}

func TestNarrow(t *testing.T) {
	day := time.Date(2026, 5, 9, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]orders.Filter{
		`status == "approved"`:                      {Statuses: []domain.Status{domain.StatusApproved}},
		`"approved" == status && gap`:               {Statuses: []domain.Status{domain.StatusApproved}},
		`status == "none" || status in ["refused"]`: {Statuses: []domain.Status{domain.StatusNone, domain.StatusRefused}},
		`status == "none" || gap`:                   {},
		`!(status == "none")`:                       {},
		`status == "none" || source == "s"`:         {},
		`tenant == "loja" && source == "s" && reference == "r" && provider_order_id == "p" && needs_attention`: {
			Tenant: "loja", Source: "s", Reference: "r", ProviderOrderID: "p", Attention: true,
		},
		`needs_attention ? true : false`: {},
		`recorded_at >= timestamp("2026-05-09T00:00:00Z") && timestamp("2026-05-10T00:00:00Z") > recorded_at`: {
			Recorded: orders.Span{From: day, Before: day.AddDate(0, 0, 1)},
		},
		`first_recorded_at > timestamp("2026-05-09T00:00:00Z") && first_recorded_at <= timestamp("2026-05-09T00:00:00Z")`: {
			First: orders.Span{From: day.Add(1), Before: day.Add(1)},
		},
		`recorded_at > updated_at`: {},
	} {
		var got orders.Filter
		compile(t, text).Narrow(&got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
	given := orders.Filter{Tenant: "outra", Statuses: []domain.Status{domain.StatusRefused}}
	compile(t, `tenant == "loja" && status == "approved"`).Narrow(&given)
	if given.Tenant != "outra" || given.Statuses[0] != domain.StatusRefused {
		t.Errorf("what was set is %+v", given)
	}
}

// TestIndexesAreOnlyAShortcut lists with what the indexes answer and without.
func TestIndexesAreOnlyAShortcut(t *testing.T) {
	s := projectiontest.NewScript(4)
	s.Fill(t, 3, 60, 900)
	follower := projectiontest.Start(t, filepath.Join(t.TempDir(), "views.db"), s, func(r projections.Reader) (projections.Facts, []projections.Projection) {
		return timeline.New(r), []projections.Projection{orders.New(r)}
	}, projections.Config{})
	follower.Wait()
	follower.Stop()
	view := orders.New(follower.File)
	all, _, err := view.List(orders.Filter{}, orders.Page{Size: 1000})
	if err != nil || len(all) < 50 {
		t.Fatalf("%d orders, %v", len(all), err)
	}
	middle := all[len(all)/2]
	at := middle.GetRecordedAt().AsTime().Format(time.RFC3339Nano)
	found := 0
	for _, text := range []string{
		`status == "approved"`, `status in ["approved", "refused"] && tenant == "loja"`, `status == "approved" && status == "refused"`,
		fmt.Sprintf(`recorded_at >= timestamp(%q)`, at), fmt.Sprintf(`recorded_at < timestamp(%q) && needs_attention`, at),
		fmt.Sprintf(`timestamp(%q) == recorded_at`, at), fmt.Sprintf(`first_recorded_at <= timestamp(%q) && revision > 2`, at),
		fmt.Sprintf(`reference == %q`, middle.GetReference()), fmt.Sprintf(`provider_order_id == %q || gap`, middle.GetProviderOrderId()),
		fmt.Sprintf(`provider_order_id == %q`, middle.GetProviderOrderId()), `reference == ""`, `tenant == "outra" && source == "comanda-in"`,
	} {
		f := compile(t, text)
		list := func(filter orders.Filter) map[string]bool {
			filter.Where = f.Matches
			rows, next, err := view.List(filter, orders.Page{Size: 1000})
			if err != nil || next != "" {
				t.Fatalf("%s: %q, %v", text, next, err)
			}
			ids := map[string]bool{}
			for _, r := range rows {
				ids[r.GetOrderId()] = true
			}
			return ids
		}
		var narrowed orders.Filter
		f.Narrow(&narrowed)
		want, got := list(orders.Filter{}), list(narrowed)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-without indexes +with them):\n%s", text, diff)
		}
		found += len(want)
	}
	if found < 100 {
		t.Errorf("only %d orders were found", found)
	}
}
