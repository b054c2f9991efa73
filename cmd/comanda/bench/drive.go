package bench

import (
	"context"
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
	// Also are figures that are no rate or latency, by their names in [Row].Figures.
	Also map[string]float64

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
	return At(r.latencies, q)
}

// At is the quantile q (0 to 1) of sorted; 0 of none.
func At(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// Failed is the number of failures.
func (r *Result) Failed() int {
	total := 0
	for _, n := range r.Failures {
		total += n
	}
	return total
}

// Load is how much is asked of what is measured.
type Load struct {
	Clients  int
	Duration time.Duration
	// PerSecond is the calls a second of all clients together; 0 is as many as they
	// can. A call that begins late, because its client still waited for the answer
	// before, counts from when it should have begun.
	PerSecond int
}

// due is when a client's call should begin; the zero time is at once.
func (l *Load) due(start time.Time, client, n int) time.Time {
	if l.PerSecond == 0 {
		return time.Time{}
	}
	return start.Add(time.Duration(n*l.Clients+client) * time.Second / time.Duration(l.PerSecond))
}

// Drive has the load's clients make calls, each client one at a time, and waits
// for the last answers, whose time counts.
func Drive(ctx context.Context, now func() time.Time, load Load, call Call) Result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type seen struct {
		latencies []time.Duration
		failures  map[string]int
	}
	all := make([]seen, load.Clients)
	start := now()
	deadline := start.Add(load.Duration)
	var wg sync.WaitGroup
	for client := range load.Clients {
		wg.Go(func() {
			s := seen{failures: map[string]int{}}
			for n := 0; ctx.Err() == nil; n++ {
				begun := now()
				early := time.Duration(0)
				if due := load.due(start, client, n); !due.IsZero() {
					early, begun = due.Sub(begun), due
				}
				if !begun.Before(deadline) || !sleep(ctx, early) {
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
	r := Result{Clients: load.Clients, Elapsed: now().Sub(start), Failures: map[string]int{}}
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

// sleep waits, and reports false when ctx ended first. It does not wait for less
// than nothing.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Timed is one round without clients: work that says how much of it there was.
func Timed(now func() time.Time, work func() (calls int, err error)) (Result, error) {
	start := now()
	calls, err := work()
	elapsed := now().Sub(start)
	return Result{Calls: calls, Elapsed: elapsed, Failures: map[string]int{}, latencies: []time.Duration{elapsed}}, err
}

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
