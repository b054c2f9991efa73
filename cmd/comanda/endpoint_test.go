package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// told is what an endpoint was told of: the event's type and revisions.
type told struct {
	id, kind           string
	revision, previous uint64
}

// receiver is an endpoint of a customer's. It checks every signature and answers
// with the codes it was given, then 200.
type receiver struct {
	*httptest.Server

	events chan told
}

const (
	endpointKey    = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	endpointSecret = "whsec_" + endpointKey
)

func startReceiver(t *testing.T) *receiver {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(endpointKey)
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{events: make(chan told, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp"), body)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); q.Header.Get("webhook-signature") != want {
			t.Errorf("the signature is %s, want %s", q.Header.Get("webhook-signature"), want)
		}
		var event struct {
			Type string `json:"type"`
			Data struct {
				Revision         uint64 `json:"revision"`
				PreviousRevision uint64 `json:"previous_revision"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &event); err != nil {
			t.Errorf("%v in %s", err, body)
		}
		if strings.Contains(string(body), "74600027043") {
			t.Error("a notification holds a CPF")
		}
		r.events <- told{q.Header.Get("webhook-id"), event.Type, event.Data.Revision, event.Data.PreviousRevision}
	}))
	t.Cleanup(r.Close)
	return r
}

// next are the next n events, without their ids.
func (r *receiver) next(t *testing.T, n int) []told {
	t.Helper()
	var out []told
	for range n {
		select {
		case e := <-r.events:
			out = append(out, e)
		case <-time.After(20 * time.Second):
			t.Fatalf("only %d of %d events came", len(out), n)
		}
	}
	return out
}

func endpointYAML(url string) string {
	return sourcesYAML + fmt.Sprintf(`
endpoints:
  - {id: erp, tenant: loja, kind: http, url: %q, secrets: [%s], events: ["order.*"], allow_private: true}
`, url, endpointSecret)
}

// TestEachTransitionIsToldOnceAndInOrder sends three transitions and their
// repeats. A fourth, of another order, comes after: whatever else had been sent
// for the first would have come before it.
func TestEachTransitionIsToldOnceAndInOrder(t *testing.T) {
	r := startReceiver(t)
	dir := t.TempDir()
	s := startServer(t, dir, endpointYAML(r.URL))
	for range 2 {
		for _, name := range []string{"pending", "approved", "refunded"} {
			s.post("loja-aprovei", fixture(t, "aprovei-"+name))
		}
	}
	got := r.next(t, 3)
	s.post("loja-aprovei", fixture(t, "aprovei-pending", "VCP1O8SB9GJ", "OTHER"))
	got = append(got, r.next(t, 1)...)
	want := []told{
		{kind: "order.pending", revision: 1},
		{kind: "order.approved", revision: 2, previous: 1},
		{kind: "order.refunded", revision: 3, previous: 2},
		{kind: "order.pending", revision: 1},
	}
	ids := map[string]bool{}
	for i := range got {
		ids[got[i].id] = true
		got[i].id = ""
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(told{})); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if len(ids) != len(want) {
		t.Errorf("%d ids for %d events", len(ids), len(want))
	}

	// A restart, views that are built anew, promoted and rolled back tell nothing again.
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	if err := os.Remove(filepath.Join(dir, viewsFile)); err != nil {
		t.Fatal(err)
	}
	s = startServer(t, dir, endpointYAML(r.URL))
	must(t, "views", "rebuild", "--data-dir", dir)
	must(t, "views", "rollback", "--data-dir", dir)
	a := s.post("loja-aprovei", fixture(t, "aprovei-approved", "VCP1O8SB9GJ", "OTHER"))
	e := r.next(t, 1)[0]
	if e.id != "" && e.revision != a.Revision || e.kind != "order.approved" || e.previous != 1 {
		t.Errorf("after a restart the endpoint is told %+v", e)
	}
}
