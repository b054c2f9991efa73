package chart

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Chart is what is drawn.
type Chart struct {
	Title string
	Note  string // below the title: what is counted, and by which clock
	// Most is the value of a bar of full length; 0: the greatest of all, or of its
	// section when Apart.
	Most     float64
	Apart    bool
	Sections []Section
}

// Section is bars under one heading.
type Section struct {
	Title string // "": none
	Bars  []Bar
}

// Bar is one number. A value that is negative has no length.
type Bar struct {
	Label string
	Value float64
	Text  string // the number as it is written behind the bar
}

// Lengths in pixels, which are CSS ones.
const (
	width      = 800
	margin     = 16
	rowHeight  = 20
	barHeight  = 14
	headHeight = 28
	charWidth  = 7 // of 12 px sans-serif, generously
	mostChars  = 40
	leastBar   = 80 // room for bars, however long the texts
)

const style = `text{font:12px sans-serif;fill:#222}.t{font-size:16px;font-weight:bold}.n{fill:#666}.h{font-weight:bold}rect{fill:#2a6f97}`

// WriteSVG writes the chart as one SVG document.
func (c *Chart) WriteSVG(w io.Writer) error {
	d := drawing{y: margin}
	labels, texts, most := c.measure()
	d.left = margin + labels*charWidth + 8
	d.room = max(width-margin-d.left-6-texts*charWidth, leastBar)
	d.down(rowHeight)
	d.text("t", margin, c.Title)
	if c.Note != "" {
		d.down(rowHeight)
		d.text("n", margin, c.Note)
	}
	if len(c.Sections) == 0 {
		d.down(headHeight)
		d.text("n", margin, "nothing to count")
	}
	for _, s := range c.Sections {
		d.section(s, c.scale(s, most))
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img">`+"\n", width, d.y+margin)
	fmt.Fprintf(&out, "<title>%s</title>\n<style>%s</style>\n", escape(c.Title), style)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" style="fill:#fff"/>`+"\n", width, d.y+margin)
	out.Write(d.out.Bytes())
	out.WriteString("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

// measure is how many characters labels and texts have at most, and the greatest value.
func (c *Chart) measure() (labels, texts int, most float64) {
	for _, s := range c.Sections {
		for _, b := range s.Bars {
			labels = max(labels, min(utf8.RuneCountInString(b.Label), mostChars))
			texts = max(texts, min(utf8.RuneCountInString(b.Text), mostChars))
			most = max(most, b.Value)
		}
	}
	return labels, texts, most
}

// scale is the value of a bar of full length in s.
func (c *Chart) scale(s Section, most float64) float64 {
	if c.Most > 0 || !c.Apart {
		return max(c.Most, most)
	}
	most = 0
	for _, b := range s.Bars {
		most = max(most, b.Value)
	}
	return most
}

// drawing is a chart at work, from the top down.
type drawing struct {
	out        bytes.Buffer
	y          int // the baseline of the last line
	left, room int // where bars begin, and the length of a full one
}

func (d *drawing) down(by int) { d.y += by }

func (d *drawing) section(s Section, most float64) {
	d.down(headHeight - rowHeight)
	if s.Title != "" {
		d.down(rowHeight)
		d.text("h", margin, s.Title)
	}
	for _, b := range s.Bars {
		d.down(rowHeight)
		length := 0
		if most > 0 && b.Value > 0 {
			length = int(min(b.Value/most, 1)*float64(d.room) + 0.5)
		}
		d.text("", margin, cut(b.Label))
		fmt.Fprintf(&d.out, `<rect x="%d" y="%d" width="%d" height="%d"/>`+"\n", d.left, d.y-barHeight+3, length, barHeight)
		d.text("", d.left+length+6, cut(b.Text))
	}
}

func (d *drawing) text(class string, x int, text string) {
	if class != "" {
		class = fmt.Sprintf(` class="%s"`, class)
	}
	fmt.Fprintf(&d.out, `<text%s x="%d" y="%d">%s</text>`+"\n", class, x, d.y, escape(text))
}

// cut is text with at most mostChars characters.
func cut(text string) string {
	if utf8.RuneCountInString(text) <= mostChars {
		return text
	}
	return string([]rune(text)[:mostChars-1]) + "…"
}

// escape also takes out what no XML document may have.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes all
	return b.String()
}
