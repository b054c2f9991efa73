package grpcapi

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"comanda.internal/adapters/grpcapi/access"
	"comanda.internal/domain"
	"comanda.internal/domain/order"
)

// errorDomain is the domain of every google.rpc.ErrorInfo. Its reason is the
// error's kind in upper case, as "NOT_FOUND", or what ended the call's context.
const errorDomain = "comanda"

// closingKey names, in the ErrorInfo of a stream that the server ends, the reason of its Closing,
// beside which tokenField is where to go on.
const closingKey = "closing"

// scopeKey names, in the ErrorInfo of DENIED, the scope that was lacking.
const scopeKey = "scope"

// retryAfter is what RetryInfo advises where nothing better is known.
const retryAfter = time.Second

// codeOf is the one table from kinds to codes.
var codeOf = map[domain.ErrorKind]codes.Code{
	domain.Internal:    codes.Internal,
	domain.Invalid:     codes.InvalidArgument,
	domain.NotFound:    codes.NotFound,
	domain.Refused:     codes.FailedPrecondition,
	domain.Stale:       codes.Aborted,
	domain.Exists:      codes.AlreadyExists,
	domain.Unavailable: codes.Unavailable,
	domain.Exhausted:   codes.ResourceExhausted,
	domain.Corrupt:     codes.DataLoss,

	domain.Unauthenticated: codes.Unauthenticated,
	domain.Denied:          codes.PermissionDenied,
}

// detailedError is an error with a detail that only its maker knows.
type detailedError struct {
	error

	detail protoadapt.MessageV1
}

func (e *detailedError) Unwrap() error { return e.error }

// notConfigured says that there is no such source.
func notConfigured(source string) error {
	text := "no such source is configured"
	return &detailedError{
		error:  domain.Errorf(domain.NotFound, "%s: %s", source, text),
		detail: &errdetails.ResourceInfo{ResourceType: sourceResource, ResourceName: source, Description: text},
	}
}

// notFound says that there is no such thing; kind is its message's full name.
func notFound(kind, name string) error { return notFoundThen(kind, name, false) }

// notFoundThen is notFound, of the past or of now.
func notFoundThen(kind, name string, past bool) error {
	text := "no fact of it was recorded"
	if past {
		text = "there is none, or there was none yet"
	}
	return &detailedError{
		error:  domain.Errorf(domain.NotFound, "%s: %s", name, text),
		detail: &errdetails.ResourceInfo{ResourceType: kind, ResourceName: name, Description: text},
	}
}

// refusedToken says why a resume token, though it is one, does not hold; kind is a
// word in upper case.
func refusedToken(kind, description string) error { return refusedPlace(tokenField, kind, description) }

// refusedPlace is refusedToken of another field.
func refusedPlace(field, kind, description string) error {
	return &detailedError{
		error: domain.Errorf(domain.Refused, "%s: %s", field, description),
		detail: &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
			{Type: kind, Subject: field, Description: description},
		}},
	}
}

// invalid is one field's violation.
func invalid(field, rule string) error {
	err := domain.Errorf(domain.Invalid, "%s: %s", field, rule)
	err.Fields = map[string][]string{field: {rule}}
	return err
}

// violationsOf are the fields that err complains of.
func violationsOf(err error) map[string][]string {
	if known, ok := errors.AsType[*domain.Error](err); ok {
		return known.Fields
	}
	return nil
}

// statusOf is the answer for err. A status passes as it is. What is neither a
// status, nor of a kind, nor the end of the call's context is internal, and its
// text is not told.
func statusOf(err error) *status.Status {
	known, ok := errors.AsType[*domain.Error](err)
	if !ok {
		if st, ok := status.FromError(err); ok {
			return st
		}
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return withDetails(status.New(codes.DeadlineExceeded, err.Error()), reason("DEADLINE_EXCEEDED", err))
		case errors.Is(err, context.Canceled):
			return withDetails(status.New(codes.Canceled, err.Error()), reason("CANCELED", err))
		}
	}
	kind := domain.KindOf(err)
	text := err.Error()
	if kind == domain.Internal {
		text = "internal error; its cause is in the server's log"
	}
	return withDetails(status.New(codeOf[kind], text), detailsOf(err, kind, known)...)
}

// withDetails is st with details, unless they cannot be encoded.
func withDetails(st *status.Status, details ...protoadapt.MessageV1) *status.Status {
	if detailed, err := st.WithDetails(details...); err == nil {
		return detailed
	}
	return st
}

func reason(word string, err error) *errdetails.ErrorInfo {
	info := &errdetails.ErrorInfo{Reason: word, Domain: errorDomain}
	if closed, ok := errors.AsType[*closedError](err); ok {
		info.Metadata = map[string]string{closingKey: closed.reason}
		if closed.token != "" {
			info.Metadata[tokenField] = closed.token
		}
	}
	return info
}

func detailsOf(err error, kind domain.ErrorKind, known *domain.Error) []protoadapt.MessageV1 {
	info := reason(strings.ToUpper(kind.String()), err)
	details := []protoadapt.MessageV1{info}
	if refused, ok := errors.AsType[*order.RefusedError](err); ok {
		info.Metadata = refusal(refused)
		details = append(details, &errdetails.PreconditionFailure{Violations: []*errdetails.PreconditionFailure_Violation{
			{Type: "MACHINE", Subject: string(refused.Order), Description: refused.Error()},
		}})
	}
	if stale, ok := errors.AsType[*order.StaleError](err); ok {
		info.Metadata = map[string]string{
			"expected_revision": strconv.FormatUint(stale.Expected, 10), "revision": strconv.FormatUint(stale.Actual, 10),
		}
	}
	if known != nil && len(known.Fields) > 0 {
		details = append(details, violations(known.Fields))
	}
	wait := retryAfter
	if denied, ok := errors.AsType[*access.DeniedError](err); ok {
		if denied.Scope != "" {
			info.Metadata = map[string]string{scopeKey: string(denied.Scope)}
		}
		if denied.RetryAfter > 0 {
			wait = denied.RetryAfter
			details = append(details, &errdetails.QuotaFailure{Violations: []*errdetails.QuotaFailure_Violation{
				{Subject: denied.Subject, Description: denied.Limit},
			}})
		}
	}
	if kind == domain.Unavailable || kind == domain.Exhausted {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	}
	if more, ok := errors.AsType[*detailedError](err); ok {
		details = append(details, more.detail)
	}
	return details
}

// refusal says in plain words what the fold refused, and what it would not.
func refusal(e *order.RefusedError) map[string]string {
	legal := make([]string, len(e.Legal))
	for i, k := range e.Legal {
		legal[i] = k.String()
	}
	return map[string]string{
		"kind": e.Kind.String(), "effective_at": e.At.UTC().Format(time.RFC3339Nano), "why": e.Why,
		"status_then": e.Then.String(), "status": e.Now.String(), "legal_kinds": strings.Join(legal, ","),
	}
}

func violations(fields map[string][]string) *errdetails.BadRequest {
	var out errdetails.BadRequest
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		for _, rule := range fields[field] {
			out.FieldViolations = append(out.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: field, Description: rule})
		}
	}
	return &out
}
