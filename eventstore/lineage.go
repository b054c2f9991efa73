package eventstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"comanda.internal/domain"
	"comanda.internal/eventstore/stream"
)

const (
	metaLog        = "comanda-log"
	metaEpoch      = "comanda-epoch"
	metaPartitions = "comanda-partitions"
	metaPartition  = "comanda-partition"
	metaHonoured   = "comanda-honoured"
	metaOrigin     = "comanda-origin"
	metaMirror     = "comanda-mirror"
)

// Lineage is what makes a log this log. It is in the metadata of every
// partition's stream, and only a restore or a repartition, which make new streams, or
// the promotion of a mirror change it.
type Lineage struct {
	// ID is random, as "log_" and 26 of a-z and 2-7. A restore keeps it.
	ID string
	// Epoch is 1 in a new log and greater after each restore. No two restores
	// have the same, so that two logs restored from one backup, which go different
	// ways from there, are told apart.
	Epoch      uint64
	Partitions int
	// Honoured has the backup's head for every epoch that led to this one: what
	// was said of positions up to there holds here too.
	Honoured map[uint64]domain.Position
	// Origin is the log that this one was repartitioned from; "" of all others.
	Origin string
	// Mirror says that this is a copy that is kept up to date (package mirror):
	// nobody else may write to it before it is promoted, in an epoch of its own.
	Mirror bool
}

// NewLineage is that of a new log.
func NewLineage(partitions int) Lineage {
	return Lineage{ID: "log_" + strings.ToLower(rand.Text()), Epoch: 1, Partitions: partitions}
}

// ReadLineage is that of the log on conn. NotFound: there is none; Refused: there
// are streams of that name which are not Comanda's.
func ReadLineage(ctx context.Context, conn *nats.Conn) (Lineage, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return Lineage{}, domain.Errorf(domain.Internal, "read who the log is: %w", err)
	}
	first, err := stream.Await(ctx, js, OrdersStream(0))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return Lineage{}, domain.Errorf(domain.NotFound, "there is no log: %s does not exist", OrdersStream(0))
	case err != nil:
		return Lineage{}, domain.Errorf(domain.Unavailable, "read who the log is: %w", err)
	}
	return ParseLineage(first.Config.Metadata)
}

// Live refuses a mirror that was not promoted: what anybody else writes to it is
// not in the log that it is a copy of.
func (g Lineage) Live() error {
	if !g.Mirror {
		return nil
	}
	return domain.Errorf(domain.Refused,
		"this is a mirror of %s, epoch %d: stop what it is a copy of, and promote it with 'comanda log mirror --promote'", g.ID, g.Epoch)
}

// Restored is the lineage of a log that is restored from a backup up to head, or
// of a mirror that was promoted there.
func (g Lineage) Restored(head domain.Position) Lineage {
	var branch [4]byte
	_, _ = rand.Read(branch[:]) // never fails
	honoured := make(map[uint64]domain.Position, len(g.Honoured)+1)
	maps.Copy(honoured, g.Honoured)
	honoured[g.Epoch] = head
	g.Epoch, g.Honoured, g.Mirror = g.Epoch+1+uint64(binary.BigEndian.Uint32(branch[:])), honoured, false
	return g
}

// Repartitioned is the lineage of a log with the same events in other places: a
// new log, since no position of the old one means anything in it.
func (g Lineage) Repartitioned(partitions int) Lineage {
	fresh := NewLineage(partitions)
	fresh.Origin = g.ID
	return fresh
}

// Metadata is what the stream of a partition carries.
func (g Lineage) Metadata(partition int) map[string]string {
	meta := map[string]string{
		metaLog:        g.ID,
		metaEpoch:      strconv.FormatUint(g.Epoch, 10),
		metaPartitions: strconv.Itoa(g.Partitions),
		metaPartition:  strconv.Itoa(partition),
	}
	if len(g.Honoured) > 0 {
		heads := make([]string, 0, len(g.Honoured))
		for _, epoch := range slices.Sorted(maps.Keys(g.Honoured)) {
			heads = append(heads, strconv.FormatUint(epoch, 10)+":"+g.Honoured[epoch].String())
		}
		meta[metaHonoured] = strings.Join(heads, ",")
	}
	if g.Origin != "" {
		meta[metaOrigin] = g.Origin
	}
	if g.Mirror {
		meta[metaMirror] = "true"
	}
	return meta
}

// ParseLineage reads what Metadata wrote. Metadata of anything else is an error
// of kind Refused.
func ParseLineage(meta map[string]string) (Lineage, error) {
	refused := domain.Errorf(domain.Refused, "stream %s exists and is not Comanda's: it does not say which log it is", OrdersStream(0))
	partitions, err := strconv.ParseUint(meta[metaPartitions], 10, 16)
	if err != nil || partitions > slots || !ValidPartitions(int(partitions)) || meta[metaLog] == "" {
		return Lineage{}, refused
	}
	g := Lineage{ID: meta[metaLog], Partitions: int(partitions), Origin: meta[metaOrigin], Mirror: meta[metaMirror] != ""}
	if g.Epoch, err = strconv.ParseUint(meta[metaEpoch], 10, 64); err != nil {
		return Lineage{}, refused
	}
	if meta[metaHonoured] == "" {
		return g, nil
	}
	g.Honoured = make(map[uint64]domain.Position)
	for text := range strings.SplitSeq(meta[metaHonoured], ",") {
		number, head, _ := strings.Cut(text, ":")
		epoch, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return Lineage{}, refused
		}
		if g.Honoured[epoch], err = domain.ParsePosition(head); err != nil {
			return Lineage{}, refused
		}
	}
	return g, nil
}

// PartitionDescription is the description of a partition's stream.
func PartitionDescription(partition, partitions int) string {
	return fmt.Sprintf("Comanda's log, partition %d of %d", partition, partitions)
}
