package grpcapi_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/adapters/grpcapi"
	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// views that are ready, and never wait unless told to.
type views struct {
	ready chan struct{}
	wait  func(context.Context) error
	// outdated is where they stand still; zero: they do not.
	outdated domain.Position
}

func readyViews() *views {
	v := &views{ready: make(chan struct{})}
	close(v.ready)
	return v
}

func (v *views) Answering() <-chan struct{} { return v.ready }

func (v *views) Outdated() (at domain.Position, why string) {
	if v.outdated.IsZero() {
		return v.outdated, ""
	}
	return v.outdated, "told to"
}

func (v *views) Wait(ctx context.Context, _ domain.Position) error {
	if v.wait == nil {
		return nil
	}
	return v.wait(ctx)
}

// history answers with whatever answer does.
type history struct {
	answer func() ([]*comandav1.Event, error)
}

func (h history) History(domain.OrderID) ([]*comandav1.Event, error) { return h.answer() }

var anOrder = identity(1).OrderID()

// ask has a server whose history fails with err answer.
func ask(t *testing.T, logger *slog.Logger, answer func() ([]*comandav1.Event, error)) *status.Status {
	t.Helper()
	s := serve(t, grpcapi.Config{}, grpcapi.Deps{
		Histories: history{answer}, Views: readyViews(), Clock: time.Now, Logger: logger,
	})
	_, err := s.orders.GetOrderHistory(t.Context(), &comandav1.GetOrderHistoryRequest{OrderId: string(anOrder)})
	return status.Convert(err)
}

func details(st *status.Status) []proto.Message {
	var out []proto.Message
	for _, d := range st.Details() {
		out = append(out, d.(proto.Message))
	}
	return out
}

func info(reason string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "comanda"}
}

func TestEveryKindHasItsCodeAndDetails(t *testing.T) {
	fields := domain.Errorf(domain.Invalid, "two fields")
	fields.Fields = map[string][]string{"b": {"second", "third"}, "a": {"first"}}
	retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)}
	cases := []struct {
		err     error
		code    codes.Code
		text    string
		details []proto.Message
	}{
		{domain.Errorf(domain.Internal, "boom"), codes.Internal, "internal error; its cause is in the server's log", []proto.Message{info("INTERNAL")}},
		{errors.New("of no kind"), codes.Internal, "internal error; its cause is in the server's log", []proto.Message{info("INTERNAL")}},
		{domain.Errorf(domain.Invalid, "bad"), codes.InvalidArgument, "bad", []proto.Message{info("INVALID")}},
		{fields, codes.InvalidArgument, "two fields", []proto.Message{info("INVALID"), &errdetails.BadRequest{
			FieldViolations: []*errdetails.BadRequest_FieldViolation{
				{Field: "a", Description: "first"}, {Field: "b", Description: "second"}, {Field: "b", Description: "third"},
			},
		}}},
		{domain.Errorf(domain.NotFound, "none"), codes.NotFound, "none", []proto.Message{info("NOT_FOUND")}},
		{domain.Errorf(domain.Refused, "no"), codes.FailedPrecondition, "no", []proto.Message{info("REFUSED")}},
		{domain.Errorf(domain.Stale, "old"), codes.Aborted, "old", []proto.Message{info("STALE")}},
		{domain.Errorf(domain.Exists, "taken"), codes.AlreadyExists, "taken", []proto.Message{info("EXISTS")}},
		{domain.Errorf(domain.Unavailable, "later"), codes.Unavailable, "later", []proto.Message{info("UNAVAILABLE"), retry}},
		{domain.Errorf(domain.Exhausted, "full"), codes.ResourceExhausted, "full", []proto.Message{info("EXHAUSTED"), retry}},
		{domain.Errorf(domain.Corrupt, "torn"), codes.DataLoss, "torn", []proto.Message{info("CORRUPT")}},
		{domain.Errorf(domain.Unauthenticated, "who"), codes.Unauthenticated, "who", []proto.Message{info("UNAUTHENTICATED")}},
		{domain.Errorf(domain.Denied, "you may not"), codes.PermissionDenied, "you may not", []proto.Message{info("DENIED")}},
		{fmt.Errorf("read: %w", domain.Errorf(domain.Stale, "old")), codes.Aborted, "read: old", []proto.Message{info("STALE")}},
		{
			domain.Errorf(domain.Unavailable, "log: %w", context.DeadlineExceeded), codes.Unavailable, "log: context deadline exceeded",
			[]proto.Message{info("UNAVAILABLE"), retry},
		},
		{fmt.Errorf("wait: %w", context.DeadlineExceeded), codes.DeadlineExceeded, "wait: context deadline exceeded", []proto.Message{info("DEADLINE_EXCEEDED")}},
		{fmt.Errorf("wait: %w", context.Canceled), codes.Canceled, "wait: context canceled", []proto.Message{info("CANCELED")}},
		{status.Error(codes.Unimplemented, "not here"), codes.Unimplemented, "not here", nil},
	}
	seen := map[domain.ErrorKind]bool{}
	for _, c := range cases {
		t.Run(c.err.Error(), func(t *testing.T) {
			st := ask(t, slog.New(slog.DiscardHandler), func() ([]*comandav1.Event, error) { return nil, c.err })
			if st.Code() != c.code || st.Message() != c.text {
				t.Errorf("status = %v %q, want %v %q", st.Code(), st.Message(), c.code, c.text)
			}
			if diff := cmp.Diff(c.details, details(st), protocmp.Transform()); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
		})
		if known, ok := errors.AsType[*domain.Error](c.err); ok {
			seen[known.Kind] = true
		}
	}
	const beyond = "invalid" // what a number outside the set is called
	for kind := domain.Internal; kind == domain.Invalid || kind.String() != beyond; kind++ {
		if !seen[kind] {
			t.Errorf("kind %v has no row", kind)
		}
	}
}

func TestAPanicIsAnInternalErrorWhoseCauseIsLogged(t *testing.T) {
	var logged bytes.Buffer
	st := ask(t, slog.New(slog.NewJSONHandler(&logged, nil)), func() ([]*comandav1.Event, error) {
		panic("a secret cause")
	})
	if st.Code() != codes.Internal || strings.Contains(st.Message(), "secret") {
		t.Errorf("status = %v, want an internal one that tells nothing", st)
	}
	if !strings.Contains(logged.String(), "a secret cause") || !strings.Contains(logged.String(), "GetOrderHistory") {
		t.Errorf("logged = %s, want cause and method", logged.String())
	}
}

func TestWhatTheClientDidWrongIsNotLogged(t *testing.T) {
	var logged bytes.Buffer
	ask(t, slog.New(slog.NewJSONHandler(&logged, nil)), func() ([]*comandav1.Event, error) {
		return nil, domain.Errorf(domain.NotFound, "none")
	})
	if logged.Len() > 0 {
		t.Errorf("logged = %s", logged.String())
	}
}
