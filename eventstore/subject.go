package eventstore

import (
	"fmt"
	"strconv"
	"strings"

	"comanda.internal/domain"
)

// slots is how many slots there are; a partition has a contiguous range of them.
const slots = 256

// The streams. ORDERS-<nn> is one partition of the log.
const (
	StreamIntake     = "INTAKE"
	StreamQuarantine = "QUARANTINE"
	StreamRelay      = "RELAY"
	StreamAudit      = "AUDIT"
	StreamCanary     = "CANARY"

	ordersPrefix  = "ORDERS-"
	canarySubject = "canary"
)

// OrdersStream is the name of a partition's stream, as "ORDERS-00".
func OrdersStream(partition int) string { return fmt.Sprintf("%s%02d", ordersPrefix, partition) }

// PartitionOf is the partition whose stream has this name; false for a stream that
// is no partition's.
func PartitionOf(name string) (int, bool) {
	text, ok := strings.CutPrefix(name, ordersPrefix)
	partition, err := strconv.ParseUint(text, 10, 8)
	return int(partition), ok && err == nil
}

// partitionOf is the partition of a slot.
func partitionOf(slot byte, partitions int) int { return int(slot) / (slots / partitions) }

// slotSubjects are the subjects of the slots from first on, n of them.
func slotSubjects(first, n int) []string {
	subjects := make([]string, n)
	for i := range subjects {
		subjects[i] = fmt.Sprintf("orders.%02x.*.*", first+i)
	}
	return subjects
}

// PartitionOfSubject is the partition of an order's subject in a log with this many;
// false when it is no order's.
func PartitionOfSubject(subject string, partitions int) (int, bool) {
	slot, ok := slotOf(subject)
	return partitionOf(slot, partitions), ok
}

// ValidPartitions reports whether a log may have n partitions: a power of two up to 256.
func ValidPartitions(n int) bool { return n > 0 && n <= slots && n&(n-1) == 0 }

// PartitionSubjects are the subjects of a partition.
func PartitionSubjects(partition, partitions int) []string {
	n := slots / partitions
	return slotSubjects(partition*n, n)
}

// orderSubject is the one subject of an order.
func orderSubject(tenant domain.TenantID, id domain.OrderID) string {
	return orderPattern(string(tenant), id)
}

// orderPattern is the subject of an order whose tenant may be a wildcard.
func orderPattern(tenant string, id domain.OrderID) string {
	return slotSubject(id.Slot(), tenant, id)
}

func slotSubject(slot byte, tenant string, id domain.OrderID) string {
	const hex = "0123456789abcdef"
	return "orders." + string([]byte{hex[slot>>4], hex[slot&15]}) + "." + tenant + "." + string(id)
}
