package bench

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Call is one call of one client; n counts the client's calls from 0. It
// answers "" for a success and otherwise a short word for what went wrong.
type Call func(ctx context.Context, client, n int) (failure string)

// Result is what the clients of one round saw.
type Result struct {
	Clients  int
	Calls    int // successes
	Elapsed  time.Duration
	Failures map[string]int

	latencies []time.Duration // of successes, sorted
}

// Rate is successes a second.
func (r *Result) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Calls) / r.Elapsed.Seconds()
}

// Quantile is the latency that the share q (0 to 1) of the successes did not
// exceed; 0 without any.
func (r *Result) Quantile(q float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(int(q*float64(len(r.latencies))), len(r.latencies)-1)]
}

// Failed is the number of failures.
func (r *Result) Failed() int {
	total := 0
	for _, n := range r.Failures {
		total += n
	}
	return total
}

// Drive has clients make calls back to back for d, each client one at a time,
// and waits for the last answers, whose time counts.
func Drive(ctx context.Context, now func() time.Time, clients int, d time.Duration, call Call) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type seen struct {
		latencies []time.Duration
		failures  map[string]int
	}
	all := make([]seen, clients)
	start := now()
	deadline := start.Add(d)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			s := seen{failures: map[string]int{}}
			for n := 0; ctx.Err() == nil; n++ {
				begun := now()
				if !begun.Before(deadline) {
					break
				}
				if failure := call(ctx, client, n); failure != "" {
					s.failures[failure]++
					continue
				}
				s.latencies = append(s.latencies, now().Sub(begun))
			}
			all[client] = s
		})
	}
	wg.Wait()
	r := Result{Clients: clients, Elapsed: now().Sub(start), Failures: map[string]int{}}
	for _, s := range all {
		r.latencies = append(r.latencies, s.latencies...)
		for word, n := range s.failures {
			r.Failures[word] += n
		}
	}
	slices.Sort(r.latencies)
	r.Calls = len(r.latencies)
	return r
}

// Merge adds up rounds of the same kind: failures are summed, latencies joined.
func Merge(rounds []Result) Result {
	var out Result
	out.Failures = map[string]int{}
	for _, r := range rounds {
		out.Clients = r.Clients
		out.Calls += r.Calls
		out.Elapsed += r.Elapsed
		out.latencies = append(out.latencies, r.latencies...)
		for word, n := range r.Failures {
			out.Failures[word] += n
		}
	}
	slices.Sort(out.latencies)
	return out
}

// Words are the failures' words in order.
func (r *Result) Words() []string { return slices.Sorted(maps.Keys(r.Failures)) }

// Median is the middle of values, the mean of the two middle ones when they are
// even in number; 0 without any.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
