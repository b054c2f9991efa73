package fields_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/adapters/provider"
	"comanda.internal/adapters/provider/brazil"
	"comanda.internal/adapters/provider/fields"
	"comanda.internal/domain"
)

func parse(t *testing.T, body string) fields.Object {
	t.Helper()
	root, err := fields.Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func refusal(t *testing.T, err error) *provider.Error {
	t.Helper()
	var refused *provider.Error
	if !errors.As(err, &refused) {
		t.Fatalf("error %v, want a *provider.Error", err)
	}
	return refused
}

func TestEveryErrorIsReported(t *testing.T) {
	root := parse(t, `{"id": null, "sum": "12", "list": [{"sum": -1}, {"sum": 1.5}], "a": {"b": {"id": []}}, "n": "1", "long": "`+
		strings.Repeat("x", 257)+`", "nul": "a\u0000"}`)
	root.ID("id")
	root.ID("none")
	root.ID("long")
	root.ID("nul")
	root.Minor("sum")
	for element := range root.List("list") {
		element.Minor("sum")
	}
	root.Object("a").Object("b").ID("id")
	root.RequiredInteger("n")
	root.RequiredInteger("none")
	got := refusal(t, root.Err())
	want := &provider.Error{Reason: provider.InvalidFields, Fields: map[string][]string{
		"id": {"is required"}, "none": {"is required"}, "long": {"is too long"}, "nul": {"must hold no control characters"},
		"sum":         {"must be a number"},
		"list[0].sum": {"must not be negative"}, "list[1].sum": {"must be a whole number of minor units"},
		"a.b.id": {"must be text"}, "n": {"must be a whole number"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestUnknownStatusAloneIsItsOwnReason(t *testing.T) {
	root := parse(t, `{"status": "x"}`)
	root.FailStatus("status")
	if got := refusal(t, root.Err()); got.Reason != provider.UnknownStatus {
		t.Errorf("reason %s", got.Reason)
	}
	root.ID("id")
	if got := refusal(t, root.Err()); got.Reason != provider.InvalidFields || len(got.Fields) != 2 {
		t.Errorf("with another error: %v", got)
	}
	if err := parse(t, `{}`).Err(); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
}

func TestWarningsAreBoundedAndOnce(t *testing.T) {
	root := parse(t, `{"list": [`+strings.TrimSuffix(strings.Repeat("1,", 500), ",")+`], "a": {}}`)
	root.Text("a")
	root.Text("a")
	if got := root.Warnings(); len(got) != 1 || got[0] != "a: must be text" {
		t.Errorf("warnings %q", got)
	}
	for element := range root.List("list") {
		t.Errorf("a number is an object: %v", element)
	}
	if got := len(root.Warnings()); got != 32 {
		t.Errorf("%d warnings", got)
	}
}

// A list of mistakes as long as a body can be must cost no more than reading it.
func TestMistakesPastTheBoundCostNothing(t *testing.T) {
	const elements = 5000
	tests := map[string]struct {
		element string
		read    func(fields.Object)
	}{
		"warnings": {"1", func(root fields.Object) {
			for element := range root.List("list") {
				t.Errorf("a number is an object: %v", element)
			}
		}},
		"errors": {`{"sum":""}`, func(root fields.Object) {
			for element := range root.List("list") {
				element.Minor("sum")
			}
		}},
	}
	for name, tt := range tests {
		root := parse(t, `{"list": [`+strings.TrimSuffix(strings.Repeat(tt.element+",", elements), ",")+`]}`)
		tt.read(root) // the bound is reached
		if allocs := testing.AllocsPerRun(1, func() { tt.read(root) }); allocs > elements/10 {
			t.Errorf("%s: %.0f allocations for %d elements past the bound", name, allocs, elements)
		}
		if err := root.Err(); err != nil && len(refusal(t, err).Fields) != 32 {
			t.Errorf("%s: %d fields are named", name, len(refusal(t, err).Fields))
		}
		if n := len(root.Warnings()); name == "warnings" && n != 32 {
			t.Errorf("%d warnings", n)
		}
	}
}

func TestPHPShapes(t *testing.T) {
	root := parse(t, `{"empty": [], "full": [1], "null": null, "holes": {"10": {"n": 3}, "2": {"n": 2}, "0": {"n": 1}}}`)
	for _, name := range []string{"empty", "null", "none"} {
		if o := root.Object(name); o.Exists() || o.Text("x") != "" {
			t.Errorf("%s exists", name)
		}
	}
	if root.Warnings() != nil {
		t.Errorf("warnings %q", root.Warnings())
	}
	if root.Object("full").Exists() || len(root.Warnings()) != 1 {
		t.Errorf("a list is an object, warnings %q", root.Warnings())
	}
	var numbers []int64
	for element := range root.List("holes") {
		n, _ := element.Integer("n")
		numbers = append(numbers, n)
	}
	if diff := cmp.Diff([]int64{1, 2, 3}, numbers); diff != "" {
		t.Errorf("list with holes:\n%s", diff)
	}
}

func TestDates(t *testing.T) {
	utc := time.Date(2026, time.May, 9, 17, 32, 14, 0, time.UTC)
	brasilia := time.FixedZone("", -3*60*60)
	tests := []struct {
		text string
		zone *time.Location
		want time.Time
	}{
		{"2026-05-09T17:32:14Z", nil, utc},
		{"2026-05-09T14:32:14-03:00", nil, utc},
		{"2026-05-09T14:32:14-0300", nil, utc},
		{"2026-05-09T14:32:14-03", nil, utc},
		{"2026-05-09 14:32:14-03:00", nil, utc},
		{"2026-05-09 14:32:14-03:00", time.UTC, utc},
		{"2026-05-09T14:32:14-0300", time.UTC, utc},
		{"2026-05-09T17:32:14.000Z", nil, utc},
		{"2026-05-09T17:32:14Z", brasilia, utc},
		{"2026-05-09 14:32:14", brasilia, utc},
		{"2026-05-09T14:32:14", brasilia, utc},
		{" 2026-05-09 14:32:14 ", brasilia, utc},
		{"2026-05-09 14:32:14", nil, time.Time{}},
		{"2026-05-09", brasilia, time.Time{}},
		{"09/05/2026 14:32:14", brasilia, time.Time{}},
		{"0000-00-00 00:00:00", brasilia, time.Time{}},
		{"0001-01-01T00:00:00Z", nil, time.Time{}},
		{"1969-12-31T23:59:59Z", nil, time.Time{}},
		{"1970-01-01T00:00:00Z", nil, time.Time{}},
		{"1969-12-31 21:00:00", brasilia, time.Time{}},
		{"1999-12-31T23:59:59Z", nil, time.Time{}},
		{"2000-01-01T00:00:00Z", nil, time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)},
		{"9999-12-31T23:59:59Z", nil, time.Time{}},
		{"2026-02-30T00:00:00Z", nil, time.Time{}},
	}
	for _, tt := range tests {
		root := parse(t, `{"at": "`+tt.text+`"}`)
		got := root.Date("at", tt.zone)
		if !got.At.Equal(tt.want) || got.At.Location() != time.UTC {
			t.Errorf("%q is %s, want %s", tt.text, got.At, tt.want)
		}
		if bad := tt.want.IsZero(); bad != (got.Text == "") || bad != (len(root.Warnings()) == 1) {
			t.Errorf("%q: text %q, warnings %q", tt.text, got.Text, root.Warnings())
		}
	}
}

// Summer time began in Brazil on 4 November 2018 at 0:00, which was 1:00, and had
// ended on 18 February at 0:00, which was 23:00. Clocks never go back in an hour
// that is left out: it counts from the hour before.
func TestDatesAtTheEdgesOfSummerTime(t *testing.T) {
	zone := brazil.Brasilia()
	for text, want := range map[string]string{
		"2018-11-03 23:59:59":    "2018-11-04T02:59:59Z",
		"2018-11-04 00:00:00":    "2018-11-04T03:00:00Z", // left out
		"2018-11-04 00:30:00":    "2018-11-04T03:30:00Z", // left out
		"2018-11-04 00:30:00.25": "2018-11-04T03:30:00.25Z",
		"2018-11-04 01:00:00":    "2018-11-04T03:00:00Z",
		"2018-02-17 22:59:59":    "2018-02-18T00:59:59Z",
		"2018-02-17 23:30:00":    "2018-02-18T01:30:00Z", // twice; the first
		"2018-02-18 00:00:00":    "2018-02-18T03:00:00Z",
		"2026-11-04 00:30:00":    "2026-11-04T03:30:00Z", // no summer time since 2019
	} {
		got := parse(t, `{"at": "`+text+`"}`).Date("at", zone)
		if s := got.At.Format(time.RFC3339Nano); s != want || got.Text != text {
			t.Errorf("%s is %s, want %s", text, s, want)
		}
	}
}

func TestDetailHoldsNothingPersonal(t *testing.T) {
	for text, kept := range map[string]bool{
		"insufficient funds": true, "51": true, "saldo insuficiente": true, "code 12345": true,
		"ana@example.com": false, "card 411111": false, "cpf 746.000.270-43": false, "a\nb": false, strings.Repeat("word ", 20): false,
	} {
		root := parse(t, `{"reason": "`+strings.ReplaceAll(text, "\n", `\n`)+`"}`)
		got := root.Detail("reason")
		if (got == text) != kept || (root.Warnings() == nil) != kept {
			t.Errorf("%q is kept as %q, warnings %q", text, got, root.Warnings())
		}
	}
}

func TestDecimalFromNumberOrText(t *testing.T) {
	root := parse(t, `{"a": 120.5, "b": "120.50", "c": 120, "d": null, "e": true}`)
	for name, want := range map[string]domain.Amount{
		"a": domain.Minor(12050), "b": domain.Minor(12050), "c": domain.Minor(12000), "d": {}, "e": {}, "none": {},
	} {
		if got := root.Decimal(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := refusal(t, root.Err()).Fields; len(got) != 1 || got["e"] == nil {
		t.Errorf("errors %v", got)
	}
}

func TestPointers(t *testing.T) {
	root := parse(t, `{"order": {"a/b": {"id": 7}}, "id": "1"}`)
	for pointer, want := range map[string]string{"/order/a~1b/id": "7", "/id": "1", "/none/id": "", "/id/id": ""} {
		parent, name := root.At(pointer)
		if got := parent.Text(name); got != want {
			t.Errorf("%s is %q, want %q", pointer, got, want)
		}
	}
	parent, name := root.At("/order/none/id")
	parent.ID(name)
	if got := refusal(t, root.Err()).Fields; got["/order/none/id"] == nil {
		t.Errorf("errors %v", got)
	}
}

func TestParseIsStrict(t *testing.T) {
	for _, body := range []string{``, `[]`, `1`, `{"a":1,"a":1}`, `{} {}`} {
		_, err := fields.Parse([]byte(body))
		if got := refusal(t, err); got.Reason != provider.Malformed || got.Fields != nil || got.Detail == "" {
			t.Errorf("%q: %+v", body, got)
		}
	}
}
