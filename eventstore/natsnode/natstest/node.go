package natstest

import (
	"net"
	"path/filepath"
	"testing"

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
	cluster, err := natsnode.StartCluster(tb.Context(), natsnode.ClusterConfig{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatalf("start a cluster: %v", err)
	}
	tb.Cleanup(cluster.Close)
	return cluster.Addrs()
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
