package durable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
)

const (
	// streamPrefix and streamSubject find the partitions of the log.
	streamPrefix  = "ORDERS-"
	streamSubject = "orders.>"

	pinGroup  = "comanda"
	pinHeader = "Nats-Pin-Id"

	pullBatch = 256
)

// Spec says which consumer is wanted on a partition.
type Spec struct {
	Name, Description string
	// Tenants whose events it has; none: all.
	Tenants []domain.TenantID
	// Since is the sequence of its first event, when it is made; 0: what is stored
	// after it was made.
	Since uint64
	// AckWait is how long a message may be neither acknowledged nor in progress.
	AckWait time.Duration
	// MaxAckPending bounds what was delivered and is not acknowledged.
	MaxAckPending int
	// PinTTL is how long an instance that died keeps the consumer.
	PinTTL time.Duration
}

func (s *Spec) config() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable: s.Name, Description: s.Description, OptStartSeq: s.Since,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.AckWait, MaxDeliver: -1, MaxAckPending: s.MaxAckPending,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{pinGroup}, PinnedTTL: s.PinTTL,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
	}
	subjects := Subjects(s.Tenants)
	if c.FilterSubject = subjects[0]; len(subjects) > 1 {
		c.FilterSubject, c.FilterSubjects = "", subjects
	}
	return c
}

// Subjects are those of the tenants' events; of all events, when there are none.
func Subjects(tenants []domain.TenantID) []string {
	if len(tenants) == 0 {
		return []string{streamSubject}
	}
	out := make([]string, len(tenants))
	for i, t := range tenants {
		out[i] = "orders.*." + string(t) + ".*"
	}
	return out
}

// Consumer is a durable consumer on one partition.
type Consumer struct {
	Stream, Name string
	// Created says that it was made just now.
	Created bool
	// Since is the sequence of the first event that it has.
	Since uint64

	js       jetstream.JetStream
	consumer jetstream.Consumer
	// pin is the last pin that a message gave us: while the server names it too,
	// this process holds the consumer.
	pin atomic.Pointer[string]
}

// Partitions are the log's streams, by number.
func Partitions(ctx context.Context, js jetstream.JetStream) ([]string, error) {
	lister := js.StreamNames(ctx, jetstream.WithStreamListSubject(streamSubject))
	var names []string
	for name := range lister.Name() {
		if _, ok := partitionOf(name); ok {
			names = append(names, name)
		}
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return nil, fmt.Errorf("list the log's streams: %w", err)
	}
	if len(names) == 0 {
		return nil, domain.Errorf(domain.Unavailable, "the log has no streams yet")
	}
	slices.SortFunc(names, func(a, b string) int {
		p, _ := partitionOf(a)
		q, _ := partitionOf(b)
		return cmp.Compare(p, q)
	})
	return names, nil
}

// partitionOf is the number in a partition's name.
func partitionOf(stream string) (int, bool) {
	number, ok := strings.CutPrefix(stream, streamPrefix)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(number)
	return n, err == nil
}

// Open finds the consumer on stream, or makes it. An existing one keeps its place,
// and takes over what else the spec says.
func Open(ctx context.Context, js jetstream.JetStream, stream string, spec Spec) (*Consumer, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", stream, err)
	}
	want := spec.config()
	existing, err := s.Consumer(ctx, want.Durable)
	created := errors.Is(err, jetstream.ErrConsumerNotFound)
	switch {
	case err == nil:
		want.OptStartSeq = existing.CachedInfo().Config.OptStartSeq
	case !created:
		return nil, fmt.Errorf("open %s of %s: %w", want.Durable, stream, err)
	case want.OptStartSeq == 0:
		want.OptStartSeq = s.CachedInfo().State.LastSeq + 1
	}
	consumer, err := s.CreateOrUpdateConsumer(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("make %s of %s: %w", want.Durable, stream, err)
	}
	return &Consumer{Stream: stream, Name: want.Durable, js: js, consumer: consumer, Created: created, Since: want.OptStartSeq}, nil
}

// Pull hands every message to handle until ctx ends. The
// expiry is of one pull, which renews the pin; well below the pin's own.
func (c *Consumer) Pull(ctx context.Context, expiry time.Duration, handle func(jetstream.Msg)) error {
	messages, err := c.consumer.Messages(
		jetstream.PullMaxMessages(pullBatch), jetstream.PullExpiry(expiry), jetstream.PullPriorityGroup(pinGroup))
	if err != nil {
		return fmt.Errorf("pull from %s of %s: %w", c.Name, c.Stream, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			giveBack(msg, messages)
			return nil
		}
		if err != nil {
			return fmt.Errorf("pull from %s of %s: %w", c.Name, c.Stream, err)
		}
		if pin := msg.Headers().Get(pinHeader); pin != "" {
			c.pin.Store(&pin)
		}
		handle(msg)
	}
}

// giveBack returns what was pulled and not handled, so that whoever pulls next has it
// at once.
func giveBack(msg jetstream.Msg, messages jetstream.MessagesContext) {
	messages.Drain()
	for err := error(nil); err == nil; msg, err = messages.Next(jetstream.NextMaxWait(time.Second)) {
		if msg != nil {
			_ = msg.Nak() // otherwise it comes again later
		}
	}
}

// Info is what the server knows of the consumer.
func (c *Consumer) Info(ctx context.Context) (*jetstream.ConsumerInfo, error) {
	info, err := c.consumer.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for %s of %s: %w", c.Name, c.Stream, err)
	}
	return info, nil
}

// Floor is the sequence up to which everything was acknowledged.
func (c *Consumer) Floor(ctx context.Context) (uint64, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return 0, err
	}
	return info.AckFloor.Stream, nil
}

// Unpin lets go of the consumer, if this process holds it, so that the next need
// not wait for the pin to expire.
func (c *Consumer) Unpin(ctx context.Context) error {
	pin := c.pin.Load()
	if pin == nil {
		return nil
	}
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	held := slices.ContainsFunc(info.PriorityGroups, func(g jetstream.PriorityGroupState) bool {
		return g.Group == pinGroup && g.PinnedClientID == *pin
	})
	if !held {
		return nil
	}
	s, err := c.js.Stream(ctx, c.Stream)
	if err != nil {
		return fmt.Errorf("open %s: %w", c.Stream, err)
	}
	if err := s.UnpinConsumer(ctx, c.Name, pinGroup); err != nil {
		return fmt.Errorf("unpin %s of %s: %w", c.Name, c.Stream, err)
	}
	return nil
}
