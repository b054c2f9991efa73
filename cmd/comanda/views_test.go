package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

func TestBuildText(t *testing.T) {
	began := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	build := func(change func(*comandav1.ViewBuild)) *comandav1.ViewBuild {
		b := &comandav1.ViewBuild{Number: 7, BeganAt: timestamppb.New(began), Total: 1000, Read: 1000, Folded: 200, FileBytes: 64}
		change(b)
		return b
	}
	const head = "7 began 2026-05-09T12:00:00Z, "
	for want, b := range map[string]*comandav1.ViewBuild{
		"": nil,
		head + "60 % of 1000 events, 300/s, 64 bytes, position none": build(func(*comandav1.ViewBuild) {}),
		head + "waits for 'comanda views promote', 64 bytes, position 0:9": build(func(b *comandav1.ViewBuild) {
			b.CaughtUp, b.Position = true, "0:9"
		}),
		head + "is being promoted, 64 bytes, position 0:9": build(func(b *comandav1.ViewBuild) {
			b.CaughtUp, b.Promoting, b.Position = true, true, "0:9"
		}),
		head + "failed: disk full": build(func(b *comandav1.ViewBuild) { b.Outcome, b.Detail = "failed", "disk full" }),
	} {
		if got := buildText(b, began.Add(2*time.Second)); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestResumedText wants no build to be called whole of which nothing can be read.
func TestResumedText(t *testing.T) {
	for want, c := range map[string]*comandav1.CancelledViewBuild{
		"goes on with the cancelled build: 25 % of 1000 events read, 64 bytes":                 {Total: 1000, Read: 250, FileBytes: 64},
		"goes on with the cancelled build: whole, 64 bytes":                                    {FileBytes: 64},
		"begins anew; of the cancelled build: what it has read cannot be read again, 64 bytes": {FileBytes: 64, Unreadable: true},
	} {
		if got := resumedText(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		var out bytes.Buffer
		if err := printStatus(&stdio{out: &out, now: time.Now}, &comandav1.GetViewStatusResponse{Cancelled: c}); err != nil {
			t.Fatal(err)
		}
		if anew := strings.Contains(out.String(), "'comanda views rebuild' begins anew"); anew != c.GetUnreadable() || !strings.Contains(out.String(), cancelledText(c)) {
			t.Errorf("status: %s", &out)
		}
	}
}

// TestEndedText wants nothing but a cancelled build to be called one.
func TestEndedText(t *testing.T) {
	began := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	for outcome, want := range map[string]struct {
		text string
		kind domain.ErrorKind
		says string
	}{
		"cancelled": {text: "build 7 is cancelled"},
		"promoted":  {kind: domain.Refused, says: "build 7 was promoted before it could be cancelled"},
		"failed":    {kind: domain.Internal, says: "build 7 began 2026-05-09T12:00:00Z, failed: disk full"},
		"suspended": {kind: domain.Internal, says: "suspended"},
	} {
		b := &comandav1.ViewBuild{Number: 7, BeganAt: timestamppb.New(began), Outcome: outcome}
		if outcome == "failed" {
			b.Detail = "disk full"
		}
		text, err := endedText(b, 7, began)
		if text != want.text || (err == nil) != (want.says == "") {
			t.Errorf("%s: %q, %v", outcome, text, err)
		}
		if err != nil && (domain.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.says)) {
			t.Errorf("%s: %v", outcome, err)
		}
	}
	for _, b := range []*comandav1.ViewBuild{nil, {Number: 8}} {
		if text, err := endedText(b, 7, began); domain.KindOf(err) != domain.NotFound {
			t.Errorf("another build: %q, %v", text, err)
		}
	}
}
