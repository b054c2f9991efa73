package main

import (
	"strings"
	"testing"
)

// TestBenchIngestMeasuresNewOrders measures one server twice: the second time must
// be the same work as the first, and not repeats of its orders. The figures are no
// part of the test.
func TestBenchIngestMeasuresNewOrders(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir)
	for range 2 {
		out := must(t, "bench", "ingest", "--at", dir, "--dir", t.TempDir(),
			"--clients", "1,8", "--rounds", "2", "--duration", "100ms", "--raw-streams", "1,2")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if len(lines) != 3 || !strings.Contains(lines[0], "webhooks/s") || !strings.Contains(lines[0], "raw/s") {
			t.Fatalf("it prints\n%s", out)
		}
		for i, clients := range []string{"1", "8"} {
			row := strings.Fields(lines[i+1])
			if len(row) != 12 || row[0] != clients {
				t.Fatalf("the row of %s clients is %q", clients, row)
			}
			for _, column := range []int{1, 5, 7} { // webhooks/s, raw/s, ratio
				if strings.Trim(row[column], "0.") == "" {
					t.Errorf("%s clients: column %d is %s", clients, column, row[column])
				}
			}
			if row[4] != "0" {
				t.Errorf("%s clients: failed are %s", clients, row[4])
			}
		}
	}
}

// TestBenchIngestOverNATS measures each way in, beside HTTP's.
func TestBenchIngestOverNATS(t *testing.T) {
	dir := t.TempDir()
	startDemo(t, dir)
	out := must(t, "bench", "ingest", "--at", dir, "--dir", t.TempDir(), "--over", "record,http,intake",
		"--clients", "8", "--rounds", "1", "--duration", "100ms", "--raw-streams", "1")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || !strings.HasSuffix(strings.TrimSpace(lines[0]), "to HTTP") {
		t.Fatalf("it prints\n%s", out)
	}
	for i, over := range []string{"record", "http", "intake"} {
		row := strings.Fields(lines[i+1])
		if len(row) != 14 || row[0] != over || row[5] != "0" || strings.Trim(row[2], "0") == "" {
			t.Errorf("the row of %s is %q", over, row)
		}
		if ratio := row[len(row)-1]; (ratio == "-") != (over == "http") {
			t.Errorf("%s is to HTTP as %s", over, ratio)
		}
	}
}
