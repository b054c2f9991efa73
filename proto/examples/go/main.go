// Command go follows the log of Comanda, or waits for an order:
//
//	go run ./proto/examples/go HOST:PORT follow TENANT TOKEN_FILE [UNTIL_STATUS]
//	go run ./proto/examples/go HOST:PORT wait TENANT REFERENCE
//
// COMANDA_TOKEN is the bearer token, COMANDA_CA a PEM file of authorities, for TLS.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"comanda.internal/proto/client"
	comandav1 "comanda.internal/proto/comanda/v1"
)

var errUsage = errors.New("usage: go run ./proto/examples/go HOST:PORT follow TENANT TOKEN_FILE [UNTIL_STATUS] | wait TENANT REFERENCE")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) < 4 {
		return errUsage
	}
	config, err := authorities(os.Getenv("COMANDA_CA"))
	if err != nil {
		return err
	}
	conn, err := client.Dial(args[0], os.Getenv("COMANDA_TOKEN"), config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	switch args[1] {
	case "follow":
		return follow(ctx, conn, out, args[2], args[3], strings.Join(args[4:], ""))
	case "wait":
		return wait(ctx, conn, out, args[2], args[3])
	default:
		return errUsage
	}
}

// authorities are those of a PEM file; nil for none.
func authorities(path string) (*tls.Config, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	text, err := os.ReadFile(path) //nolint:gosec // the caller's own
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no PEM certificate", path)
	}
	return config, nil
}

var errDone = errors.New("done")

// follow prints every event of a tenant, once and in order, up to one that leaves its
// order in a status. The token file says where to go on, also after this process.
func follow(ctx context.Context, conn grpc.ClientConnInterface, out io.Writer, tenant, tokenFile, until string) error {
	token, err := os.ReadFile(tokenFile) //nolint:gosec // the caller's own
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	done := false
	err = client.Subscribe(ctx, conn, client.Subscription{
		Request: &comandav1.SubscribeRequest{
			Start:  &comandav1.SubscribeRequest_Beginning_{Beginning: &comandav1.SubscribeRequest_Beginning{}},
			Filter: &comandav1.EventFilter{Tenants: []string{tenant}},
		},
		Token: string(token),
		Handle: func(_ context.Context, m *comandav1.SubscribedEvent) error {
			e := m.GetEvent()
			done = word(e.GetStatusTo()) == until
			_, err := fmt.Fprintln(out, e.GetEventId(), e.GetOrderId(), e.GetRevision(), word(e.GetStatusTo()))
			return err
		},
		Store: func(_ context.Context, token string) error {
			if err := os.WriteFile(tokenFile+".tmp", []byte(token), 0o600); err != nil { //nolint:gosec // the caller's own
				return err
			}
			if err := os.Rename(tokenFile+".tmp", tokenFile); err != nil || !done { //nolint:gosec // likewise
				return err
			}
			return errDone
		},
		Retry: client.Retry{Waiting: func(err error, wait time.Duration) {
			fmt.Fprintln(os.Stderr, "again in", wait, "after", err)
		}},
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// wait prints the tenant's order with a reference when it is no longer pending.
func wait(ctx context.Context, conn grpc.ClientConnInterface, out io.Writer, tenant, reference string) error {
	answer, err := client.WaitOrder(ctx, conn, &comandav1.WaitOrderRequest{
		Order: &comandav1.WaitOrderRequest_TenantReference{
			TenantReference: &comandav1.TenantReference{Tenant: tenant, Reference: reference},
		},
		Settled: true,
	}, client.Retry{})
	if err != nil {
		return err
	}
	o := answer.GetOrder()
	_, err = fmt.Fprintln(out, o.GetOrderId(), o.GetRevision(), word(o.GetStatus()))
	return err
}

func word(s comandav1.OrderStatus) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "ORDER_STATUS_"))
}
