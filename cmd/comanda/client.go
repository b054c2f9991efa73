package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"comanda.internal/domain"
)

// clientFlags are what every command takes that speaks to a running server.
type clientFlags struct {
	Server  string        `help:"gRPC address of the server. Default: the one that runs on --data-dir." placeholder:"HOST:PORT"`
	DataDir string        `help:"Data directory of a local server, to find its address." default:"./comanda-data" type:"path"`
	Timeout time.Duration `help:"Give up after this long (0: never; live tails have no limit)." default:"30s"`

	credentialFlags
}

// addressesFile is where serve writes what it bound to.
const addressesFile = "addresses.json"

// addresses are what a server listens on; "" is a closed listener.
type addresses struct {
	HTTP string `json:"http"`
	GRPC string `json:"grpc"`
	Ops  string `json:"ops"`
	NATS string `json:"nats"`
}

// readAddresses reads what the server on dataDir bound to. An error of kind
// Unavailable: none runs there.
func readAddresses(dataDir string) (addresses, error) {
	var a addresses
	path := filepath.Join(dataDir, addressesFile)
	text, err := os.ReadFile(path) //nolint:gosec // the caller's own data directory
	if errors.Is(err, fs.ErrNotExist) {
		return a, domain.Errorf(domain.Unavailable,
			"no server runs on %s: start one with 'comanda serve --data-dir %s', or name another with --server", dataDir, dataDir)
	}
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("read %s: %w", path, err)
	}
	return a, nil
}

// writeAddresses leaves a for client commands, whole or not at all.
func writeAddresses(dataDir string, a addresses) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	path := filepath.Join(dataDir, addressesFile)
	if err := os.WriteFile(path+".tmp", append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// with connects to the server that f names, for as long as use runs.
func (f *clientFlags) with(use func(conn *grpc.ClientConn) error) error {
	conn, err := f.dial()
	if err != nil {
		return err
	}
	err = use(conn)
	if closing := conn.Close(); err == nil {
		err = closing
	}
	return err
}

// dial connects to the server that f names. The caller closes the connection.
func (f *clientFlags) dial() (*grpc.ClientConn, error) {
	target := f.Server
	if target == "" {
		a, err := readAddresses(f.DataDir)
		if err != nil {
			return nil, err
		}
		if a.GRPC == "" {
			return nil, domain.Errorf(domain.Unavailable, "the server on %s has no gRPC listener (--grpc none)", f.DataDir)
		}
		target = a.GRPC
	}
	options, err := f.options(target)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, usagef("--server %s: %v", target, err)
	}
	return conn, nil
}

// unary bounds one call.
func (f *clientFlags) unary(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.Timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, f.Timeout)
}
