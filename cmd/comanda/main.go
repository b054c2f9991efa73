package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	heap.govern()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
