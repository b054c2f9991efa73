package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"comanda.internal/eventstore/scrub"
)

// bulky is the number of orders of the damaged logs: with bodies of fatBody bytes
// they fill more than two block files of 8 MiB, which JetStream uses for a stream without limits.
const (
	bulky   = 88
	fatBody = 220 << 10
)

// eager is a configuration whose scrub rests hardly at all.
const eager = sourcesYAML + "scrub: {interval: 20ms, events_per_second: 100000}\n"

// bulkyLog is the data directory of a stopped server with one order for each of
// its events, all of them scrubbed, and their ids by sequence.
func bulkyLog(t *testing.T) (dir string, orders []string) {
	t.Helper()
	dir = t.TempDir()
	s := startServer(t, dir, eager, "--unsafe-no-fsync")
	orders = append(orders, "") // sequences begin at 1
	for n := range bulky {
		body := fixture(t, "aprovei-approved", "VCP1O8SB9GJ", fmt.Sprintf("TOKEN%04d", n))
		body = strings.Replace(body, "{", `{"padding": "`+strings.Repeat("x", fatBody)+`",`, 1)
		orders = append(orders, s.expect("loja-aprovei", body, "applied", "approved").OrderID)
	}
	await(t, "the scrub has proven everything", func() bool { return scrubbed(t, dir) == bulky })
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	s.verify()
	s.damaged = true // by the caller, from now on
	return dir, orders
}

// await polls until holds, for a minute at most.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("in vain: %s", what)
		}
	}
}

// scrubbed is the sequence up to which the only partition was proven.
func scrubbed(t *testing.T, dir string) uint64 {
	t.Helper()
	m, err := scrub.Load(filepath.Join(dir, scrubFile))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Marks) == 0 {
		return 0
	}
	return m.Marks[0].Sequence
}

// block is a file of the only partition's messages.
type block struct {
	path    string
	records []record
}

// record is one message in a block: nats-server, server/filestore.go, writeMsgRecordLocked.
type record struct {
	offset, length int
	sequence       uint64
}

func blocks(t *testing.T, dir string) []block {
	t.Helper()
	var found []block
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" || !strings.Contains(path, "ORDERS-00") {
			return err
		}
		data, err := os.ReadFile(path)
		b := block{path: path}
		for at := 0; err == nil && at < len(data); {
			r := record{offset: at, length: int(binary.LittleEndian.Uint32(data[at:]) &^ (1 << 31)), sequence: binary.LittleEndian.Uint64(data[at+4:])}
			b.records, at = append(b.records, r), at+r.length
		}
		found = append(found, b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(found, func(x, y block) int { return int(x.records[0].sequence) - int(y.records[0].sequence) })
	if len(found) < 3 {
		t.Fatalf("the log has %d blocks, the test wants 3", len(found))
	}
	return found
}

// flip changes one bit in the middle of the n-th message of b.
func (b block) flip(t *testing.T, n int) (sequence uint64) {
	t.Helper()
	data, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	data[b.records[n].offset+b.records[n].length/2] ^= 1
	if err := os.WriteFile(b.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return b.records[n].sequence
}

func (b block) first() uint64 { return b.records[0].sequence }
func (b block) last() uint64  { return b.records[len(b.records)-1].sequence }

// killed leaves the log as a kill does, without the index that a stop writes:
// the server then reads every block anew.
func killed(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "index.db" {
			return os.Remove(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func forget(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// victim is a data directory to spoil, and its blocks.
type victim struct {
	t      *testing.T
	dir    string
	blocks []block
}

// TestDamageIsFoundAndNamed spoils the files of a stopped server, in each way
// on a copy of its own.
func TestDamageIsFoundAndNamed(t *testing.T) {
	sound, orders := bulkyLog(t)
	for name, c := range map[string]struct {
		// damage spoils the victim and answers the sequences that are lost.
		damage func(victim) (first, last uint64)
		rule   string
		refuse string // what serve says; "" when it cannot know
		known  bool   // the views still name the orders
	}{
		"a flipped bit": {
			func(v victim) (uint64, uint64) {
				sequence := v.blocks[1].flip(v.t, 3)
				return sequence, sequence
			}, "unreadable", "", true,
		},
		"a flipped bit in the last event": {
			func(v victim) (uint64, uint64) {
				end := v.blocks[len(v.blocks)-1]
				sequence := end.flip(v.t, len(end.records)-1)
				return sequence, sequence
			}, "unreadable", "the log went backwards", true,
		},
		"a flipped bit, and a kill": {
			func(v victim) (uint64, uint64) {
				killed(v.t, v.dir)
				return v.blocks[1].flip(v.t, 3), v.blocks[1].last()
			}, "hole", "the log is damaged", true,
		},
		"a flipped bit in the last block, and a kill": {
			func(v victim) (uint64, uint64) {
				killed(v.t, v.dir)
				end := v.blocks[len(v.blocks)-1]
				return end.flip(v.t, 2), end.last()
			}, "backwards", "the log went backwards", true,
		},
		"the same, and the views are gone": {
			func(v victim) (uint64, uint64) {
				killed(v.t, v.dir)
				forget(v.t, v.dir, viewsFile)
				end := v.blocks[len(v.blocks)-1]
				return end.flip(v.t, 2), end.last()
			}, "backwards", "the log went backwards", false,
		},
		"a truncated block": {
			func(v victim) (uint64, uint64) {
				half := v.blocks[1].records[len(v.blocks[1].records)/2]
				if err := os.Truncate(v.blocks[1].path, int64(half.offset+half.length/2)); err != nil {
					v.t.Fatal(err)
				}
				return half.sequence, v.blocks[1].last()
			}, "hole", "the log is damaged", true,
		},
		"the first block removed": {
			func(v victim) (uint64, uint64) {
				forget(v.t, "", v.blocks[0].path)
				return v.blocks[0].first(), v.blocks[0].last()
			}, "hole", "the log is damaged", true,
		},
		"a block removed": {
			func(v victim) (uint64, uint64) {
				forget(v.t, "", v.blocks[1].path)
				return v.blocks[1].first(), v.blocks[1].last()
			}, "hole", "the log is damaged", true,
		},
		"the last block removed, and a kill": {
			func(v victim) (uint64, uint64) {
				killed(v.t, v.dir)
				end := v.blocks[len(v.blocks)-1]
				forget(v.t, "", end.path)
				return end.first(), end.last()
			}, "backwards", "the log went backwards", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyData(t, dir, sound)
			first, last := c.damage(victim{t, dir, blocks(t, dir)})
			if c.refuse != "" {
				wantRefused(t, dir, c.refuse)
			}
			var affected []string
			if c.known {
				affected = orders[first : last+1]
			}
			wantNamed(t, dir, c.rule, first, last, affected)
		})
	}
	t.Run("the scrub comes around to it", func(t *testing.T) { scrubFindsDamage(t, sound, orders) })
}

// copyData keeps keys and credentials private, which [os.CopyFS] does not.
func copyData(t *testing.T, to, from string) {
	t.Helper()
	err := os.CopyFS(to, os.DirFS(from))
	if err == nil {
		err = filepath.WalkDir(to, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return os.Chmod(path, 0o600)
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantRefused wants serve to end before it takes anything in.
func wantRefused(t *testing.T, dir, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out logBuffer
	code := run(ctx, []string{
		"serve", "--data-dir", dir, "--config", filepath.Join(dir, "config.yaml"), "--unsafe-no-fsync",
		"--http", "127.0.0.1:0", "--grpc", "none", "--ops", "none", "--nats-listen", "none",
	}, &out, &out)
	if code != exitFailed || !strings.Contains(out.String(), why) || strings.Contains(out.String(), readyLine) {
		t.Errorf("serve ends with %d, want %d and %q; it says:\n%s", code, exitFailed, why, out.String())
	}
}

// named is a problem of verify -o json.
type named struct {
	Rule     string   `json:"rule"`
	Sequence uint64   `json:"sequence"`
	Through  uint64   `json:"through_sequence"`
	Orders   []string `json:"affected_order_ids"`
	Count    int      `json:"affected_orders"`
}

// wantNamed wants verify to name what is lost, and no other sequences.
func wantNamed(t *testing.T, dir, rule string, first, last uint64, orders []string) {
	t.Helper()
	code, out, errOut := command(t, "verify", "-o", "json", "--data-dir", dir)
	var report struct {
		Problems []named `json:"problems"`
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || code != exitFailed {
		t.Fatalf("verify ends with %d, %v; it says:\n%s%s", code, err, out, errOut)
	}
	found, following := false, false
	for _, p := range report.Problems {
		if following = following || p.Through == 0; following && p.Through != 0 {
			t.Errorf("%s %d to %d comes after what follows from it", p.Rule, p.Sequence, p.Through)
		}
		if p.Through != 0 && (p.Sequence < first || p.Through > last) {
			t.Errorf("lost by %s are %d to %d; only %d to %d should be", p.Rule, p.Sequence, p.Through, first, last)
		}
		if p.Rule == rule && p.Sequence == first && p.Through == last {
			found = found || slices.Equal(p.Orders, orders) && p.Count == len(orders)
		}
	}
	if !found {
		t.Errorf("verify does not name %s %d to %d with the orders %v; it says:\n%s", rule, first, last, orders, out)
	}
}

// scrubFindsDamage flips a bit of a copy of sound where only a reader of it can
// notice, and lets the scrub of a running server come around to it again.
func scrubFindsDamage(t *testing.T, sound string, orders []string) {
	t.Helper()
	dir := t.TempDir()
	copyData(t, dir, sound)
	sequence := blocks(t, dir)[1].flip(t, 5)
	s := startServer(t, dir, strings.Replace(eager, "20ms", "20ms, again: 1ms", 1), "--unsafe-no-fsync")
	s.damaged = true
	want := fmt.Sprintf("unreadable: partition 0 sequence %d ", sequence)
	var text string
	await(t, "a warning of the scrub", func() bool {
		text = get(t, "http://"+s.addr.Ops+"/readyz?verbose")
		return strings.Contains(text, "[!] scrub: ")
	})
	if !strings.Contains(text, want) || !strings.Contains(text, "orders: "+orders[sequence]) || !strings.HasSuffix(text, "ok\n") {
		t.Errorf("readyz says %s, want a warning with %s and %s", text, want, orders[sequence])
	}
	if metrics := get(t, "http://"+s.addr.Ops+"/metrics"); !strings.Contains(metrics, "\ncomanda_scrub_known_problems 1\n") ||
		!strings.Contains(metrics, fmt.Sprintf("\ncomanda_scrub_verified_sequence{partition=\"0\"} %d\n", bulky)) {
		t.Errorf("the metrics do not say so:\n%s", metrics)
	}
	if log := s.output.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, want) {
		t.Errorf("the log does not say so:\n%s", log)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	again := startServer(t, dir, sourcesYAML, "--unsafe-no-fsync") // rests until its next round
	again.damaged = true
	if text := get(t, "http://"+again.addr.Ops+"/readyz?verbose"); !strings.Contains(text, "[!] scrub: ") || !strings.Contains(text, want) {
		t.Errorf("after a restart readyz says %s", text)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimLeft(text, "\n"))
}

// TestVerifySince proves what came after a position, through the server and
// without it, and finds a change in a history that began before it.
func TestVerifySince(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	s.expect("loja-aprovei", fixture(t, "aprovei-pending"), "applied", "pending")
	since := s.expect("loja-aprovei", fixture(t, "aprovei-pending", "VCP1O8SB9GJ", "OTHER"), "applied", "pending").Position
	s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved")
	check := func() {
		t.Helper()
		code, out, errOut := command(t, "verify", "--since", since, "--data-dir", dir)
		if code != exitOK || !strings.Contains(out, "verified 1 events of 1 orders, 1 view rows: 0 problems\nread up to position ") {
			t.Errorf("verify --since ends with %d and says %s%s", code, out, errOut)
		}
	}
	check()
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	check()
	for _, bad := range []string{"?", "AQBj"} { // none, and 99 of partition 0
		if code, out, errOut := command(t, "verify", "--since", bad, "--data-dir", dir); code != exitUsage {
			t.Errorf("verify --since %s ends with %d and says %s%s", bad, code, out, errOut)
		}
	}
}
