package checkout

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// The names that others know (DESIGN section 8).
const (
	// Stream holds what was published and is not yet recorded.
	Stream = "INTAKE"
	// Durable is the consumer that all instances share.
	Durable = "comanda"

	intakePrefix  = "intake."
	outcomePrefix = "outcome."
)

// Config bounds the work. The zero value is the defaults.
type Config struct {
	// Workers is how many orders are recorded at once. Default 256.
	Workers int `yaml:"workers"`
	// MaxAckPending is how many messages are taken from the stream and not yet
	// done, those that wait for another try among them. Default 512.
	MaxAckPending int `yaml:"max_ack_pending"`
	// MaxBody is the greatest body in bytes: 256 KiB, as over HTTP.
	MaxBody int `yaml:"max_body"`
	// RecordTimeout bounds one try. Default 10 s.
	RecordTimeout time.Duration `yaml:"record_timeout"`
	// AckWait is when the server gives out again what a process had in hand
	// that died; a living one keeps what it has. Nothing else is taken meanwhile
	// if that was MaxAckPending. Default 15 s.
	AckWait time.Duration `yaml:"ack_wait"`
	// RetryDelay is the first wait after a failed try; it doubles up to
	// MaxRetryDelay. Defaults 1 s and 1 min.
	RetryDelay    time.Duration `yaml:"retry_delay"`
	MaxRetryDelay time.Duration `yaml:"max_retry_delay"`
	// MaxTries is after how many tries a message goes to quarantine that is not
	// recorded for another reason than that the log is away. Default 20, which is a
	// quarter of an hour.
	MaxTries int `yaml:"max_tries"`
	// MaxRequests is how many requests are worked on at once, and as many may wait
	// for an order; one more is answered 429. Default 4096.
	MaxRequests int `yaml:"max_requests"`
	// MaxWait is how long a request may wait for an order. Default 5 min.
	MaxWait time.Duration `yaml:"max_wait"`
}

const maxBody = 256 << 10

func (c *Config) setDefaults() {
	setDefault(&c.Workers, 256)
	setDefault(&c.MaxAckPending, 512)
	setDefault(&c.MaxBody, maxBody)
	setDefault(&c.RecordTimeout, 10*time.Second)
	setDefault(&c.AckWait, 15*time.Second)
	setDefault(&c.RetryDelay, time.Second)
	setDefault(&c.MaxRetryDelay, time.Minute)
	setDefault(&c.MaxTries, 20)
	setDefault(&c.MaxRequests, 4096)
	setDefault(&c.MaxWait, 5*time.Minute)
}

// StopTime bounds how long a Run of this package goes on after its context has ended: one try that
// was begun, and then what the server has to confirm, which are at most three waits.
func (c Config) StopTime() time.Duration {
	c.setDefaults()
	return c.RecordTimeout + 3*apiWait
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate joins everything that is wrong with c, each naming its field.
func (c Config) Validate() error {
	c.setDefaults()
	var errs []error
	for _, f := range []struct {
		name       string
		value, max int
	}{
		{"workers", c.Workers, 1024},
		{"max_ack_pending", c.MaxAckPending, 65536},
		{"max_body", c.MaxBody, maxBody},
		{"max_tries", c.MaxTries, 1000},
		{"max_requests", c.MaxRequests, 65536},
	} {
		if f.value < 1 || f.value > f.max {
			errs = append(errs, fmt.Errorf("%s: %d, want 1 to %d", f.name, f.value, f.max))
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"record_timeout", c.RecordTimeout},
		{"ack_wait", c.AckWait},
		{"retry_delay", c.RetryDelay},
		{"max_retry_delay", c.MaxRetryDelay},
		{"max_wait", c.MaxWait},
	} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("%s: %s, want a positive duration", f.name, f.value))
		}
	}
	if c.AckWait > 0 && c.AckWait <= c.RecordTimeout {
		errs = append(errs, fmt.Errorf("ack_wait: %s, want more than record_timeout (%s)", c.AckWait, c.RecordTimeout))
	}
	return errors.Join(errs...)
}

func (c *Config) consumer() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       Durable,
		Description:   "Comanda's intake",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       c.AckWait,
		MaxDeliver:    -1,
		MaxAckPending: c.MaxAckPending,
		DeliverPolicy: jetstream.DeliverAllPolicy,
		ReplayPolicy:  jetstream.ReplayInstantPolicy,
	}
}
