package client

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

const (
	// waitRound is how long one call waits.
	waitRound = 30 * time.Second
	// heardWithin is how much later an answer is given up.
	heardWithin = 10 * time.Second
)

// WaitOrder waits until an order is as request asks, for as long as ctx allows, over as many
// calls and connections as that takes; the request's own timeout is not heeded. Shortly
// before ctx's deadline the answer is the order as it is then, and not met, without an error. An error is the
// server's final one, or the context's, when it ended while the server could not be asked.
func WaitOrder(ctx context.Context, conn grpc.ClientConnInterface, request *comandav1.WaitOrderRequest, retry Retry) (*comandav1.WaitOrderResponse, error) {
	retry.setDefaults()
	again := retries{Retry: retry}
	orders, request := comandav1.NewOrderServiceClient(conn), proto.CloneOf(request)
	for {
		round, last := roundOf(ctx)
		request.Timeout = durationpb.New(round)
		answer, err := waitOnce(ctx, orders, request, round)
		switch {
		case err == nil && (answer.GetMet() || last):
			return answer, nil
		case err == nil:
			again.succeeded()
			continue
		}
		if err := again.pause(ctx, err); err != nil {
			return nil, err
		}
	}
}

// roundOf is how long to wait now, and whether there is no time for another round.
func roundOf(ctx context.Context) (round time.Duration, last bool) {
	deadline, bounded := ctx.Deadline()
	if !bounded {
		return waitRound, false
	}
	left := time.Until(deadline)
	if left -= min(left/4, time.Second); left > waitRound {
		return waitRound, false
	}
	return max(left, time.Millisecond), true
}

func waitOnce(ctx context.Context, orders comandav1.OrderServiceClient, request *comandav1.WaitOrderRequest, round time.Duration) (*comandav1.WaitOrderResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, round+heardWithin)
	defer cancel()
	return orders.WaitOrder(ctx, request)
}
