package notify

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
	// maxAckPending bounds what was delivered and is not acknowledged. Blocked
	// orders do not count: what they hold is acknowledged.
	maxAckPending = 4096
)

// durable is an endpoint's JetStream consumer on one partition.
type durable struct {
	stream   string
	name     string
	consumer jetstream.Consumer
	created  bool
	// since is the sequence of the first event that the endpoint may be told.
	since uint64
	// pin is the last pin that a message gave us: while the server names it too,
	// this process holds the durable.
	pin atomic.Pointer[string]
}

// partitions are the log's streams, by number.
func partitions(ctx context.Context, js jetstream.JetStream) ([]string, error) {
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

// openDurable finds the endpoint's consumer on stream, or makes it so that it
// starts after what is stored now. An existing one keeps its place.
func openDurable(ctx context.Context, js jetstream.JetStream, stream string, e Endpoint, cfg *Config) (*durable, error) {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", stream, err)
	}
	want := jetstream.ConsumerConfig{
		Durable: "notify-" + e.ID, Description: "notifications of endpoint " + e.ID,
		FilterSubject: "orders.*." + string(e.Tenant) + ".*",
		AckPolicy:     jetstream.AckExplicitPolicy, AckWait: cfg.AckWait, MaxDeliver: -1, MaxAckPending: maxAckPending,
		PriorityPolicy: jetstream.PriorityPolicyPinned, PriorityGroups: []string{pinGroup}, PinnedTTL: cfg.PinTTL,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
	}
	existing, err := s.Consumer(ctx, want.Durable)
	created := errors.Is(err, jetstream.ErrConsumerNotFound)
	switch {
	case err == nil:
		want.OptStartSeq = existing.CachedInfo().Config.OptStartSeq
	case created:
		want.OptStartSeq = s.CachedInfo().State.LastSeq + 1
	default:
		return nil, fmt.Errorf("open %s of %s: %w", want.Durable, stream, err)
	}
	consumer, err := s.CreateOrUpdateConsumer(ctx, want)
	if err != nil {
		return nil, fmt.Errorf("make %s of %s: %w", want.Durable, stream, err)
	}
	return &durable{stream: stream, name: want.Durable, consumer: consumer, created: created, since: want.OptStartSeq}, nil
}

// arrival is an event as the durable delivered it.
type arrival struct {
	rec  domain.Recorded
	msg  jetstream.Msg
	from *durable
}

// ack tells the server that the endpoint, or a blockade, has the event. It is
// not waited for: one that is lost means a redelivery, which is harmless.
func (a *arrival) ack() error {
	if err := a.msg.Ack(); err != nil {
		return fmt.Errorf("acknowledge %s: %w", a.rec.Event.ID, err)
	}
	return nil
}

// pull hands every message of d to handle until ctx ends. The
// expiry is of one pull, which renews the pin; well below the pin's own.
func (d *durable) pull(ctx context.Context, expiry time.Duration, handle func(jetstream.Msg)) error {
	messages, err := d.consumer.Messages(
		jetstream.PullMaxMessages(pullBatch), jetstream.PullExpiry(expiry), jetstream.PullPriorityGroup(pinGroup))
	if err != nil {
		return fmt.Errorf("pull from %s of %s: %w", d.name, d.stream, err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pull from %s of %s: %w", d.name, d.stream, err)
		}
		if pin := msg.Headers().Get(pinHeader); pin != "" {
			d.pin.Store(&pin)
		}
		handle(msg)
	}
}

// floor is the sequence up to which everything was acknowledged.
func (d *durable) floor(ctx context.Context) (uint64, error) {
	info, err := d.consumer.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for %s of %s: %w", d.name, d.stream, err)
	}
	return info.AckFloor.Stream, nil
}

// unpin lets go of the durable, if this process holds it, so that the next need
// not wait for the pin to expire.
func (d *durable) unpin(ctx context.Context, js jetstream.JetStream) error {
	pin := d.pin.Load()
	if pin == nil {
		return nil
	}
	info, err := d.consumer.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask for %s of %s: %w", d.name, d.stream, err)
	}
	held := slices.ContainsFunc(info.PriorityGroups, func(g jetstream.PriorityGroupState) bool {
		return g.Group == pinGroup && g.PinnedClientID == *pin
	})
	if !held {
		return nil
	}
	s, err := js.Stream(ctx, d.stream)
	if err != nil {
		return fmt.Errorf("open %s: %w", d.stream, err)
	}
	if err := s.UnpinConsumer(ctx, d.name, pinGroup); err != nil {
		return fmt.Errorf("unpin %s of %s: %w", d.name, d.stream, err)
	}
	return nil
}
