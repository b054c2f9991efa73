package voxuysink_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"comanda.internal/adapters/notify"
	"comanda.internal/adapters/notify/voxuysink"
	"comanda.internal/domain"
	"comanda.internal/domain/delivery"
	"comanda.internal/domain/order"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var day = time.Date(2026, 5, 9, 12, 0, 0, 0, time.UTC)

const (
	token = "11111111-token"
	phone = "+5511912345678"
)

// ledger is what the sink is given: the orders' events as the machine decides
// them, the persons behind the seals, and what else was paid.
type ledger struct {
	t       *testing.T
	events  []domain.Recorded
	history *order.History
	persons map[domain.EventID]domain.Personal
	broken  map[domain.EventID]error
	paid    map[string]bool // by reference
	paidErr error
	asked   int
	payers  map[string]map[domain.OrderID]bool // by pseudonym
}

func newLedger(t *testing.T) *ledger {
	t.Helper()
	return &ledger{t: t, persons: map[domain.EventID]domain.Personal{}, broken: map[domain.EventID]error{}, paid: map[string]bool{}, payers: map[string]map[domain.OrderID]bool{}}
}

func (l *ledger) Order(context.Context, domain.OrderID) ([]domain.Recorded, error) {
	return l.events, nil
}

func (l *ledger) Reveal(_ context.Context, e *domain.Event) (domain.Personal, error) {
	return l.persons[e.ID], l.broken[e.ID]
}

func (l *ledger) PaidElsewhere(_ context.Context, tenant domain.TenantID, reference string, except domain.OrderID) (bool, error) {
	l.asked++
	if tenant != "loja" || except != l.events[0].Event.OrderID {
		l.t.Errorf("asked for tenant %q except %q", tenant, except)
	}
	return l.paid[reference], l.paidErr
}

func (l *ledger) Note(_ context.Context, person string, id domain.OrderID, approved bool) error {
	if strings.Contains(person, phone) {
		l.t.Errorf("a person is named %q", person)
	}
	if l.payers[person] == nil {
		l.payers[person] = map[domain.OrderID]bool{}
	}
	l.payers[person][id] = approved
	return nil
}

func (l *ledger) Paid(_ context.Context, person string, except domain.OrderID) (bool, error) {
	for id, approved := range l.payers[person] {
		if approved && id != except {
			return true, nil
		}
	}
	return false, nil
}

// fact is one fact of the order, a minute after the one before.
type fact struct {
	kind   domain.Kind
	change func(*domain.Fact)
}

// add decides and stores f and answers the event.
func (l *ledger) add(f fact) *domain.Event {
	l.t.Helper()
	n := len(l.events) + 1
	at := day.Add(time.Duration(n) * time.Minute)
	df := domain.Fact{
		Kind: f.kind, Provider: "aprovei", Account: "principal", ProviderOrderID: "VCP1", Key: fmt.Sprint(n), OccurredAt: at, Reference: "EX001",
	}
	person := domain.Personal{Phone: phone}
	if f.change != nil {
		f.change(&df)
	}
	if df.Personal != nil {
		person, df.Personal = *df.Personal, nil
	}
	d, err := order.Default().Decide(l.history, df, order.Meta{Tenant: "loja", Source: "loja-aprovei", ReceivedAt: at, Now: at})
	if err != nil {
		l.t.Fatal(err)
	}
	d.Event.SealedPersonal = []byte("sealed")
	l.history = d.History
	l.events = append(l.events, domain.Recorded{Event: d.Event, Sequence: uint64(n)})
	l.persons[d.Event.ID] = person
	return &d.Event
}

// account is Voxuy's end.
type account struct {
	*httptest.Server

	bodies []map[string]any
	raw    []byte
	answer func(http.ResponseWriter)
}

func newAccount(t *testing.T) *account {
	t.Helper()
	a := &account{answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"Success":true}`) }}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Error(err)
		}
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s", r.Method, r.Header.Get("Content-Type"))
		}
		a.bodies, a.raw = append(a.bodies, body), raw
		a.answer(w)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *account) endpoint() notify.Endpoint {
	return notify.Endpoint{
		ID: "funil", Tenant: "loja", Kind: notify.KindVoxuy, URL: domain.NewSecret(a.URL + "/api/geheim"), AllowPrivate: true,
		APIToken: domain.NewSecret(token),
		Plan:     notify.Plan{Default: "plan-default", ByProduct: map[string]string{"SKU123": "plan-123"}},
	}
}

// send tells the sink of e and answers what came of it.
func send(t *testing.T, ep notify.Endpoint, l *ledger, e *domain.Event) delivery.Outcome {
	t.Helper()
	sink, err := voxuysink.Builder(voxuysink.Deps{
		Opener: l, Orders: l, Purchases: l, Payers: l, Machine: order.Default(), Clock: func() time.Time { return day },
	})(ep)
	if err != nil {
		t.Fatal(err)
	}
	msg := message.NewMessage("x", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	msg.SetContext(notify.With(ctx, delivery.Notification{Endpoint: ep.ID, Event: e, Type: e.Type(), Attempt: 1}))
	outcome := delivery.OutcomeOf(sink.Publish("funil", msg))
	if err := sink.Close(); err != nil {
		t.Error(err)
	}
	for _, hidden := range []string{"geheim", token, phone, "Maria"} {
		if strings.Contains(outcome.Reason+outcome.Detail, hidden) {
			t.Errorf("the outcome %+v holds %q", outcome, hidden)
		}
	}
	return outcome
}

func phase(p string) func(*domain.Fact)         { return func(f *domain.Fact) { f.Payment.Phase = p } }
func reason(r domain.Reason) func(*domain.Fact) { return func(f *domain.Fact) { f.Reason = r } }

func paidBy(id string) func(*domain.Fact) {
	return func(f *domain.Fact) { f.Payment.PaymentID, f.Amounts.Paid = id, domain.Minor(100) }
}

func shipped(event string, at time.Duration) func(*domain.Fact) {
	return func(f *domain.Fact) { f.Shipping = &domain.Shipping{Event: event, City: "Recife", Date: day.Add(at)} }
}

func custom(n string) func(*domain.Fact) { return func(f *domain.Fact) { f.CustomEvent = n } }

// TestWhatIsSaid tells the sink of each event as soon as it is stored.
func TestWhatIsSaid(t *testing.T) {
	for _, tc := range []struct {
		name  string
		facts []fact
		want  []string // the status, or why nothing was said
	}{
		{"a sale", []fact{{domain.KindPending, nil}, {domain.KindApproved, nil}, {domain.KindRefunded, nil}}, []string{"0", "1", "4"}},
		{
			"the phases",
			[]fact{
				{domain.KindPending, phase("awaiting")},
				{domain.KindPending, phase("in_analysis")},
				{domain.KindPending, phase("processing")},
				{domain.KindPending, phase("partially_paid")},
				{domain.KindPending, phase("processing")},
				{domain.KindPending, phase("processing")},
			},
			[]string{"0", "5", "7", "8", "said_before", "no_word"},
		},
		{"an authorized card is processing", []fact{{domain.KindPending, phase("authorized")}}, []string{"7"}},
		{"refused", []fact{{domain.KindRefused, nil}}, []string{"2"}},
		{"refused for fraud", []fact{{domain.KindRefused, reason(domain.ReasonFraud)}}, []string{"10"}},
		{"cancelled", []fact{{domain.KindCancelled, nil}}, []string{"2"}},
		{"expired", []fact{{domain.KindExpired, nil}}, []string{"2"}},
		{"a dispute won", []fact{{domain.KindApproved, nil}, {domain.KindChargeback, nil}, {domain.KindChargebackReversed, nil}}, []string{"1", "3", "1"}},
		{
			"a refund is asked for, twice",
			[]fact{{domain.KindApproved, nil}, {domain.KindRefundRequested, nil}, {domain.KindRefundRequested, nil}, {domain.KindRefunded, nil}},
			[]string{"1", "6", "said_before", "4"},
		},
		{"started says nothing, abandoned does", []fact{{domain.KindStarted, nil}, {domain.KindAbandoned, nil}}, []string{"no_word", "80"}},
		{"abandoned first", []fact{{domain.KindAbandoned, nil}}, []string{"80"}},
		{"abandoned and paid", []fact{{domain.KindApproved, nil}, {domain.KindAbandoned, nil}}, []string{"1", "no_word"}},
		{
			"blocked, and a flag without a word",
			[]fact{{domain.KindPending, nil}, {domain.KindFlagged, reason(domain.ReasonBlocked)}, {domain.KindFlagged, reason("removed_from_source")}},
			[]string{"0", "9", "no_word"},
		},
		{
			"the platform calls it a duplicate payment",
			[]fact{{domain.KindApproved, nil}, {domain.KindFlagged, reason(domain.ReasonDuplicate)}},
			[]string{"1", "11"},
		},
		{
			"paid twice",
			[]fact{{domain.KindApproved, paidBy("p1")}, {domain.KindApproved, paidBy("p2")}},
			[]string{"1", "11"},
		},
		{
			"shipping, whose news are not in order",
			[]fact{
				{domain.KindApproved, nil},
				{domain.KindShipping, shipped("in_transit", 48*time.Hour)},
				{domain.KindShipping, shipped("posted", 24*time.Hour)},
				{domain.KindShipping, shipped("delivered", 72*time.Hour)},
				{domain.KindShipping, shipped("delivered", 72*time.Hour)},
			},
			[]string{"1", "1 shipping 2", "no_word", "1 shipping 6", "said_before"},
		},
		{
			"custom events, and details of another kind",
			[]fact{{domain.KindPending, nil}, {domain.KindDetails, custom("63")}, {domain.KindDetails, custom("63")}, {domain.KindDetails, custom("x")}, {domain.KindDetails, nil}},
			[]string{"0", "99 custom 63", "said_before", "no_word", "no_word"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, a := newLedger(t), newAccount(t)
			var got []string
			for _, f := range tc.facts {
				before := len(a.bodies)
				outcome := send(t, a.endpoint(), l, l.add(f))
				if len(a.bodies) == before {
					got = append(got, outcome.Reason)
					continue
				}
				if outcome.Kind != delivery.OK {
					t.Errorf("outcome %+v", outcome)
				}
				got = append(got, said(a.bodies[before], f.kind))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("said (-want +got):\n%s", diff)
			}
		})
	}
}

func said(body map[string]any, kind domain.Kind) string {
	out := fmt.Sprint(body["status"])
	if n, ok := body["customEvent"]; ok {
		out += fmt.Sprintf(" custom %v", n)
	}
	if kind == domain.KindShipping {
		out += fmt.Sprintf(" shipping %v", body["currentShippingEvent"])
	}
	return out
}

func TestWhatIsNoLongerSoIsNotSaid(t *testing.T) {
	l, a := newLedger(t), newAccount(t)
	pending := l.add(fact{domain.KindPending, nil})
	approved := l.add(fact{domain.KindApproved, nil})
	l.add(fact{domain.KindDetails, nil}) // says nothing, so it supersedes nothing
	if o := send(t, a.endpoint(), l, pending); o.Kind != delivery.Skipped || o.Reason != "superseded" {
		t.Errorf("pending: %+v", o)
	}
	if o := send(t, a.endpoint(), l, approved); o.Kind != delivery.OK {
		t.Errorf("approved: %+v", o)
	}
	refunded := l.add(fact{domain.KindRefunded, nil})
	e := a.endpoint()
	e.Events = []string{"order.approved"} // it is not told of the refund, so that supersedes nothing
	if o := send(t, e, l, approved); o.Kind != delivery.OK {
		t.Errorf("approved, for an endpoint that wants nothing else: %+v", o)
	}
	if o := send(t, a.endpoint(), l, refunded); o.Kind != delivery.OK || len(a.bodies) != 3 {
		t.Errorf("refunded: %+v, %d requests", o, len(a.bodies))
	}
}

func TestAPayerIsNotAskedToPayAgain(t *testing.T) {
	for _, tc := range []struct {
		fact fact
		held bool
	}{
		{fact{domain.KindPending, nil}, true},
		{fact{domain.KindPending, phase("processing")}, true},
		{fact{domain.KindCancelled, nil}, true},
		{fact{domain.KindRefused, nil}, true},
		{fact{domain.KindRefused, reason(domain.ReasonFraud)}, true},
		{fact{domain.KindAbandoned, nil}, true},
		{fact{domain.KindApproved, nil}, false},
		{fact{domain.KindRefunded, nil}, false},
	} {
		l, a := newLedger(t), newAccount(t)
		l.paid["EX001"] = true
		e := l.add(tc.fact)
		o := send(t, a.endpoint(), l, e)
		if held := o.Kind == delivery.Skipped && o.Reason == "paid_elsewhere"; held != tc.held || held != (len(a.bodies) == 0) {
			t.Errorf("%s: %+v, %d requests; held back: %v", tc.fact.kind, o, len(a.bodies), tc.held)
		}
		l.paid["EX001"] = false
		if o := send(t, a.endpoint(), l, e); o.Kind != delivery.OK {
			t.Errorf("%s, nothing else paid: %+v", tc.fact.kind, o)
		}
	}
	l, a := newLedger(t), newAccount(t)
	l.paidErr = errors.New("the view is rebuilt")
	e := l.add(fact{domain.KindPending, nil})
	if o := send(t, a.endpoint(), l, e); o.Kind != delivery.Retry || o.Reason != "purchase" {
		t.Errorf("when nobody knows: %+v", o)
	}
	l = newLedger(t)
	l.paidErr = errors.New("asked")
	e = l.add(fact{domain.KindPending, func(f *domain.Fact) { f.Reference = "" }})
	if o := send(t, a.endpoint(), l, e); o.Kind != delivery.OK || l.asked != 0 {
		t.Errorf("without a reference: %+v, asked %d times", o, l.asked)
	}
}

// TestTheSamePersonIsAPayer has orders without a purchase: what ties them is the
// person alone.
func TestTheSamePersonIsAPayer(t *testing.T) {
	lone := func(id string) func(*domain.Fact) {
		return func(f *domain.Fact) { f.ProviderOrderID, f.Reference = id, "" }
	}
	a := newAccount(t)
	first := newLedger(t)
	paid := first.add(fact{domain.KindApproved, lone("one")})
	if o := send(t, a.endpoint(), first, paid); o.Kind != delivery.OK {
		t.Fatalf("the approval: %+v", o)
	}
	second := newLedger(t)
	second.payers = first.payers
	if o := send(t, a.endpoint(), second, second.add(fact{domain.KindPending, lone("two")})); o.Reason != "paid_elsewhere" {
		t.Errorf("another order of a payer: %+v", o)
	}
	stranger := newLedger(t)
	stranger.payers = first.payers
	e := stranger.add(fact{domain.KindPending, func(f *domain.Fact) {
		lone("three")(f)
		f.Personal = &domain.Personal{Phone: "+5511900000000"}
	}})
	if o := send(t, a.endpoint(), stranger, e); o.Kind != delivery.OK {
		t.Errorf("an order of somebody else: %+v", o)
	}
	if o := send(t, a.endpoint(), first, first.add(fact{domain.KindRefunded, lone("one")})); o.Kind != delivery.OK {
		t.Errorf("the refund: %+v", o)
	}
	third := newLedger(t)
	third.payers = first.payers
	if o := send(t, a.endpoint(), third, third.add(fact{domain.KindPending, lone("four")})); o.Kind != delivery.OK {
		t.Errorf("an order after the refund: %+v", o)
	}
}

func TestThePersonIsGatheredFromTheWholeOrder(t *testing.T) {
	l, a := newLedger(t), newAccount(t)
	person := func(p domain.Personal) func(*domain.Fact) { return func(f *domain.Fact) { f.Personal = &p } }
	l.add(fact{domain.KindPending, person(domain.Personal{Name: "Old", Phone: phone, PixCode: "pix"})})
	l.add(fact{domain.KindDetails, person(domain.Personal{Name: "Maria", Email: "maria@example.com"})})
	e := l.add(fact{domain.KindApproved, person(domain.Personal{})})
	if o := send(t, a.endpoint(), l, e); o.Kind != delivery.OK {
		t.Fatalf("outcome %+v", o)
	}
	got := map[string]any{}
	for _, field := range []string{"clientName", "clientEmail", "clientPhoneNumber", "pixQrCode"} {
		got[field] = a.bodies[0][field]
	}
	want := map[string]any{"clientName": "Maria", "clientEmail": "maria@example.com", "clientPhoneNumber": phone, "pixQrCode": "pix"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("person (-want +got):\n%s", diff)
	}

	l.broken[l.events[0].Event.ID] = errors.New("Maria's key does not come")
	if o := send(t, a.endpoint(), l, e); o.Kind != delivery.Retry || o.Reason != "personal_data" {
		t.Errorf("a key that does not come: %+v", o)
	}
	l.broken[l.events[0].Event.ID] = domain.Errorf(domain.NotFound, "erased")
	if o := send(t, a.endpoint(), l, e); o.Kind != delivery.Final || o.Reason != "no_phone" || len(a.bodies) != 1 {
		t.Errorf("an erased person: %+v, %d requests", o, len(a.bodies))
	}
}

var update = flag.Bool("update", false, "write the golden files")

func TestTransactionGolden(t *testing.T) {
	l, a := newLedger(t), newAccount(t)
	l.add(fact{domain.KindPending, func(f *domain.Fact) {
		f.Payment = domain.Payment{Method: "boleto", Phase: "awaiting"}
		f.Amounts = domain.Amounts{Currency: "BRL", Total: domain.Minor(6990), Freight: domain.Minor(990)}
		f.Items = []domain.Item{{Code: "SKU1", Quantity: 1}, {Code: "SKU123", Quantity: 1}}
		f.Personal = &domain.Personal{
			Name: "Cliente 1", Email: "cliente@example.com", Phone: phone, Document: "74600027043",
			Address: &domain.Address{
				Street: "Rua A", Number: "1", Complement: "ap 2", District: "Centro", City: "Recife", State: "PE", PostalCode: "50000000", Country: "BR",
			},
			BoletoLine: "001", BoletoURL: "https://boleto.example.com", PixCode: "pix", PixURL: "https://pix.example.com", CheckoutURL: "https://c.example.com",
		}
	}})
	l.add(fact{domain.KindApproved, nil})
	e := l.add(fact{domain.KindShipping, func(f *domain.Fact) {
		f.Shipping = &domain.Shipping{
			Event: "posted", TrackingCode: "BR1", TrackingURL: "https://t.example.com", Branch: "CDD", City: "Recife", State: "PE", Country: "BR",
			Date: day.Add(time.Hour),
		}
	}})
	ep := a.endpoint()
	ep.DontCancelPrevious = true
	if o := send(t, ep, l, e); o.Kind != delivery.OK {
		t.Fatalf("outcome %+v", o)
	}
	const golden = "testdata/shipping.json"
	if *update {
		if err := os.WriteFile(golden, a.raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(a.raw)); diff != "" {
		t.Errorf("the body changed (-want +got):\n%s", diff)
	}
}

func TestRequiredFieldsAndHowItIsPaid(t *testing.T) {
	for method, want := range map[string]float64{
		"free": 0, "boleto": 1, "card": 2, "debit_card": 2, "paypal": 3, "boleto_installments": 4, "deposit": 5, "balance": 6, "pix": 7, "": 99, "crypto": 99,
	} {
		l, a := newLedger(t), newAccount(t)
		e := l.add(fact{domain.KindApproved, func(f *domain.Fact) { f.Payment.Method = method }})
		if o := send(t, a.endpoint(), l, e); o.Kind != delivery.OK {
			t.Fatalf("%q: %+v", method, o)
		}
		got := map[string]any{}
		for _, field := range []string{"apiToken", "id", "planId", "paymentType", "status", "clientPhoneNumber", "dontCancelPrevious", "shipping"} {
			got[field] = a.bodies[0][field]
		}
		wanted := map[string]any{
			"apiToken": token, "id": string(e.OrderID), "planId": "plan-default", "paymentType": want, "status": 1.0,
			"clientPhoneNumber": phone, "dontCancelPrevious": nil, "shipping": nil,
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", method, diff)
		}
	}
	l, a := newLedger(t), newAccount(t)
	e := l.add(fact{domain.KindApproved, func(f *domain.Fact) { f.Payment.Method, f.Payment.Installments = "boleto", 3 }})
	send(t, a.endpoint(), l, e)
	if got := a.bodies[0]["paymentType"]; got != 4.0 {
		t.Errorf("a boleto in instalments is %v", got)
	}
}

func TestWhatVoxuysAnswerMeans(t *testing.T) {
	bad, err := os.ReadFile("testdata/bad-request-answer.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		code       int
		retryAfter string
		body       string
		want       delivery.Outcome
	}{
		{200, "", `{"Success":true}`, delivery.Outcome{Kind: delivery.OK}},
		{200, "", ``, delivery.Outcome{Kind: delivery.OK}},
		{200, "", `{"Success":false}`, delivery.Outcome{Kind: delivery.Retry, Reason: "no_success", Detail: "200"}},
		{400, "", string(bad), delivery.Outcome{Kind: delivery.Final, Reason: "rejected", Detail: "trace 0HM8U2U27H831:00000001, clientPhoneNumber"}},
		{400, "", `{"traceId":"a b<&>\u00e9"}`, delivery.Outcome{Kind: delivery.Final, Reason: "rejected", Detail: "trace ab"}},
		{400, "", `<html>`, delivery.Outcome{Kind: delivery.Final, Reason: "rejected"}},
		{401, "", ``, delivery.Outcome{Kind: delivery.Disable, Reason: "unauthorized", Detail: "401"}},
		{403, "", ``, delivery.Outcome{Kind: delivery.Disable, Reason: "unauthorized", Detail: "403"}},
		{410, "", ``, delivery.Outcome{Kind: delivery.Disable, Reason: "gone", Detail: "410"}},
		{429, "60", ``, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "429", After: time.Minute}},
		{500, "", ``, delivery.Outcome{Kind: delivery.Retry, Reason: "status", Detail: "500"}},
		{302, "", ``, delivery.Outcome{Kind: delivery.Retry, Reason: "redirect", Detail: "302"}},
	} {
		l, a := newLedger(t), newAccount(t)
		a.answer = func(w http.ResponseWriter) {
			if tc.retryAfter != "" {
				w.Header().Set("Retry-After", tc.retryAfter)
			}
			w.WriteHeader(tc.code)
			_, _ = io.WriteString(w, tc.body)
		}
		if diff := cmp.Diff(tc.want, send(t, a.endpoint(), l, l.add(fact{domain.KindApproved, nil}))); diff != "" {
			t.Errorf("%d %s (-want +got):\n%s", tc.code, tc.body, diff)
		}
	}
}

func TestPrivateAddressesAndMistakesAreRefused(t *testing.T) {
	l, a := newLedger(t), newAccount(t)
	e := a.endpoint()
	e.AllowPrivate, e.URL = false, domain.NewSecret("https://"+strings.TrimPrefix(a.URL, "http://"))
	if o := send(t, e, l, l.add(fact{domain.KindApproved, nil})); o.Kind != delivery.Retry || o.Reason != "forbidden_address" {
		t.Errorf("outcome %+v", o)
	}
	_, err := voxuysink.New(notify.Endpoint{Kind: notify.KindVoxuy, Events: []string{"nothing"}}, voxuysink.Deps{})
	for _, want := range []string{"events", "url", "api_token", "plan.default"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
