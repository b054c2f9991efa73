package natstest

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"comanda.internal/eventstore/natsnode"
)

// Node starts an embedded server with its data in dir, and stops it with the test.
func Node(tb testing.TB, dir string) *natsnode.Node {
	tb.Helper()
	return start(tb, natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0"})
}

// FastNode is Node without fsync, for tests of many events that crash nothing.
func FastNode(tb testing.TB, dir string) *natsnode.Node {
	tb.Helper()
	return start(tb, natsnode.Config{DataDir: dir, Listen: "127.0.0.1:0", UnsafeNoFsync: true})
}

// Client is a node that connects to addr, a host:port, with the credentials in dir.
func Client(tb testing.TB, addr, dir string) *natsnode.Node {
	tb.Helper()
	return start(tb, natsnode.Config{URL: "nats://" + addr, CredsFile: filepath.Join(dir, natsnode.CoreCredentials)})
}

// Open is a client of a server without accounts, as those of [Cluster].
func Open(tb testing.TB, addr string) *natsnode.Node {
	tb.Helper()
	return start(tb, natsnode.Config{URL: "nats://" + addr})
}

func start(tb testing.TB, cfg natsnode.Config) *natsnode.Node {
	tb.Helper()
	node, err := natsnode.Start(tb.Context(), cfg)
	if err != nil {
		tb.Fatalf("start a nats node: %v", err)
	}
	tb.Cleanup(func() {
		if err := node.Close(); err != nil {
			tb.Errorf("close the nats node: %v", err)
		}
	})
	return node
}

// Cluster starts three servers with replicated JetStream and returns the
// addresses of their clients once they have a leader. They stop with the test.
func Cluster(tb testing.TB) []string {
	tb.Helper()
	const size = 3
	routes := make([]*url.URL, size)
	ports := make([]int, size)
	for i := range routes {
		ports[i] = freePort(tb)
		routes[i] = &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])}
	}
	servers := make([]*server.Server, size)
	addrs := make([]string, size)
	for i := range servers {
		opts := &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: tb.TempDir(), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "comanda", Host: "127.0.0.1", Port: ports[i]},
			Routes:  routes,
		}
		s, err := server.NewServer(opts)
		if err != nil {
			tb.Fatalf("make server %d: %v", i, err)
		}
		s.Start()
		tb.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		servers[i] = s
	}
	for i, s := range servers {
		if !s.ReadyForConnections(20 * time.Second) {
			tb.Fatalf("server %d does not start", i)
		}
		addrs[i] = s.Addr().String()
	}
	awaitLeader(tb, servers)
	return addrs
}

// awaitLeader waits until every server knows the leader and is current with it.
func awaitLeader(tb testing.TB, servers []*server.Server) {
	tb.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		leaders, current := 0, 0
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				leaders++
			}
			if s.JetStreamIsCurrent() {
				current++
			}
		}
		if leaders == 1 && current == len(servers) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatal("the cluster finds no leader")
		}
	}
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		tb.Fatal("no TCP address")
	}
	return addr.Port
}
