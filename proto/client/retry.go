package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	defaultMinWait = 100 * time.Millisecond
	defaultMaxWait = 10 * time.Second
)

// Retry says how to go on after what may pass by itself: UNAVAILABLE, ABORTED, CANCELLED by
// others, DEADLINE_EXCEEDED of the one attempt, INTERNAL and UNKNOWN (as a cut connection may
// look), RESOURCE_EXHAUSTED when the server says for how long, and silence. FAILED_PRECONDITION,
// INVALID_ARGUMENT, UNAUTHENTICATED, PERMISSION_DENIED and all others are final. The zero
// value is right.
type Retry struct {
	// Min is the first wait, of which up to a half is left to chance. It doubles with
	// every attempt that hears nothing. Default 100 ms.
	Min time.Duration
	// Max bounds the wait, unless the server's RetryInfo asks for more. Default 10 s.
	Max time.Duration
	// Waiting, if any, is told why and for how long, before each wait.
	Waiting func(err error, wait time.Duration)
}

func (r *Retry) setDefaults() {
	if r.Min <= 0 {
		r.Min = defaultMinWait
	}
	if r.Max <= 0 {
		r.Max = defaultMaxWait
	}
	r.Max = max(r.Min, r.Max)
}

// retries counts attempts in vain.
type retries struct {
	Retry

	wait time.Duration // before the next attempt; 0: the last one heard something
}

// succeeded begins anew.
func (r *retries) succeeded() { r.wait = 0 }

// run streams again and again. It returns the first error that is final, or not the server's at all.
func (r *retries) run(ctx context.Context, stream func(context.Context) error) error {
	for {
		err := stream(ctx)
		if own, ok := errors.AsType[*ownError](err); ok {
			return own.error
		}
		if err := r.pause(ctx, err); err != nil {
			return err
		}
	}
}

// ownError is not the server's: it ends what streams, whatever status it may hold.
type ownError struct{ error }

// pause waits before the attempt that follows err. Its error is err itself when that
// is final, and the context's when that ends first.
func (r *retries) pause(ctx context.Context, err error) error {
	advised, ok := retryable(err)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !ok:
		return err
	}
	r.wait = min(max(r.Min, 2*r.wait), r.Max)
	wait := max(advised, r.wait/2+rand.N(r.wait/2+1)) //nolint:gosec // no secret
	if r.Waiting != nil {
		r.Waiting(err, wait)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryable reports whether err may pass, and the least wait that the server advises.
func retryable(err error) (advised time.Duration, ok bool) {
	if errors.Is(err, errSilent) || errors.Is(err, io.EOF) {
		return 0, true
	}
	st, isStatus := status.FromError(err)
	if !isStatus {
		return 0, false
	}
	for _, detail := range st.Details() {
		if info, isInfo := detail.(*errdetails.RetryInfo); isInfo {
			advised = info.GetRetryDelay().AsDuration()
		}
	}
	switch st.Code() {
	case codes.Unavailable, codes.Aborted, codes.Canceled, codes.DeadlineExceeded, codes.Internal, codes.Unknown:
		return advised, true
	case codes.ResourceExhausted: // without advice, a message that is too long for us
		return advised, advised > 0
	default:
		return 0, false
	}
}
