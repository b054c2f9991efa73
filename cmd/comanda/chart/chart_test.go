package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"comanda.internal/cmd/comanda/chart"
)

var update = flag.Bool("update", false, "write the golden file")

func draw(t *testing.T, c chart.Chart) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := c.WriteSVG(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read is every text of an SVG document, and the lengths of its bars. What is not
// XML ends the test.
func read(t *testing.T, svg []byte) (texts []string, bars []int) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts, bars
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
			if attr := func(a xml.Attr) bool { return a.Name.Local == "x" }; e.Name.Local == "rect" && slices.ContainsFunc(e.Attr, attr) {
				at := slices.IndexFunc(e.Attr, func(a xml.Attr) bool { return a.Name.Local == "width" })
				n, err := strconv.Atoi(e.Attr[at].Value)
				if err != nil {
					t.Fatal(err)
				}
				bars = append(bars, n)
			}
		case xml.CharData:
			if inText {
				texts = append(texts, string(e))
			}
		case xml.EndElement:
			inText = false
		}
	}
}

var full = chart.Chart{
	Title: "Funnel", Note: `of <orders> & "charges"`,
	Sections: []chart.Section{
		{Title: "2026-05-09 · loja", Bars: []chart.Bar{
			{Label: "orders", Value: 200, Text: "200 (100 %)"},
			{Label: "approved", Value: 100, Text: "100 (50 %)"},
			{Label: "refused", Text: "0 (0 %)"},
		}},
		{Title: "</text><script>alert(1)</script>", Bars: []chart.Bar{{Label: "a&b\x00", Value: 50, Text: "50 <1"}}},
	},
}

func TestGolden(t *testing.T) {
	got := draw(t, full)
	if *update {
		if err := os.WriteFile("testdata/full.svg", got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/full.svg")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestThePictureSaysItsNumbers(t *testing.T) {
	svg := draw(t, full)
	texts, bars := read(t, svg)
	want := []string{
		"Funnel", `of <orders> & "charges"`, "2026-05-09 · loja", "orders", "200 (100 %)", "approved", "100 (50 %)", "refused", "0 (0 %)",
		"</text><script>alert(1)</script>", "a&b\uFFFD", "50 <1",
	}
	if diff := cmp.Diff(want, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	if len(bars) != 4 || bars[0] == 0 || bars[1] != (bars[0]+1)/2 || bars[2] != 0 || bars[3] != (bars[0]+2)/4 {
		t.Errorf("bars of 200, 100, 0 and 50: %v", bars)
	}
	if bytes.Contains(svg, []byte("<script")) {
		t.Error("text became an element")
	}
}

func TestScales(t *testing.T) {
	c := chart.Chart{Sections: []chart.Section{{Bars: []chart.Bar{{Value: 4}, {Value: 1}}}, {Bars: []chart.Bar{{Value: 2}, {Value: -1}}}}}
	_, shared := read(t, draw(t, c))
	c.Apart = true
	_, apart := read(t, draw(t, c))
	c.Most = 8
	_, fixed := read(t, draw(t, c))
	whole := shared[0]
	for name, of := range map[string]struct{ want, got []int }{
		"shared": {[]int{whole, whole / 4, whole / 2, 0}, shared},
		"apart":  {[]int{whole, whole / 4, whole, 0}, apart},
		"fixed":  {[]int{whole / 2, whole / 8, whole / 4, 0}, fixed},
	} {
		if !slices.EqualFunc(of.want, of.got, func(a, b int) bool { return a-b <= 1 && b-a <= 1 }) {
			t.Errorf("%s: %v, want %v", name, of.got, of.want)
		}
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	long := strings.Repeat("ção", 100)
	svg := draw(t, chart.Chart{Title: "x", Sections: []chart.Section{{Bars: []chart.Bar{
		{Label: long, Value: math.MaxFloat64, Text: long}, {Label: "less than nothing", Value: -math.MaxFloat64, Text: "-1"},
	}}}})
	texts, bars := read(t, svg)
	if len(texts) != 5 || len([]rune(texts[1])) != 40 || !strings.HasSuffix(texts[1], "…") || bars[0] < 80 || bars[1] != 0 {
		t.Errorf("texts %q, bars %v", texts, bars)
	}
	if texts, bars := read(t, draw(t, chart.Chart{Title: "x"})); len(bars) != 0 || !slices.Contains(texts, "nothing to count") {
		t.Errorf("of nothing: %q, %v", texts, bars)
	}
}
