package orders

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"

	comandav1 "comanda.internal/proto/comanda/v1"
)

// Of a row, what keys of indexes and members of purchases are made of, by field.
const (
	fieldID              = 1
	fieldTenant          = 2
	fieldSource          = 3
	fieldProviderOrderID = 6
	fieldReference       = 7
	fieldStatus          = 8
	fieldCurrency        = 10
	fieldPaid            = 12
	fieldRefunded        = 13
	fieldDispute         = 16
	fieldRecordedAt      = 25
	fieldConflicts       = 27
	fieldAttention       = 29
	fieldFirstRecordedAt = 33
	fieldItems           = 40
	fieldFormer          = 47
)

// skimmer reads of many rows what others are derived from, into one message.
type skimmer struct {
	row             comandav1.Order
	recorded, first timestamppb.Timestamp
	paid, refunded  int64
	attention       comandav1.Attention
	items           []*comandav1.Item // room
}

// skim is the row that is stored, with the fields above and, of its conflicts and
// attention items, at most one each: whether there are any. It is valid until the next call. False: it
// is not in the form that the library writes.
func (s *skimmer) skim(stored []byte) (*comandav1.Order, bool) {
	row := &s.row
	row.OrderId, row.Tenant, row.Source, row.ProviderOrderId, row.Reference, row.Currency, row.Dispute = "", "", "", "", "", "", ""
	row.Status, row.Paid, row.Refunded, row.RecordedAt, row.FirstRecordedAt = 0, nil, nil, nil, nil
	row.Conflicts, row.Attention, row.Items, row.FormerReferences = nil, nil, row.Items[:0], nil
	text, ok := string(stored), true
	whole := eachField(stored, func(field protowire.Number, v uint64, from, to int) {
		if to < 0 {
			s.number(field, v)
			return
		}
		ok = s.value(field, text[from:to], stored[from:to]) && ok
	})
	return row, whole && ok
}

func (s *skimmer) number(field protowire.Number, v uint64) {
	switch field {
	case fieldStatus:
		s.row.Status = comandav1.OrderStatus(v) //nolint:gosec // as the library reads it
	case fieldPaid:
		s.paid, s.row.Paid = int64(v), &s.paid //nolint:gosec // two's complement
	case fieldRefunded:
		s.refunded, s.row.Refunded = int64(v), &s.refunded //nolint:gosec // likewise
	default:
	}
}

// value takes what has a length: text and its bytes.
func (s *skimmer) value(field protowire.Number, text string, stored []byte) bool {
	row := &s.row
	switch field {
	case fieldID:
		row.OrderId = text
	case fieldTenant:
		row.Tenant = text
	case fieldSource:
		row.Source = text
	case fieldProviderOrderID:
		row.ProviderOrderId = text
	case fieldReference:
		row.Reference = text
	case fieldCurrency:
		row.Currency = text
	case fieldDispute:
		row.Dispute = text
	case fieldConflicts:
		row.Conflicts = append(row.Conflicts[:0], text)
	case fieldAttention:
		row.Attention = append(row.Attention[:0], &s.attention)
	case fieldFormer:
		row.FormerReferences = append(row.FormerReferences, text)
	case fieldRecordedAt:
		row.RecordedAt = &s.recorded
		return skimTime(&s.recorded, stored)
	case fieldFirstRecordedAt:
		row.FirstRecordedAt = &s.first
		return skimTime(&s.first, stored)
	case fieldItems:
		return s.item(text, stored)
	default:
	}
	return true
}

// item takes a line's code and title.
func (s *skimmer) item(text string, stored []byte) bool {
	if len(s.items) == len(s.row.GetItems()) {
		s.items = append(s.items, new(comandav1.Item))
	}
	item := s.items[len(s.row.GetItems())]
	item.Code, item.Title = "", ""
	s.row.Items = append(s.row.Items, item)
	return eachField(stored, func(field protowire.Number, _ uint64, from, to int) {
		switch {
		case to < 0:
		case field == 1:
			item.Code = text[from:to]
		case field == 2:
			item.Title = text[from:to]
		}
	})
}

func skimTime(t *timestamppb.Timestamp, stored []byte) bool {
	t.Seconds, t.Nanos = 0, 0
	return eachField(stored, func(field protowire.Number, v uint64, _, to int) {
		switch {
		case to >= 0:
		case field == 1:
			t.Seconds = int64(v) //nolint:gosec // two's complement
		case field == 2:
			t.Nanos = int32(v) //nolint:gosec // as the library reads it
		}
	})
}

// eachField yields the fields of a message: numbers with to below 0, and where what has
// a length begins and ends. False: it has others, or none that can be read.
func eachField(stored []byte, yield func(field protowire.Number, v uint64, from, to int)) bool {
	for at := 0; at < len(stored); {
		field, kind, n := protowire.ConsumeTag(stored[at:])
		if n < 0 || (kind != protowire.VarintType && kind != protowire.BytesType) {
			return false
		}
		at += n
		v, n := protowire.ConsumeVarint(stored[at:])
		if n < 0 {
			return false
		}
		at += n
		if kind == protowire.VarintType {
			yield(field, v, 0, -1)
			continue
		}
		if v > uint64(len(stored)-at) { //nolint:gosec // not negative
			return false
		}
		yield(field, 0, at, at+int(v)) //nolint:gosec // within stored
		at += int(v)                   //nolint:gosec // likewise
	}
	return true
}
