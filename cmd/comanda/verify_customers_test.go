package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestVerifyFindsAChangedCustomerIndex takes an entry from it and gives it another,
// behind Comanda's back.
func TestVerifyFindsAChangedCustomerIndex(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	order := s.expect("loja-aprovei", fixture(t, "aprovei-approved"), "applied", "approved").OrderID
	awaitIndex(t, dir)
	if code, out, errOut := command(t, "verify", "--customers", "--data-dir", dir); code != exitOK || !strings.Contains(out, " entries of customers up to position ") {
		t.Errorf("verify --customers of a server ends with %d and says %s%s", code, out, errOut)
	}
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	db, err := bbolt.Open(filepath.Join(dir, whoseFile), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		entries := tx.Bucket([]byte("entries"))
		k, v := entries.Cursor().First()
		key, value := append([]byte(nil), k...), append([]byte(nil), v...)
		if err := entries.Delete(key); err != nil {
			return err
		}
		key[len(key)-len(order)-1] ^= 1
		return entries.Put(key, value)
	})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	code, out, errOut := command(t, "verify", "--customers", "--data-dir", dir)
	if code != exitFailed || !strings.Contains(out, "view_missing: ") || !strings.Contains(out, "view_extra: ") ||
		strings.Count(out, order) != 2 || !strings.Contains(errOut, "2 problems") {
		t.Errorf("verify --customers ends with %d and says %s%s", code, out, errOut)
	}
	if code, out, errOut = command(t, "verify", "--data-dir", dir); code != exitOK || strings.Contains(out, "customers") {
		t.Errorf("verify ends with %d and says %s%s", code, out, errOut)
	}
	if code, _, errOut = command(t, "verify", "--customers", "--data-dir", dir, "--key-file", filepath.Join(dir, "none")); code != exitNotFound {
		t.Errorf("verify --customers without a key ends with %d and says %s", code, errOut)
	}
}

// awaitIndex waits until the server's index has all that was recorded.
func awaitIndex(t *testing.T, dir string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		code, _, errOut := command(t, "orders", "list", "--customer", "nobody@example.com", "--data-dir", dir)
		if code == exitOK {
			return
		}
		if code != exitUnavailable {
			t.Fatalf("orders list --customer ends with %d and says %s", code, errOut)
		}
		<-tick.C
	}
	t.Fatal("the customer index is not made")
}

// making is a server whose index is being made.
type making struct {
	comandav1.UnimplementedViewServiceServer
}

func (making) Verify(*comandav1.VerifyRequest, grpc.ServerStreamingServer[comandav1.VerifyResponse]) error {
	s, err := status.New(codes.Unavailable, "the customer index is being made").WithDetails(&errdetails.ErrorInfo{Reason: "UNAVAILABLE"})
	if err != nil {
		return err
	}
	return s.Err()
}

// What a server says is the answer: its files are not opened behind its back.
func TestVerifyTakesAServersWord(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	comandav1.RegisterViewServiceServer(server, making{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	dir := t.TempDir()
	if err := writeAddresses(dir, addresses{GRPC: listener.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	code, _, errOut := command(t, "verify", "--customers", "--data-dir", dir)
	if code != exitUnavailable || !strings.Contains(errOut, "is being made") {
		t.Errorf("verify ends with %d and says %s", code, errOut)
	}
	server.Stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if code, _, errOut = command(t, "verify", "--customers", "--data-dir", dir); code != exitNotFound || !strings.Contains(errOut, "no log") {
		t.Errorf("verify without a server ends with %d and says %s", code, errOut)
	}
}
