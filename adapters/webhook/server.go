package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// NewServer is an HTTP server with cfg's bounds in front of h, which may be a
// mux with a Handler in it. Its own complaints go to logger.
func NewServer(cfg Config, h http.Handler, logger *slog.Logger) *http.Server {
	cfg.setDefaults()
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout,
		WriteTimeout:      cfg.WriteTimeout,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// Serve answers on listener until ctx ends. Then it stops accepting, waits at
// most grace for the requests in flight, and cuts off the rest, which is the
// only error of a shutdown. It closes listener; srv cannot be used again.
func Serve(ctx context.Context, srv *http.Server, listener net.Listener, grace time.Duration) error {
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := srv.Shutdown(stop)
	if err != nil {
		err = fmt.Errorf("shut down %s: %w", listener.Addr(), err)
		srv.Close() //nolint:errcheck,gosec // it reports the listener's error, which Shutdown closed
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve %s: %w", listener.Addr(), ended))
	}
	return err
}
