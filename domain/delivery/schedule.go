package delivery

import "time"

// Schedule is the waiting time before each attempt: Schedule[0] before the
// first, Schedule[1] between the first failure and the second attempt, and so
// on. When as many attempts failed as it has entries, the delivery is dead.
type Schedule []time.Duration

// jitter is how far a waiting time may be off, to either side.
const jitter = 0.2

// MaxRetryAfter bounds what an endpoint may ask for: the schedule's longest wait.
const MaxRetryAfter = 24 * time.Hour

// DefaultSchedule is DESIGN section 10's: eleven attempts over a little more
// than three days.
func DefaultSchedule() Schedule {
	return Schedule{
		0, 5 * time.Second, 30 * time.Second, 5 * time.Minute, 30 * time.Minute,
		2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
}

// After is how long to wait after the given number of failed attempts, and
// whether another attempt is to be made at all. random is in [0, 1) and spreads
// the wait evenly over ±20 %, so that the orders which failed together do not
// all come back together. asked is the endpoint's Retry-After, 0 for none: it is
// a lower bound, itself bounded by [MaxRetryAfter], and never makes an attempt
// more.
func (s Schedule) After(failed int, random float64, asked time.Duration) (time.Duration, bool) {
	if failed < 0 || failed >= len(s) {
		return 0, false
	}
	wait := time.Duration(float64(s[failed]) * (1 - jitter + 2*jitter*random))
	return max(wait, min(asked, MaxRetryAfter)), true
}
