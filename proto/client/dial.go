package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// ErrInsecure refuses to send a token in the clear beyond this machine.
var ErrInsecure = errors.New("a token is not sent beyond loopback in the clear: use TLS")

// maxMessageBytes holds the longest history: 1,000 events of a few kilobytes.
const maxMessageBytes = 64 << 20

// keepalivePing finds a dead connection under a call. The server allows a ping every 10 s.
const keepalivePing = 20 * time.Second

// Dial connects to target, a host:port, with [Options]. Nothing is sent before the first
// call. The caller closes the connection.
func Dial(target, token string, config *tls.Config, more ...grpc.DialOption) (*grpc.ClientConn, error) {
	options, err := Options(target, token, config)
	if err != nil {
		return nil, err
	}
	return grpc.NewClient(target, append(options, more...)...)
}

// Options are those of a connection to target: with TLS unless config is nil, with a
// bearer token unless that is empty, with pings that find a dead connection and a limit that
// holds every answer. The error is [ErrInsecure] for a token without TLS beyond loopback.
func Options(target, token string, config *tls.Config) ([]grpc.DialOption, error) {
	transport := insecure.NewCredentials()
	if config != nil {
		transport = credentials.NewTLS(config)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepalivePing, Timeout: keepalivePing / 2}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: defaultMinWait, Multiplier: 1.6, Jitter: 0.2, MaxDelay: defaultMaxWait},
			MinConnectTimeout: defaultMaxWait,
		}),
	}
	if token == "" {
		return options, nil
	}
	if config == nil && !onLoopback(target) {
		return nil, ErrInsecure
	}
	return append(options, grpc.WithPerRPCCredentials(bearer{token, config != nil})), nil
}

// onLoopback reports whether a gRPC target names this machine.
func onLoopback(target string) bool {
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bearer sends a token with every call.
type bearer struct {
	token     string
	encrypted bool
}

var _ credentials.PerRPCCredentials = bearer{}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials]: loopback needs none.
func (b bearer) RequireTransportSecurity() bool { return b.encrypted }
