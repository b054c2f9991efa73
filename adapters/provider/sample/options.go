package sample

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrUnknownStatus says that a platform's documents know no such status. The
// errors of the Sample functions wrap it and list those that there are.
var ErrUnknownStatus = errors.New("unknown status")

// UnknownStatus is [ErrUnknownStatus] with the statuses that there are.
func UnknownStatus(provider, status string, known []string) error {
	return fmt.Errorf("%s sample: %w %q: there are %s", provider, ErrUnknownStatus, status, strings.Join(known, ", "))
}

// Options say what a synthetic webhook is about. The zero value of each but
// Status is filled from the others.
type Options struct {
	Status  string // one of the provider's SampleStatuses
	OrderID string // the platform's own; made from Seed when empty
	// Reference is the merchant's code for the purchase; made from OrderID when empty.
	Reference string
	// At is when the status came to be; a fixed moment of 2026 when zero.
	At time.Time
	// CreatedAt and ApprovedAt are the order's earlier dates. Pass those of the
	// earlier messages of the same order, so that all of them tell one story;
	// when zero they lie shortly before At.
	CreatedAt, ApprovedAt time.Time
	// Total is in minor units; made from Seed and OrderID when 0.
	Total int64
	// Seed and OrderID choose everything else: buyer, items, sums.
	Seed uint64
}

// How long before a status the earlier dates lie by default, in whole seconds as
// the platforms write them.
const (
	createdBefore  = 5 * time.Minute
	approvedBefore = 2 * time.Minute
)

// defaultAt is the moment of a status that names none.
var defaultAt = time.Date(2026, time.May, 9, 17, 32, 14, 0, time.UTC)
