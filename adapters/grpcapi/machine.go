package grpcapi

import (
	"context"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// machineService asks what if.
type machineService struct {
	comandav1.UnimplementedMachineServiceServer

	replayer Replayer
	closing  <-chan struct{}
	running  sync.Mutex // held by the one replay that may run
	reads
}

// Replay implements [comandav1.MachineServiceServer].
func (s *machineService) Replay(req *comandav1.ReplayRequest, stream grpc.ServerStreamingServer[comandav1.ReplayResponse]) error {
	var check checker
	tenant := check.tenant(req.GetTenant())
	other := check.table("table", req.GetTable())
	if err := check.err(); err != nil {
		return err
	}
	if !s.running.TryLock() {
		return domain.Errorf(domain.Exhausted, "a replay is running already")
	}
	defer s.running.Unlock()
	ctx, cancel := untilClosing(stream.Context(), s.closing)
	defer cancel()
	report, err := s.replay(ctx, other, tenant, stream)
	if err != nil {
		if ctx.Err() != nil && stream.Context().Err() == nil {
			return errShuttingDown
		}
		return err
	}
	return stream.Send(&comandav1.ReplayResponse{Message: &comandav1.ReplayResponse_Report{Report: report}})
}

// replay begins when the views hold all that was recorded before the call.
func (s *machineService) replay(
	ctx context.Context, other *order.Machine, tenant domain.TenantID, stream grpc.ServerStreamingServer[comandav1.ReplayResponse],
) (*comandav1.ReplayReport, error) {
	if err := s.awaitPast(ctx, domain.Position{}, true); err != nil {
		return nil, err
	}
	return s.replayer.Replay(ctx, other, tenant, stream.Send)
}

// table is the machine of a table's text.
func (c *checker) table(field, text string) *order.Machine {
	table, err := order.ParseTable(strings.NewReader(text))
	if err != nil {
		c.violate(field, err.Error())
		return nil
	}
	m, err := order.New(table)
	if err != nil {
		c.violate(field, err.Error())
	}
	return m
}
