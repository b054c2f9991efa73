package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// leastThreads run Go code at the same time in serve, however few the processors are, and
// in bench, where what is compared with serve has to run as it does, and so do the clients.
// With two, one that collects garbage, commits a view or begins an fsync leaves what
// waits behind it for up to ten milliseconds to the other (Go 1.26, runtime/proc.go,
// forcePreemptNS and retake): webhooks' answers and reads that follow them waited so.
// The kernel shares the processors out in shorter turns. A third is as good for them as
// four were, which cost a twentieth of the processor more. GOMAXPROCS wins.
const leastThreads = 3

func main() {
	heap.govern()
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "bench") && os.Getenv("GOMAXPROCS") == "" {
		if now := runtime.GOMAXPROCS(0); threads(now, runtime.NumCPU()) != now {
			runtime.GOMAXPROCS(leastThreads)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// threads are those of serve and bench where Go would take now. Fewer than the cores are a
// container's quota, which more of them would only use up sooner, and then stand still.
func threads(now, cores int) int {
	if now < cores {
		return now
	}
	return max(now, leastThreads)
}
