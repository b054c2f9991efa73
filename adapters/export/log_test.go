package export_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"comanda.internal/adapters/export"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	"comanda.internal/eventstore"
	"comanda.internal/eventstore/natsnode/natstest"
	"comanda.internal/eventstore/privacy"
)

func TestMain(m *testing.M) {
	natstest.Main()
	goleak.VerifyTestMain(m)
}

// noon is when the first event of every test is recorded.
var noon = time.Date(2026, 5, 9, 12, 0, 0, 123456000, time.UTC)

// log is a real one, of two partitions, and what writes it.
type log struct {
	*eventstore.Log

	conn     *nats.Conn
	recorder *eventstore.Recorder
	now      time.Time
}

func newLog(t *testing.T) *log {
	t.Helper()
	l := &log{now: noon, conn: natstest.FastNode(t, t.TempDir()).Conn()}
	store, err := eventstore.Open(t.Context(), l.conn, eventstore.Config{Partitions: 2, Vault: privacy.Disabled()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	l.Log = store
	l.recorder, err = eventstore.NewRecorder(store, privacy.Disabled(), order.Default(), eventstore.RecorderConfig{Clock: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// record stores a fact of the order n at l.now; tenant and source alternate by order.
func (l *log) record(t *testing.T, n int, kind domain.Kind, change func(*domain.Fact)) {
	t.Helper()
	f := domain.Fact{
		Kind: kind, Provider: "aprovei", Account: "principal", ProviderOrderID: "token" + strconv.Itoa(n),
		Key: fmt.Sprint(kind, l.now.UnixNano()), OccurredAt: l.now.Add(-time.Minute), OccurredText: "yesterday, by Maria",
		Reference: "EX" + strconv.Itoa(n), Amounts: domain.Amounts{Currency: "BRL", Total: domain.Minor(12000)},
		Payment: domain.Payment{Method: "pix", PaymentID: "p1"}, UTM: domain.UTMOf(map[string]string{"utm_source": "google", "utm_medium": `a "quoted" word`}),
		Items:    []domain.Item{{Code: "SKU1", Title: "Camiseta", UnitPrice: domain.Minor(6000), Quantity: 2}, {Code: "SKU2", Quantity: 1}},
		Personal: &domain.Personal{Name: "Maria da Silva", Email: "maria@example.com", Document: "39053344705"},
	}
	if change != nil {
		change(&f)
	}
	shop := []string{"loja", "outra"}[n%2]
	msg := domain.Message{
		Source: domain.SourceID(shop + "-aprovei"), Tenant: domain.TenantID(shop), Account: "principal", Provider: "aprovei",
		ContentType: "application/json", Body: []byte(`{"name":"Maria da Silva"}`), ReceivedAt: l.now,
	}
	if _, err := l.recorder.Record(t.Context(), msg, []domain.Fact{f}); err != nil {
		t.Fatal(err)
	}
}

func paid(f *domain.Fact) { f.Amounts.Paid = domain.Minor(12000) }

func refunded(f *domain.Fact) {
	f.Amounts.Refund, f.Payment.RefundID = domain.Minor(5000), "=r1"
}

// story writes a little of everything: seven orders over seven days, of which the
// recorder's clock sometimes goes back one.
func (l *log) story(t *testing.T) {
	t.Helper()
	for n := range 7 {
		l.now = noon.AddDate(0, 0, n)
		l.record(t, n, domain.KindPending, nil)
		l.now = l.now.Add(time.Hour)
		switch n % 4 {
		case 0:
			l.record(t, n, domain.KindApproved, paid)
			l.now = noon.AddDate(0, 0, 6-n).Add(2 * time.Hour)
			l.record(t, n, domain.KindPartiallyRefunded, refunded)
		case 1:
			l.record(t, n, domain.KindRefused, func(f *domain.Fact) { f.Reference, f.Detail = "=1+1", "@SUM(A1)" })
		case 2: // refused before it was pending, as is told later
			l.now = l.now.Add(-3 * time.Hour)
			l.record(t, n, domain.KindRefused, nil)
		default:
			l.record(t, n, domain.KindDetails, func(f *domain.Fact) { f.Amounts, f.Items = domain.Amounts{}, nil })
		}
	}
}

// config is one that exports what l holds now.
func (l *log) config(t *testing.T, format string, tables ...string) export.Config {
	t.Helper()
	head, err := l.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return export.Config{
		Log: l.Log, Identity: l.Identity(), Epoch: l.Epoch(), Head: head, Machine: order.Default(), Format: format, Tables: tables,
		SegmentEvents: 3,
	}
}

// cut is a log that fails after so many events.
type cut struct {
	export.Log

	left int
}

var errCut = fmt.Errorf("the export is killed")

func (c *cut) Scan(ctx context.Context, partition int, after, upTo uint64, handle func(*domain.Recorded) error) error {
	return c.Log.Scan(ctx, partition, after, upTo, func(r *domain.Recorded) error {
		if c.left == 0 {
			return errCut
		}
		c.left--
		return handle(r)
	})
}
