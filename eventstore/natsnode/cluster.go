package natsnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"comanda.internal/domain"
)

// ClusterConfig says which cluster. Dir is required.
type ClusterConfig struct {
	Dir string // each server has a directory below it
	// UnsafeNoFsync is as in [Config].
	UnsafeNoFsync bool
}

// Cluster is three servers with replicated JetStream in this process, without
// accounts: for tests and measurements, which have no three machines. Close ends it.
type Cluster struct {
	servers []*server.Server
	addrs   []string
}

const (
	clusterSize  = 3
	clusterStart = 30 * time.Second
)

// StartCluster starts the servers and returns when they have a leader.
func StartCluster(ctx context.Context, cfg ClusterConfig) (*Cluster, error) {
	routes := make([]*url.URL, clusterSize)
	ports := make([]int, clusterSize)
	for i := range routes {
		var err error
		if ports[i], err = freePort(ctx); err != nil {
			return nil, err
		}
		routes[i] = &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[i])}
	}
	c := &Cluster{}
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: filepath.Join(cfg.Dir, fmt.Sprintf("n%d", i)), SyncAlways: !cfg.UnsafeNoFsync, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "comanda", Host: "127.0.0.1", Port: port}, Routes: routes,
		})
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("make server %d: %w", i, err)
		}
		s.Start()
		c.servers = append(c.servers, s)
	}
	if err := c.await(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// await waits until every server knows the leader and is current with it.
func (c *Cluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, clusterStart)
	defer cancel()
	for i, s := range c.servers {
		if !s.ReadyForConnections(clusterStart) {
			return domain.Errorf(domain.Unavailable, "server %d of the cluster does not start", i)
		}
		c.addrs = append(c.addrs, s.Addr().String())
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !c.settled() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return domain.Errorf(domain.Unavailable, "the cluster finds no leader: %w", ctx.Err())
		}
	}
	return nil
}

func (c *Cluster) settled() bool {
	leaders, current := 0, 0
	for _, s := range c.servers {
		if s.JetStreamIsLeader() {
			leaders++
		}
		if s.JetStreamIsCurrent() {
			current++
		}
	}
	return leaders == 1 && current == len(c.servers)
}

// Addrs are where clients connect, by server.
func (c *Cluster) Addrs() []string { return c.addrs }

// URL is for a client that may go to any of the servers.
func (c *Cluster) URL() string { return "nats://" + strings.Join(c.addrs, ",nats://") }

// Close stops the servers.
func (c *Cluster) Close() {
	for _, s := range c.servers {
		s.Shutdown()
		s.WaitForShutdown()
	}
}

func freePort(ctx context.Context) (port int, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, domain.Errorf(domain.Internal, "find a free port: no TCP address")
	}
	return addr.Port, nil
}
