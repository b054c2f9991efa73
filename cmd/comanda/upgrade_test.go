package main

import (
	"encoding/binary"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"comanda.internal/domain/order"
	"comanda.internal/projections"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// TestAnUpgradeAnswersFromTheOlderViews starts serve on views that an older machine
// folded, and holds the build of new ones: orders are answered as they were, one that
// came since is not said not to be, and when the build goes on all is as ever.
func TestAnUpgradeAnswersFromTheOlderViews(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, dir, sourcesYAML)
	old := s.expect("loja-aprovei", pointBody(t, 1), "applied", "approved")
	if code := s.stop(); code != exitOK {
		t.Fatalf("serve ended with %d", code)
	}
	db, err := bbolt.Open(filepath.Join(dir, viewsFile), 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("machine"), binary.BigEndian.AppendUint32(nil, order.Default().Version()-1))
		})
	}
	if err != nil || db.Close() != nil {
		t.Fatal(err)
	}

	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	atPoint = func(p projections.Point) {
		if p == projections.PointCandidateOpened {
			<-goOn
		}
	}
	defer func() { atPoint = nil }()
	s = startServer(t, dir, sourcesYAML)
	defer s.stop()
	defer release()
	if got := s.order(answer{OrderID: old.OrderID}); got.GetStatus() != comandav1.OrderStatus_ORDER_STATUS_APPROVED {
		t.Errorf("the order is answered as %v", got)
	}
	fresh := s.expect("loja-aprovei", pointBody(t, 2), "applied", "approved")
	_, err = s.orders.GetOrder(t.Context(), &comandav1.GetOrderRequest{OrderId: fresh.OrderID})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("an order that came since: %v, want it unavailable", err)
	}
	if text := get(t, "http://"+s.addr.Ops+"/readyz?verbose"); !strings.Contains(text, "[!] views: they stand still at position "+old.Position) {
		t.Errorf("readyz says %s", text)
	}
	if _, out, _ := command(t, "views", "status", "--data-dir", dir); !strings.Contains(out, "the views stand still") {
		t.Errorf("views status says %s", out)
	}
	release()
	if got := s.order(fresh); got.GetStatus() != comandav1.OrderStatus_ORDER_STATUS_APPROVED { // waits for its position
		t.Errorf("the order is answered as %v", got)
	}
	await(t, "the build is promoted", func() bool {
		_, out, _ := command(t, "views", "status", "--data-dir", dir)
		return !strings.Contains(out, "the views stand still") && strings.Contains(out, "promoted")
	})
}
