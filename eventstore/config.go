package eventstore

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"comanda.internal/eventstore/privacy"
)

// BatchNever is the [Config].BatchFrom of a log that makes no batches.
const BatchNever = -1

// Config says how the log is opened. The zero value opens what is there, or
// makes a log for a single server.
type Config struct {
	// Partitions of the log, a power of two up to 256. It is fixed when the log
	// is made; 0 is whatever the log has, and for a new one 1, or 8 with replicas.
	Partitions int
	// Replicas of every stream; 0 is 1.
	Replicas int
	// Vault seals quarantined messages. Without one Quarantine is Unavailable.
	Vault *privacy.Vault
	// ReadConn is a connection of its own for replays, so that they do not hold
	// up acknowledgements; nil is the log's.
	ReadConn *nats.Conn
	// Remembered is what others know of the log: the newest event of each
	// partition that a view has read or a scrub has proven. A log that does not hold one of
	// them went backwards, and is refused.
	Remembered []Mark
	// Inspect opens a damaged log to look at it. What would be refused otherwise
	// is among the problems that Verify finds. Nothing may be appended to such a log.
	Inspect bool
	// Existing refuses to make a log where there is none (NotFound).
	Existing bool
	// AppendTimeout bounds one try of an append; 0 is 3 s.
	AppendTimeout time.Duration
	// AppendTries is how often one append is sent when the answer stays away; 0 is 3.
	AppendTries int
	// BatchFrom is the queue from which a partition's events go as atomic batches;
	// 0 is 4 where batches are staged in memory and else 16, BatchNever sends every
	// event at once and singly. For measurements.
	BatchFrom int

	// Files is the directory in which an embedded server keeps a stream (natsnode's
	// Files), to replay the log from; nil: the server is asked.
	Files func(stream string) string
	// BulkFrom is how many events are read from files, or as a snapshot of the
	// partition, rather than by a consumer; 0 is 1,000 from files and else 10,000.
	BulkFrom uint64

	// StageBatches has the server stage the atomic batches of these streams in memory
	// and reports whether it does (natsnode's StageBatches). Open calls it before
	// anything is published; nil: the disk it is.
	StageBatches func(streams ...string) (inMemory bool, err error)

	// Health is why the server cannot write, as far as it says so (natsnode's
	// Health); nil: it is not asked.
	Health func() error
	// GiveUp is after how long of not being able to write Watch ends; 0: never.
	GiveUp time.Duration
	// Clock is asked how long that was; it is required with GiveUp.
	Clock func() time.Time

	// AfterCreate runs when streams were created (natsnode's SyncDirs); nil: nothing.
	AfterCreate func() error
	Logger      *slog.Logger          // nil discards
	Registerer  prometheus.Registerer // nil: no metrics
}

func (c *Config) setDefaults() {
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.AppendTimeout == 0 {
		c.AppendTimeout = 3 * time.Second
	}
	if c.AppendTries == 0 {
		c.AppendTries = 3
	}
	if c.BulkFrom == 0 {
		c.BulkFrom = snapshotFrom
		if c.Files != nil {
			c.BulkFrom = filesFrom
		}
	}
	nothing := func() error { return nil }
	if c.StageBatches == nil {
		c.StageBatches = func(...string) (bool, error) { return false, nil }
	}
	if c.Health == nil {
		c.Health = nothing
	}
	if c.Clock == nil {
		c.Clock = func() time.Time { return time.Time{} }
	}
	if c.AfterCreate == nil {
		c.AfterCreate = nothing
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Validate joins every mistake of c.
func (c *Config) Validate() error {
	var mistakes []error
	if c.Partitions < 0 || c.Partitions > slots || c.Partitions&(c.Partitions-1) != 0 {
		mistakes = append(mistakes, fmt.Errorf("partitions is a power of two up to %d, not %d", slots, c.Partitions))
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		mistakes = append(mistakes, fmt.Errorf("replicas is 1 to 5, not %d", c.Replicas))
	}
	if c.AppendTimeout < 0 || c.AppendTries < 0 {
		mistakes = append(mistakes, errors.New("append timeout and tries are not negative"))
	}
	if c.BatchFrom < BatchNever || c.BatchFrom == 1 {
		mistakes = append(mistakes, fmt.Errorf("batch from is 2 or more, 0 or never, not %d", c.BatchFrom))
	}
	if c.GiveUp < 0 || c.GiveUp > 0 && c.Clock == nil {
		mistakes = append(mistakes, errors.New("give up is not negative, and needs a clock"))
	}
	return errors.Join(mistakes...)
}

// newPartitions is how many partitions a new log gets.
func (c *Config) newPartitions() int {
	switch {
	case c.Partitions > 0:
		return c.Partitions
	case c.Replicas > 1:
		return 8
	default:
		return 1
	}
}
