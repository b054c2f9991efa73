package grpcapi_test

import (
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Views that stand still say where, and do not say of what they do not know that there
// is none.
func TestViewsThatStandStillSaySo(t *testing.T) {
	position := domain.Position{}.With(0, 7)
	for name, outdated := range map[string]domain.Position{"views of this version": {}, "older views": position} {
		t.Run(name, func(t *testing.T) {
			v := readyViews()
			v.outdated = outdated
			known := true
			s := serve(t, grpcapi.Config{}, grpcapi.Deps{
				Histories: history{func() ([]*comandav1.Event, error) {
					if !known {
						return nil, nil
					}
					return []*comandav1.Event{{EventId: "e"}}, nil
				}},
				Views: v, Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
			})
			var header metadata.MD
			request := &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)}
			if _, err := s.orders.GetOrderHistory(t.Context(), request, grpc.Header(&header)); err != nil {
				t.Fatal(err)
			}
			got, want := header.Get("comanda-outdated-position"), []string{position.String()}
			if outdated.IsZero() != (len(got) == 0) || !outdated.IsZero() && (len(got) != 1 || got[0] != want[0]) {
				t.Errorf("the header says %q", got)
			}
			known = false
			_, err := s.orders.GetOrderHistory(t.Context(), request)
			if code := status.Code(err); outdated.IsZero() != (code == codes.NotFound) || !outdated.IsZero() != (code == codes.Unavailable) {
				t.Errorf("of what they do not know they say %v", err)
			}
			_, err = s.orders.WaitOrder(t.Context(), &comandav1.WaitOrderRequest{
				Order: &comandav1.WaitOrderRequest_SourceOrder{
					SourceOrder: &comandav1.SourceOrder{Source: "nobody", ProviderOrderId: "A-1"},
				},
			})
			if status.Code(err) != codes.NotFound {
				t.Errorf("of a source that is not configured they say %v", err)
			}
		})
	}
}
