package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/export"
	"comanda.internal/domain"
)

// replay publishes the messages of from, in order, to the log to; change says what each becomes.
func replay(t *testing.T, from, to *log, change func(r *domain.Recorded, m *nats.Msg) []*nats.Msg) {
	t.Helper()
	source, target := streams(t, from), streams(t, to)
	head := from.config(t, export.FormatJSONL).Head
	for p := range head.Partitions() {
		stream, err := source.Stream(t.Context(), fmt.Sprintf("ORDERS-%02d", p))
		if err != nil {
			t.Fatal(err)
		}
		if err := from.Scan(t.Context(), p, 0, head.At(p), func(r *domain.Recorded) error {
			raw, err := stream.GetMsg(t.Context(), r.Sequence)
			if err != nil {
				return err
			}
			m := &nats.Msg{Subject: raw.Subject, Data: raw.Data, Header: nats.Header{"Comanda-Type": raw.Header.Values("Comanda-Type")}}
			for _, m := range change(r, m) {
				if _, err := target.PublishMsg(t.Context(), m); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func streams(t *testing.T, l *log) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(l.conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// strange is the log of l, in which an order's first event is there again after its
// second and after its third, and of another order only the second is; and the folded
// tables as they are without all that.
func (l *log) strange(t *testing.T) (*log, map[string][]byte) {
	t.Helper()
	l.story(t)
	want := folded(t, l)
	l.now = noon.AddDate(0, 0, 8)
	l.record(t, 9, domain.KindPending, nil)
	l.record(t, 9, domain.KindApproved, paid)
	out := newLog(t)
	var first *nats.Msg
	replay(t, l, out, func(r *domain.Recorded, m *nats.Msg) []*nats.Msg {
		switch e := &r.Event; {
		case e.Fact.ProviderOrderID == "token9" && e.Revision == 1:
			return nil
		case e.Fact.ProviderOrderID == "token4" && e.Revision == 1:
			first = m
		case e.Fact.ProviderOrderID == "token4":
			return []*nats.Msg{m, first}
		}
		return []*nats.Msg{m}
	})
	return out, want
}

var foldedTables = []string{export.TableOrders, export.TableIntervals, export.TableMovements, export.TableCustomers}

// folded are the folded tables, customers among them.
func folded(t *testing.T, l *log) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, table := range foldedTables {
		c := l.config(t, export.FormatJSONL, table)
		if table == export.TableCustomers {
			c = l.revealing(t, newKeys(), export.FormatJSONL, table)
		}
		out[table] = stream(t, c)
	}
	return out
}

// An event that cannot follow is in no folded table; what is there is as without it.
func TestStrangeEventsAreLeftOut(t *testing.T) {
	l, want := newLog(t).strange(t)
	for table, got := range folded(t, l) {
		if diff := gocmp.Diff(string(want[table]), string(got)); diff != "" || len(got) == 0 {
			t.Errorf("%s (-without +with):\n%s", table, diff)
		}
	}

	dir := t.TempDir()
	c := l.config(t, export.FormatJSONL, tables...)
	var told []string
	c.LeftOut = func(r *domain.Recorded, why error) {
		told = append(told, fmt.Sprintf("%s revision %d", r.Event.Fact.ProviderOrderID, r.Event.Revision))
		if !strings.Contains(why.Error(), string(r.Event.OrderID)) || r.Sequence == 0 {
			t.Errorf("sequence %d: %v", r.Sequence, why)
		}
	}
	m, err := export.Directory(t.Context(), dir, c)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(told)
	if diff := gocmp.Diff([]string{"token4 revision 1", "token4 revision 1", "token9 revision 2"}, told); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
	if m.LeftOut != 3 || m.Rows(export.TableOrders) != 7 || m.Rows(export.TableEvents) != int64(events(c)) {
		t.Errorf("%d left out, %d orders, %d events", m.LeftOut, m.Rows(export.TableOrders), m.Rows(export.TableEvents))
	}
	read, err := export.Check(dir, func(problem string) { t.Error(problem) })
	if err != nil || read.LeftOut != 3 {
		t.Errorf("the manifest says %+v, %v", read, err)
	}
}

// events are how many c's log holds.
func events(c export.Config) (n uint64) {
	for p := range c.Head.Partitions() {
		n += c.Head.At(p)
	}
	return n
}

// Nobody hears of strange events of orders that are not asked for.
func TestStrangeEventsOfOthersAreNotTold(t *testing.T) {
	l, _ := newLog(t).strange(t)
	for tenant, want := range map[string]int{"loja": 2, "outra": 1, "nobody": 0} {
		c := l.config(t, export.FormatJSONL, export.TableMovements)
		c.Filter.Tenants = []string{tenant}
		got := 0
		c.LeftOut = func(*domain.Recorded, error) { got++ }
		stream(t, c)
		if got != want {
			t.Errorf("%s: told of %d, want %d", tenant, got, want)
		}
	}
}
