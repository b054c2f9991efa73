package orders_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/projections"
	"comanda.internal/projections/orders"
	"comanda.internal/projections/projectiontest"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func fold(t *testing.T, events []domain.Event) *order.State {
	t.Helper()
	var h *order.History
	for i := range events {
		var err error
		if h, err = h.With(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	return order.Default().Fold(h)
}

func TestEveryRowIsAFreshFold(t *testing.T) {
	view, s := filled(t)
	statuses := map[comandav1.OrderStatus]int{}
	for id, events := range s.Events() {
		state := fold(t, events)
		problems, found, err := view.Check(id, events[0].Source, state)
		if err != nil || !found || len(problems) > 0 {
			t.Fatalf("%s: %v, %v, %v", id, problems, found, err)
		}
		row, _, err := view.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		statuses[row.GetStatus()]++
		if diff := cmp.Diff(orders.Row(id, events[0].Source, state), row, protocmp.Transform()); diff != "" {
			t.Errorf("%s (-fold +row):\n%s", id, diff)
		}
	}
	if len(statuses) < 4 {
		t.Errorf("only these statuses were seen: %v", statuses)
	}
	report := func(id domain.OrderID, problem string) { t.Errorf("%s %s", id, problem) }
	if err := view.CheckIndexes([2]orders.RowFunc{nobody, nobody}, report); err != nil {
		t.Fatal(err)
	}
}

// nobody hears of rows.
func nobody(_, _ []byte, _ *comandav1.Order) error { return nil }

func TestCheckNamesWhatDiffers(t *testing.T) {
	view, s := filled(t)
	for id, events := range s.Events() {
		state := fold(t, events)
		row, _, err := view.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		row.Revision += 5
		row.Refunded = proto.Int64(77_777)
		row.Utm = map[string]string{"utm_source": "changed"}
		row.Conflicts = append(row.Conflicts, "another")
		var fields []string
		for _, problem := range orders.Compare(state, row) {
			field, _, _ := strings.Cut(problem, ":")
			fields = append(fields, field)
		}
		slices.Sort(fields)
		if diff := cmp.Diff([]string{"conflicts", "refunded", "revision", "utm"}, fields); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", id, diff)
		}
		if problems, _, err := view.Check(id, "another-source", state); err != nil || len(problems) != 1 {
			t.Errorf("another source: %v, %v", problems, err)
		}
	}
	if _, found, err := view.Check("ord_aaaaaaaaaaaaaaaaaaaaaaaaaa", "s", &order.State{}); found || err != nil {
		t.Errorf("an unknown order: found %v, %v", found, err)
	}
}

// What differs is in words: also a time, a list and a map.
func TestCompareShowsValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)
	row := &comandav1.Order{
		ApprovedAt: timestamppb.New(at), Status: comandav1.OrderStatus_ORDER_STATUS_APPROVED, Total: proto.Int64(12000),
		Conflicts: []string{"evt_a", "evt_b"}, Utm: map[string]string{"utm_source": "google"},
		Items: []*comandav1.Item{{Code: "SKU1", Quantity: 2}}, Attention: []*comandav1.Attention{{Kind: "late", EventId: "evt_a"}},
	}
	want := map[string]string{
		"approved_at": `"2026-05-09T12:00:00Z"`,
		"status":      "ORDER_STATUS_APPROVED, the fold ORDER_STATUS_NONE",
		"total":       "12000",
		"conflicts":   `["evt_a","evt_b"]`,
		"utm":         `{"utm_source":"google"}`,
		"items":       `[{"code":"SKU1","quantity":"2"}]`,
		"attention":   `[{"kind":"late","event_id":"evt_a"}]`,
	}
	got := map[string]string{}
	for _, problem := range orders.Compare(&order.State{}, row) {
		field, text, _ := strings.Cut(problem, ": the view has ")
		got[field] = strings.TrimSuffix(text, ", the fold nothing")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheckIndexesFindsWhatIsMissingAndWhatIsStray(t *testing.T) {
	path := filepath.Join(t.TempDir(), "views.db")
	s := projectiontest.NewScript(1)
	s.Fill(t, 5, 6, 60)
	f := projectiontest.Start(t, path, s, views, projections.Config{})
	f.Wait()
	f.Stop()
	f.Close()

	var missing, stray domain.OrderID
	tamper(t, path, func(b *bbolt.Bucket) error {
		index := b.Bucket([]byte("by_status"))
		first, _ := index.Cursor().First()
		missing = domain.OrderID(first[len(first)-30:])
		last, _ := index.Cursor().Last()
		stray = domain.OrderID(last[len(last)-30:])
		moved := slices.Clone(last)
		moved[len(moved)-31] ^= 1 // another nanosecond
		if err := index.Delete(first); err != nil {
			return err
		}
		return index.Put(moved, nil)
	})
	file, err := projections.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := map[domain.OrderID]string{}
	if err := orders.New(file).CheckIndexes([2]orders.RowFunc{nobody, nobody}, func(id domain.OrderID, problem string) { got[id] += problem }); err != nil {
		t.Fatal(err)
	}
	want := map[domain.OrderID]string{missing: "is missing in the index by status", stray: "has a stray entry in the index by status"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func tamper(t *testing.T, path string, change func(*bbolt.Bucket) error) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error { return change(tx.Bucket([]byte("orders"))) })
	if err != nil {
		t.Fatal(err)
	}
}

func TestBasicCutsWhatOnlyFullShows(t *testing.T) {
	row := &comandav1.Order{
		OrderId: "ord_x", Items: []*comandav1.Item{{}}, Utm: map[string]string{"a": "b"}, Shipping: &comandav1.Shipping{},
		Flags: []string{"f"}, CustomEvent: "c", Path: []*comandav1.Step{{}},
	}
	orders.Basic(row)
	if diff := cmp.Diff(&comandav1.Order{OrderId: "ord_x"}, row, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
