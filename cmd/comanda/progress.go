package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// progress tells how far something is: a bar that rewrites its line on a terminal,
// elsewhere a plain line now and then.
type progress struct {
	out      io.Writer
	doing    string // what, as "verifying"
	terminal bool
	now      func() time.Time

	began, shown time.Time
	events       uint64 // the last that was told of
}

const (
	barWidth     = 30
	redrawEvery  = 100 * time.Millisecond
	plainEvery   = 5 * time.Second
	eraseTheLine = "\r\033[K"
)

// newProgress writes to out, which is a terminal or is not.
func newProgress(out *stdio) *progress {
	p := &progress{out: out.err, doing: "verifying", now: out.now, began: out.now()}
	if f, ok := out.err.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	p.shown = p.began
	return p
}

// show tells m; nil is no news.
func (p *progress) show(m *comandav1.VerifyProgress) {
	if m == nil {
		return
	}
	if m.GetEvents() < p.events { // they are read again
		p.began = p.now()
	}
	p.events = m.GetEvents()
	if now := p.now(); p.due(now) {
		p.tell(now, m.GetEvents(), m.GetTotal(), p.words(m, now))
	}
}

// due reports whether it is time to tell something again.
func (p *progress) due(now time.Time) bool {
	every := plainEvery
	if p.terminal {
		every = redrawEvery
	}
	return now.Sub(p.shown) >= every
}

// tell shows the bar of so many of all events, and text.
func (p *progress) tell(now time.Time, events, total uint64, text string) {
	p.shown = now
	if p.terminal {
		_, _ = fmt.Fprintf(p.out, "%s%s %s %s", eraseTheLine, p.doing, bar(events, total), text)
		return
	}
	_, _ = fmt.Fprintf(p.out, "%s: %s\n", p.doing, text)
}

// count shows text where nobody knows how much there is.
func (p *progress) count(now time.Time, text string) {
	p.shown = now
	if p.terminal {
		text = eraseTheLine + p.doing + " " + text
	} else {
		text = p.doing + ": " + text + "\n"
	}
	_, _ = io.WriteString(p.out, text)
}

// done leaves a terminal's line empty.
func (p *progress) done() {
	if p.terminal {
		_, _ = io.WriteString(p.out, eraseTheLine)
	}
}

// words are the share, the counts, the rate since the beginning, and how long the
// rest takes at that rate.
func (p *progress) words(m *comandav1.VerifyProgress, now time.Time) string {
	events, total := m.GetEvents(), m.GetTotal()
	text := fmt.Sprintf("%d %%, %d of %d events", percent(events, total), events, total)
	seconds := now.Sub(p.began).Seconds()
	if events == 0 || seconds <= 0 {
		return text
	}
	rate := float64(events) / seconds
	left := time.Duration(float64(total-min(events, total)) / rate * float64(time.Second))
	return fmt.Sprintf("%s, %.0f/s, %s left", text, rate, left.Round(time.Second))
}

func bar(events, total uint64) string {
	full := int(percent(events, total)) * barWidth / 100 //nolint:gosec // at most 100
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}

func percent(events, total uint64) uint64 {
	if total == 0 {
		return 100
	}
	return min(events, total) * 100 / total
}
