package natstest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// childEnv has what a child process serves.
const childEnv = "COMANDA_NATSTEST_CHILD"

// child is one server of [Processes].
type child struct {
	Name, Dir         string
	Port, ClusterPort int
	Routes            []string
}

// Main turns the test binary into a server when [Processes] started it as one. It
// is called first in TestMain, and returns in every other case.
func Main() {
	text := os.Getenv(childEnv)
	if text == "" {
		return
	}
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		panic(err) //nolint:forbidigo // a child has nobody to return to
	}
	opts := &server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port,
		JetStream: true, StoreDir: c.Dir, SyncAlways: true, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "comanda", Host: "127.0.0.1", Port: c.ClusterPort},
	}
	for _, route := range c.Routes {
		opts.Routes = append(opts.Routes, &url.URL{Scheme: "nats", Host: route})
	}
	s, err := server.NewServer(opts)
	if err != nil {
		panic(err) //nolint:forbidigo // as above
	}
	s.Start()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	s.Shutdown()
	os.Exit(0) //nolint:forbidigo // the tests are not for this process
}

// ProcessCluster is three servers with replicated JetStream, each in a process
// of its own, so that one can be killed.
type ProcessCluster struct {
	// Addrs are where clients connect, by server.
	Addrs    []string
	children map[string]*exec.Cmd
}

// Processes starts them and does not wait until they have a leader. The test's
// package calls [Main] in its TestMain. They end with the test.
func Processes(tb testing.TB) *ProcessCluster {
	tb.Helper()
	const size = 3
	children := make([]child, size)
	var routes []string
	for i := range children {
		children[i] = child{Name: fmt.Sprintf("n%d", i), Dir: tb.TempDir(), Port: freePort(tb), ClusterPort: freePort(tb)}
		routes = append(routes, fmt.Sprintf("127.0.0.1:%d", children[i].ClusterPort))
	}
	c := &ProcessCluster{children: make(map[string]*exec.Cmd)}
	for i := range children {
		children[i].Routes = routes
		text, err := json.Marshal(&children[i])
		if err != nil {
			tb.Fatal(err)
		}
		cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // this binary; it ends with the test
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
		c.children[children[i].Name] = cmd
		c.Addrs = append(c.Addrs, fmt.Sprintf("127.0.0.1:%d", children[i].Port))
		tb.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
	return c
}

// From is the address of the server i and then of the others, as a client takes
// them that may go to another when its own is gone.
func (c *ProcessCluster) From(i int) string {
	return strings.Join(append(append([]string{}, c.Addrs[i:]...), c.Addrs[:i]...), ",nats://")
}

// Kill ends the server of this name with SIGKILL.
func (c *ProcessCluster) Kill(tb testing.TB, name string) {
	tb.Helper()
	cmd := c.children[name]
	if cmd == nil {
		tb.Fatalf("no server %q", name)
	}
	if err := cmd.Process.Kill(); err != nil {
		tb.Fatal(err)
	}
}
