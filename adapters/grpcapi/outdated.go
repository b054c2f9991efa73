package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"comanda.internal/domain"
)

// outdatedHeader is in the header of every answer from views that stand still, as after an
// upgrade: the position that they stand at.
const outdatedHeader = "comanda-outdated-position"

// tellOutdated says so to the caller.
func tellOutdated(ctx context.Context, views Views) error {
	position, outdated := views.Outdated()
	if outdated == "" {
		return nil
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs(outdatedHeader, position.String())); err != nil {
		return fmt.Errorf("set a header: %w", err)
	}
	return nil
}

// ofViews are the services that answer from views, by the beginning of their methods.
var ofViews = []string{
	"/comanda.v1.OrderService/", "/comanda.v1.PurchaseService/", "/comanda.v1.QueueService/", "/comanda.v1.StatsService/",
}

// unknownYet makes Unavailable of NotFound while views stand still: what they do not
// know may well be in the log.
func unknownYet(views Views) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		answer, err := handler(ctx, request)
		if err == nil || domain.KindOf(err) != domain.NotFound || isOfSource(err) {
			return answer, err
		}
		for _, service := range ofViews {
			if !strings.HasPrefix(info.FullMethod, service) {
				continue
			}
			if position, outdated := views.Outdated(); outdated != "" {
				return nil, domain.Errorf(domain.Unavailable, "not known up to position %s, at which the views stand still while they are built anew", position)
			}
		}
		return answer, err
	}
}

// isOfSource reports whether err says that there is no such source, which no log can tell.
func isOfSource(err error) bool {
	var of *detailedError
	if !errors.As(err, &of) {
		return false
	}
	info, ok := of.detail.(*errdetails.ResourceInfo)
	return ok && info.GetResourceType() == sourceResource
}
