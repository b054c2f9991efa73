package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/adapters/durable"
	"comanda.internal/domain"
)

// The bounds of a group and of its members.
const (
	DefaultAckWait       = 30 * time.Second
	MinAckWait           = time.Second
	MaxAckWait           = 12 * time.Hour
	DefaultMaxDeliveries = 5
	MaxDeliveries        = 1000
	MaxCredits           = 1000
	MaxRetryAfter        = 7 * 24 * time.Hour
	MaxReason            = 200 // characters
	maxName              = 40
)

// Group is what a group wants and allows.
type Group struct {
	Name string `json:"name"`
	// Filter is the filter in the form of whoever made it; see [Deps]. Tenants are
	// those that it names, which bound what is read of the log; none: all.
	Filter  []byte            `json:"filter,omitempty"`
	Tenants []domain.TenantID `json:"tenants,omitempty"`
	// AckWait is how long a member has to answer.
	AckWait time.Duration `json:"ack_wait"`
	// MaxDeliveries is how often an event is given before it is parked.
	MaxDeliveries int       `json:"max_deliveries"`
	CreatedAt     time.Time `json:"created_at"`
}

func (g *Group) setDefaults() {
	if g.AckWait == 0 {
		g.AckWait = DefaultAckWait
	}
	if g.MaxDeliveries == 0 {
		g.MaxDeliveries = DefaultMaxDeliveries
	}
}

// ValidName reports whether name may be a group's: 1 to 40 of a-z, 0-9 and -.
func ValidName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// record is a group as the bucket has it.
type record struct {
	Group

	// Generation names the durables and what is held. It grows.
	Generation int64 `json:"generation"`
	// After is where the generation began, by partition.
	After []uint64 `json:"after"`
	// Deleting says that the group is being removed.
	Deleting bool `json:"deleting,omitempty"`

	stamp uint64
}

func (r *record) after(partition int) uint64 {
	if partition < len(r.After) {
		return r.After[partition]
	}
	return 0
}

// durables is the prefix of the names of a group's durables of every generation, which
// no other group's has: there is no _ in a name.
func durables(group string) string { return "group_" + group + "_" }

func (r *record) durable() string { return durables(r.Name) + strconv.FormatInt(r.Generation, 10) }

const (
	groupPrefix = "g."
	holdPrefix  = "h."
	pleaPrefix  = "w."
)

// holdsOf is the prefix of what a group holds, in every generation.
func holdsOf(group string) string { return holdPrefix + group + "." }

// holds is the prefix of what the generation holds.
func (r *record) holds() string { return holdsOf(r.Name) + strconv.FormatInt(r.Generation, 10) + "." }

// pleasOf is the prefix of what the members of a group are asked for, in every generation.
func pleasOf(group string) string { return pleaPrefix + group + "." }

// pleas is the prefix of what the generation's members are asked for, by partition.
func (r *record) pleas() string { return pleasOf(r.Name) + strconv.FormatInt(r.Generation, 10) + "." }

// read is the group's record. The error's kind is NotFound when there is none.
func (g *Groups) read(ctx context.Context, name string) (*record, error) {
	r := new(record)
	var err error
	if r.stamp, err = g.book.Get(ctx, name, r); err != nil {
		return nil, fmt.Errorf("read group %s: %w", name, err)
	}
	if r.stamp == 0 || r.Deleting {
		return nil, domain.Errorf(domain.NotFound, "group %s: there is none", name)
	}
	return r, nil
}

// open finds or makes the durables of r, by partition.
func (g *Groups) open(ctx context.Context, r *record) ([]*durable.Consumer, error) {
	streams, err := durable.Partitions(ctx, g.deps.JetStream)
	if err != nil {
		return nil, fmt.Errorf("open group %s: %w", r.Name, err)
	}
	consumers := make([]*durable.Consumer, len(streams))
	created := false
	for p, stream := range streams {
		consumers[p], err = durable.Open(ctx, g.deps.JetStream, stream, durable.Spec{
			Name: r.durable(), Description: "consumer group " + r.Name, Tenants: r.Tenants, Since: r.after(p) + 1,
			AckWait: g.cfg.AckWait, MaxAckPending: g.cfg.MaxAckPending, PinTTL: g.cfg.PinTTL,
		})
		if err != nil {
			return nil, fmt.Errorf("open group %s: %w", r.Name, err)
		}
		created = created || consumers[p].Created
	}
	if created && g.deps.AfterCreate != nil {
		if err := g.deps.AfterCreate(); err != nil {
			return nil, fmt.Errorf("group %s: after its durables were made: %w", r.Name, err)
		}
	}
	return consumers, nil
}

// sweep removes the durables and what is held of all generations but keep.
func (g *Groups) sweep(ctx context.Context, name string, keep *record) error {
	streams, err := durable.Partitions(ctx, g.deps.JetStream)
	if err != nil {
		return fmt.Errorf("sweep group %s: %w", name, err)
	}
	for _, stream := range streams {
		if err := g.sweepStream(ctx, stream, name, keep); err != nil {
			return fmt.Errorf("remove the durables of group %s from %s: %w", name, stream, err)
		}
	}
	remove := func(entry jetstream.KeyValueEntry) error {
		if keep != nil && (strings.HasPrefix(entry.Key(), keep.holds()) || strings.HasPrefix(entry.Key(), keep.pleas())) {
			return nil
		}
		err := durable.Book{KV: g.kv}.Remove(ctx, entry.Key(), entry.Revision())
		if errors.Is(err, durable.ErrChanged) {
			err = nil // by a desk that is about to end; nobody asks for it
		}
		return err //nolint:wrapcheck // the book names the key
	}
	if err := g.each(ctx, pleasOf(name), remove); err != nil {
		return err
	}
	return g.each(ctx, holdsOf(name), remove)
}

func (g *Groups) sweepStream(ctx context.Context, stream, name string, keep *record) error {
	s, err := g.deps.JetStream.Stream(ctx, stream)
	if err != nil {
		return err //nolint:wrapcheck // by sweep
	}
	lister := s.ConsumerNames(ctx)
	var old []string
	for consumer := range lister.Name() {
		if strings.HasPrefix(consumer, durables(name)) && (keep == nil || consumer != keep.durable()) {
			old = append(old, consumer)
		}
	}
	if err := lister.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return err //nolint:wrapcheck // by sweep
	}
	for _, consumer := range old {
		if err := s.DeleteConsumer(ctx, consumer); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err //nolint:wrapcheck // by sweep
		}
	}
	return nil
}

// each hands every record below prefix to handle.
func (g *Groups) each(ctx context.Context, prefix string, handle func(jetstream.KeyValueEntry) error) (err error) {
	watcher, err := g.kv.Watch(ctx, prefix+">", jetstream.IgnoreDeletes())
	if err != nil {
		return fmt.Errorf("read bucket %s: %w", Bucket, err)
	}
	defer func() { err = errors.Join(err, watcher.Stop()) }()
	entries, err := initial(ctx, watcher)
	if err != nil {
		return err
	}
	slices.SortFunc(entries, func(a, b jetstream.KeyValueEntry) int { return strings.Compare(a.Key(), b.Key()) })
	for _, entry := range entries {
		if err := handle(entry); err != nil {
			return err
		}
	}
	return nil
}

// initial are the records that were there when the watch began.
func initial(ctx context.Context, watcher jetstream.KeyWatcher) ([]jetstream.KeyValueEntry, error) {
	var entries []jetstream.KeyValueEntry
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return nil, domain.Errorf(domain.Unavailable, "read bucket %s: the connection was closed", Bucket)
			}
			if entry == nil {
				return entries, nil
			}
			entries = append(entries, entry)
		case <-ctx.Done():
			return nil, ctx.Err() //nolint:wrapcheck // the caller's own
		}
	}
}
