package grpcapi

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// viewService is for operators.
type viewService struct {
	comandav1.UnimplementedViewServiceServer

	verifier  Verifier
	operator  Operator
	customers Customers
	closing   <-chan struct{}
	running   sync.Mutex // held by the one check that may run
}

// Verify implements [comandav1.ViewServiceServer]. A check reads much of the
// log, so there is one at a time.
func (s *viewService) Verify(r *comandav1.VerifyRequest, stream grpc.ServerStreamingServer[comandav1.VerifyResponse]) error {
	var check checker
	what := Check{Since: check.position("since_position", r.GetSincePosition()), Customers: r.GetCustomers()}
	if what.Customers && r.GetSincePosition() != "" {
		check.violate("customers", "proves the whole index: not together with since_position")
	}
	if err := check.err(); err != nil {
		return err
	}
	if !s.running.TryLock() {
		return domain.Errorf(domain.Exhausted, "a check is running already")
	}
	defer s.running.Unlock()
	ctx, cancel := untilClosing(stream.Context(), s.closing)
	defer cancel()
	report, err := s.verifier.Verify(ctx, what, func(p *comandav1.VerifyProgress) error {
		return stream.Send(&comandav1.VerifyResponse{Message: &comandav1.VerifyResponse_Progress{Progress: p}})
	})
	if err != nil {
		if ctx.Err() != nil && stream.Context().Err() == nil {
			return errShuttingDown
		}
		return err
	}
	return stream.Send(&comandav1.VerifyResponse{Message: &comandav1.VerifyResponse_Report{Report: report}})
}

// untilClosing is ctx, which also ends when the server stops, at closing. cancel returns
// when what watches for it has ended.
func untilClosing(ctx context.Context, closing <-chan struct{}) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}
