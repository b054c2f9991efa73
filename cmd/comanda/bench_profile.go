package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// profiles are what --profile collects, by file name; each is of as many seconds
// as asked for (net/http/pprof: the difference between two, for all but the first).
var profiles = map[string]string{
	"cpu":    "/debug/pprof/profile",
	"allocs": "/debug/pprof/allocs",
	"mutex":  "/debug/pprof/mutex",
	"block":  "/debug/pprof/block",
}

// profile begins to collect the server's profiles of the next d, whole seconds
// and at least one, into files dir/name-<profile>.pprof. What it returns waits for them.
func (s *benchServer) profile(ctx context.Context, dir, name string, d time.Duration) (wait func() error) {
	seconds := max(1, int(d.Seconds()))
	group, ctx := errgroup.WithContext(ctx)
	for kind, path := range profiles {
		group.Go(func() error {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			file := filepath.Join(dir, name+"-"+kind+".pprof")
			return s.get(ctx, fmt.Sprintf("%s?seconds=%d", path, seconds), func(body io.Reader) error {
				text, err := io.ReadAll(body)
				if err != nil {
					return err
				}
				return os.WriteFile(file, text, 0o600)
			})
		})
	}
	return group.Wait
}
