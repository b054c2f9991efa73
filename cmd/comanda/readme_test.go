package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"
)

const readmePath = "../../README.md"

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tourCommands are the commands of the README's blocks marked as the tour.
func tourCommands(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, block := range regexp.MustCompile("(?s)```console tour\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		for line := range strings.Lines(block[1]) {
			command, ok := strings.CutPrefix(line, "$ ./")
			if !ok {
				t.Fatalf("the tour has a line that is no command: %q", line)
			}
			out = append(out, strings.TrimSpace(command))
		}
	}
	return out
}

// TestTour runs every command of the README's tour as its reader would, on a
// server that was started with no configuration, and holds what each prints to
// testdata/script/tour.txt, which names every one of them.
func TestTour(t *testing.T) {
	script, err := os.ReadFile("testdata/script/tour.txt")
	if err != nil {
		t.Fatal(err)
	}
	rest := string(script)
	for _, command := range tourCommands(t) {
		_, after, found := strings.Cut(rest, "exec "+command+"\n")
		if !found {
			t.Errorf("testdata/script/tour.txt does not run, at its place, the README's: %s", command)
			continue
		}
		rest = after
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, Setup: setUpScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"await": awaitServer},
	})
}

// awaitServer is the script's command that waits until the server on a data
// directory, the default one when none is named, is ready.
func awaitServer(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(strings.Join(append(args, "comanda-data")[:1], ""))
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		<-tick.C
		if a, err := readAddresses(dir); err == nil && ready(a) {
			return
		}
	}
	ts.Fatalf("no server is ready on %s", dir)
}

// setUpScript has every server of a script take free ports.
func setUpScript(env *testscript.Env) error {
	for _, name := range []string{"HTTP", "GRPC", "OPS", "NATS_LISTEN"} {
		env.Setenv("COMANDA_"+name, "127.0.0.1:0")
	}
	return nil
}

// TestSectionCommands holds the scripts, which TestTour runs, to the README's
// commands of their sections.
func TestSectionCommands(t *testing.T) {
	for title, path := range map[string]string{
		"The log as a whole":                 "testdata/script/log.txt",
		"Views":                              "testdata/script/views.txt",
		"Rebuilding views":                   "testdata/script/rebuild.txt",
		"Stats":                              "testdata/script/stats.txt",
		"Access":                             "testdata/script/tokens.txt",
		"Export":                             "testdata/script/export.txt",
		"Following the log":                  "testdata/script/subscribe.txt",
		"The checkout, over NATS":            "testdata/script/nats.txt",
		"Orders, for services and operators": "testdata/script/orders.txt",
		"A customer's orders":                "testdata/script/customer.txt",
		"Consumer groups":                    "testdata/script/groups.txt",
	} {
		script, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(readme(t), "\n## "+title+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		commands := regexp.MustCompile(`(?m)^\$ \./(comanda .*)$`).FindAllStringSubmatch(section, -1)
		if len(commands) < 3 {
			t.Fatalf("the README shows the commands %v of %s", commands, title)
		}
		for _, command := range commands {
			if line := "exec " + command[1] + "\n"; !strings.Contains(string(script), "\n"+line) && !strings.Contains(string(script), "\n! "+line) {
				t.Errorf("%s does not run the README's: %s", path, command[1])
			}
		}
	}
}

// TestSetUpCommands holds the README to exactly two commands of set-up.
func TestSetUpCommands(t *testing.T) {
	_, section, _ := strings.Cut(readme(t), "\n## Set up\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var got []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		got = append(got, strings.TrimSpace(block[1]))
	}
	if want := "[go run ./cmd/comanda serve go test ./...]"; fmt.Sprint(got) != want {
		t.Errorf("the README's set-up is %v, want %v", got, want)
	}
}

// TestDefaults keeps the README's table equal to serve's flags.
func TestDefaults(t *testing.T) {
	var c cli
	parser, err := kong.New(&c, kong.DefaultEnvars("COMANDA"), kong.Vars{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("| flag | default | |\n| --- | --- | --- |\n")
	for _, node := range parser.Model.Children {
		if node.Name != "serve" {
			continue
		}
		for _, f := range node.Flags {
			fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, code(f.Default), f.Help)
		}
	}
	if !strings.Contains(readme(t), b.String()) {
		t.Errorf("the README's table of defaults is not this:\n%s", b.String())
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// TestConfigurationExample loads the configuration that the README shows.
func TestConfigurationExample(t *testing.T) {
	_, block, _ := strings.Cut(readme(t), "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("the README shows no configuration")
	}
	dir := t.TempDir()
	for _, secret := range regexp.MustCompile(`/run/secrets/([a-z-]+)`).FindAllStringSubmatch(block, -1) {
		if err := os.WriteFile(filepath.Join(dir, secret[1]), []byte("https://voxuy.example.com/hook\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "comanda.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(block, "/run/secrets", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadConfig(path); err != nil {
		t.Errorf("the README's configuration is refused: %v", err)
	}
}
