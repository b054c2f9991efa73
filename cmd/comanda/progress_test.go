package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestProgress tells of 1,000 events, a hundred at a time and a second apart.
func TestProgress(t *testing.T) {
	for name, c := range map[string]struct {
		terminal    bool
		first, last string
	}{
		"a terminal": {
			true,
			"\r\033[Kverifying [###...........................] 10 %, 100 of 1000 events, 100/s, 9s left\r",
			"\r\033[Kverifying [##############################] 100 %, 1000 of 1000 events, 100/s, 0s left\r\033[K",
		},
		"plain": {
			false,
			"verifying: 50 %, 500 of 1000 events, 100/s, 5s left\n",
			"left\nverifying: 100 %, 1000 of 1000 events, 100/s, 0s left\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(0, 0)
			var out bytes.Buffer
			p := newProgress(&stdio{err: &out, now: func() time.Time { return now }})
			p.terminal = c.terminal
			p.show(nil)
			p.show(&comandav1.VerifyProgress{Total: 1000}) // too soon to say anything
			for events := uint64(100); events <= 1000; events += 100 {
				now = now.Add(time.Second)
				p.show(&comandav1.VerifyProgress{Events: events, Total: 1000})
			}
			p.done()
			if got := out.String(); !strings.HasPrefix(got, c.first) || !strings.HasSuffix(got, c.last) {
				t.Errorf("%q, want %q … %q", got, c.first, c.last)
			}
		})
	}
}

func TestProgressOfNothing(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&stdio{err: &out, now: func() time.Time { return now }})
	now = now.Add(time.Minute)
	p.show(&comandav1.VerifyProgress{})
	if got, want := out.String(), "verifying: 100 %, 0 of 0 events\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Events that are read again are counted from then.
func TestProgressBeginsAgain(t *testing.T) {
	now := time.Unix(0, 0)
	var out bytes.Buffer
	p := newProgress(&stdio{err: &out, now: func() time.Time { return now }})
	for _, events := range []uint64{1000, 0, 100} {
		now = now.Add(10 * time.Second)
		p.show(&comandav1.VerifyProgress{Events: events, Total: 1000})
	}
	if want := "verifying: 10 %, 100 of 1000 events, 10/s, 1m30s left\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("%q, want its end to be %q", out.String(), want)
	}
}
