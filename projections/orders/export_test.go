package orders

import (
	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Keys are those of a row in the indexes.
func Keys(row *comandav1.Order) (keys [][]byte) {
	for n := range indexes {
		keys = append(keys, indexes[n].key(row))
	}
	return keys
}

// Skimmer reads rows one after the other.
type Skimmer = skimmer

// Skim is the row that is stored, as far as others are derived from it.
func (s *skimmer) Skim(stored []byte) (*comandav1.Order, bool) { return s.skim(stored) }

// Keyed makes rows for Keys, one after the other.
type Keyed = keyed

// Row is that of a state.
func (k *keyed) Row(id domain.OrderID, s *order.State) *comandav1.Order { return k.row(id, s) }
