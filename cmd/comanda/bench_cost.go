package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"comanda.internal/cmd/comanda/bench"
)

// What reading a log costs the process, the embedded server included.
const (
	figureCPU    = "cpu_us"            // of all cores, an event
	figureMemory = "peak_memory_bytes" // of Go's; files that are mapped are the system's
	figureRSS    = "peak_rss_bytes"    // of the process, with what it has in memory of mapped files
)

// Of Linux: to forget the peak of resident memory, and to ask for it (proc(5)).
const (
	procForget = "/proc/self/clear_refs"
	procStatus = "/proc/self/status"
)

// memoryEvery is how often memory is looked at.
const memoryEvery = 20 * time.Millisecond

// costly is a round of read, with its cost.
func costly(ctx context.Context, now func() time.Time, events int, read func(context.Context) error) (bench.Result, error) {
	debug.FreeOSMemory()                             // what was before is not its cost
	_ = os.WriteFile(procForget, []byte("5"), 0o200) // or the peak is that since the start
	var peak uint64
	var watch sync.WaitGroup
	watched, end := context.WithCancel(ctx)
	watch.Go(func() { peak = peakMemory(watched) })
	before := cpuTime()
	result, err := bench.Timed(now, func() (int, error) { return events, read(ctx) })
	cpu := cpuTime() - before
	end()
	watch.Wait()
	result.Also = map[string]float64{
		figureCPU: bench.Quotient(float64(cpu)/float64(time.Microsecond), float64(events)), figureMemory: float64(peak), figureRSS: peakRSS(),
	}
	return result, err
}

// peakMemory is the most that Go has of the system until ctx ends.
func peakMemory(ctx context.Context) uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	pace := time.NewTicker(memoryEvery)
	defer pace.Stop()
	peak := uint64(0)
	for {
		metrics.Read(samples)
		peak = max(peak, samples[0].Value.Uint64()-samples[1].Value.Uint64())
		select {
		case <-pace.C:
		case <-ctx.Done():
			return peak
		}
	}
}

// peakRSS is the most that was resident; 0 where the system does not tell.
func peakRSS() float64 {
	status, err := os.ReadFile(procStatus)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kib * 1024
		}
	}
	return 0
}

// cpuTime is what the process has used of all cores; 0 where the system does not tell.
func cpuTime() time.Duration {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
