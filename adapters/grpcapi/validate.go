package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// rules are those that stand in the messages themselves (buf.validate), and those of
// positions and times. What is to be read, as a table or a condition, its handler checks.
type rules struct{ validator protovalidate.Validator }

func newRules() (rules, error) {
	validator, err := protovalidate.New()
	if err != nil {
		return rules{}, fmt.Errorf("make the validator of requests: %w", err)
	}
	return rules{validator}, nil
}

// check is an error of kind Invalid with every field that breaks a rule of its message.
func (r rules) check(request any) error {
	m, ok := request.(proto.Message)
	if !ok {
		return nil
	}
	var c checker
	if read, ok := request.(interface{ GetMinPosition() string }); ok {
		c.position("min_position", read.GetMinPosition())
	}
	if past, ok := request.(pastRequest); ok {
		c.moment(past)
	}
	if at, ok := request.(startRequest); ok {
		c.startAt("", at)
	}
	if in, ok := request.(interface{ GetStart() *comandav1.GroupStart }); ok {
		c.startAt("start.", in.GetStart())
	}
	err := r.validator.Validate(m)
	if err == nil {
		return c.err()
	}
	broken, ok := errors.AsType[*protovalidate.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate a request: %w", err)
	}
	for _, v := range broken.Violations {
		field := protovalidate.FieldPathString(v.Proto.GetField())
		if field == "" { // a oneof's, or the message's own
			field = "request"
		}
		c.violate(field, ruleWords(v.Proto))
	}
	return c.err()
}

// startRequest is one that may name a place in the log, and itself says which.
type startRequest interface {
	GetTime() *timestamppb.Timestamp
	GetPosition() string
}

func (c *checker) startAt(prefix string, at startRequest) {
	c.timeOf(prefix+"time", at.GetTime())
	c.position(prefix+"position", at.GetPosition())
}

// ruleWords says what a field must be. A pattern says it badly.
func ruleWords(v *validate.Violation) string {
	id := v.GetRuleId()
	if id == "required" || strings.HasSuffix(id, ".required") || id == "string.min_len" {
		return "is required"
	}
	path := v.GetField().GetElements()
	if id == "string.pattern" && len(path) > 0 {
		switch path[len(path)-1].GetFieldName() {
		case "order_id", "order_ids":
			return orderIDRule
		case "tenant", "source", "tenants", "sources", "name", "group":
			return nameRule
		case "page_token":
			return pageTokenRule
		case "request_id":
			return "must be 1 to 128 of A-Z, a-z, 0-9 and ._:-"
		}
	}
	return strings.TrimPrefix(v.GetMessage(), "value ")
}

// What ids must be.
const (
	orderIDRule = `must be "ord_" and 26 characters of a-z and 2-7`
	nameRule    = "must be 1 to 40 of a-z, 0-9 and -"

	pageTokenRule = "not a page token that Comanda gave out"
)

func (r rules) unary(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := r.check(request); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (r rules) stream(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	return handler(server, &ruledStream{stream, r})
}

// ruledStream checks every message that it receives.
type ruledStream struct {
	grpc.ServerStream

	rules rules
}

// RecvMsg implements [grpc.ServerStream].
func (s *ruledStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err //nolint:wrapcheck // gRPC's own
	}
	return s.rules.check(m)
}

// prefixed is err whose fields are those of a part of the request.
func prefixed(part string, err error) error {
	known, ok := errors.AsType[*domain.Error](err)
	if !ok || len(known.Fields) == 0 {
		return err
	}
	fields := make(map[string][]string, len(known.Fields))
	for field, texts := range known.Fields {
		fields[part+"."+field] = texts
	}
	out := domain.Errorf(known.Kind, "%w", err)
	out.Fields = fields
	return out
}
