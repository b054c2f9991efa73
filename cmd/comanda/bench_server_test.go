package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestClientsKeepTheirConnections posts in measurement after measurement: connections are
// kept, but for those of fewer clients, and for what the server may have ended meanwhile.
func TestClientsKeepTheirConnections(t *testing.T) {
	var made atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	srv.Start()
	defer srv.Close()
	s := &benchServer{addr: addresses{HTTP: strings.TrimPrefix(srv.URL, "http://")}}
	defer s.disconnect(0)
	at := time.Date(2026, time.May, 9, 12, 0, 0, 0, time.UTC)
	for i, measurement := range []struct {
		after   time.Duration
		clients int
		made    int32
	}{{0, 2, 2}, {idleMost, 2, 2}, {idleMost, 1, 2}, {idleMost, 2, 3}, {idleMost + 1, 2, 5}} {
		at = at.Add(measurement.after)
		if i == 4 {
			srv.CloseClientConnections()
		}
		for _, p := range s.connected(t.Context(), at, measurement.clients) {
			if status, _, err := p.Post(t.Context(), nil); status != http.StatusOK || err != nil {
				t.Errorf("measurement %d: %d, %v", i, status, err)
			}
		}
		if got := made.Load(); got != measurement.made {
			t.Errorf("measurement %d: %d connections were made so far, want %d", i, got, measurement.made)
		}
	}
}
