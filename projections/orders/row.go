package orders

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"comanda.internal/domain"
	"comanda.internal/domain/order"
	comandav1 "comanda.internal/proto/comanda/v1"
	"comanda.internal/proto/wire"
)

// Row is the order id, whose first event came through source, as its facts make it.
func Row(id domain.OrderID, source domain.SourceID, s *order.State) *comandav1.Order {
	return &comandav1.Order{
		OrderId:         string(id),
		Tenant:          string(s.Identity.Tenant),
		Source:          string(source),
		Provider:        s.Identity.Provider,
		Account:         s.Identity.Account,
		ProviderOrderId: s.Identity.ProviderOrderID,
		Reference:       s.Reference,
		Status:          wire.Status(s.Status),
		Revision:        s.Revision,
		Currency:        s.Currency,
		Total:           wire.Amount(s.Total),
		Paid:            wire.Amount(s.Paid),
		Refunded:        wire.Amount(s.Refunded),
		Freight:         wire.Amount(s.Freight),
		Discount:        wire.Amount(s.Discount),
		Dispute:         s.Dispute,
		RefundRequested: s.RefundRequested,
		Method:          s.Method,
		Phase:           s.Phase,
		Reason:          string(s.Reason),
		Detail:          s.Detail,
		StartedAt:       wire.Time(s.StartedAt),
		ApprovedAt:      wire.Time(s.ApprovedAt),
		UpdatedAt:       wire.Time(s.UpdatedAt),
		RecordedAt:      wire.Time(s.RecordedAt),
		FirstRecordedAt: wire.Time(s.FirstRecordedAt),
		Gap:             s.Gap,
		Conflicts:       wire.EventIDs(s.Conflicts),
		HeldBack:        wire.EventIDs(s.HeldBack),
		Attention:       attention(s.Attention),
		PaymentIds:      s.PaymentIDs,
		AbandonedAt:     wire.Time(s.AbandonedAt),
		Installments:    s.Installments,
		Items:           wire.Items(s.Items),
		Utm:             s.UTM.Map(),
		Shipping:        wire.Shipping(s.Shipping),
		Flags:           s.Flags,
		CustomEvent:     s.CustomEvent,
		Path:            wire.Steps(s.Path),
		MachineVersion:  s.MachineVersion,

		FormerReferences: s.FormerReferences,
	}
}

func attention(items []order.Attention) []*comandav1.Attention {
	if len(items) == 0 {
		return nil
	}
	out := make([]*comandav1.Attention, len(items))
	for i, a := range items {
		out[i] = &comandav1.Attention{Kind: a.Kind, EventId: string(a.Event)}
	}
	return out
}

// Compare says in words in which fields a row is not what state makes it;
// nothing when it is. The row's own id and source are taken as they are.
func Compare(state *order.State, row *comandav1.Order) []string {
	want := Row(domain.OrderID(row.GetOrderId()), domain.SourceID(row.GetSource()), state)
	// Through the wire, so that an empty list and none are the same.
	stored, err := proto.Marshal(want)
	if err != nil {
		return []string{err.Error()}
	}
	want = new(comandav1.Order)
	if err := proto.Unmarshal(stored, want); err != nil {
		return []string{err.Error()}
	}
	if proto.Equal(want, row) {
		return nil
	}
	var problems []string
	fields := want.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if !sameField(f, want, row) {
			problems = append(problems, fmt.Sprintf("%s: the view has %s, the fold %s",
				f.Name(), shown(f, row), shown(f, want)))
		}
	}
	return problems
}

func sameField(f protoreflect.FieldDescriptor, a, b proto.Message) bool {
	x, y := a.ProtoReflect(), b.ProtoReflect()
	return x.Has(f) == y.Has(f) && x.Get(f).Equal(y.Get(f))
}

// shown is a field's value in words, on one line.
func shown(f protoreflect.FieldDescriptor, m proto.Message) string {
	if !m.ProtoReflect().Has(f) {
		return "nothing"
	}
	value := m.ProtoReflect().Get(f)
	if f.IsList() || f.IsMap() || f.Message() != nil {
		return shownAsJSON(f, value, m)
	}
	if e := f.Enum(); e != nil {
		if v := e.Values().ByNumber(value.Enum()); v != nil {
			return string(v.Name())
		}
	}
	return value.String()
}

// shownAsJSON is the value of a field of m that is a message, a list or a map.
func shownAsJSON(f protoreflect.FieldDescriptor, value protoreflect.Value, m proto.Message) string {
	alone := m.ProtoReflect().New()
	alone.Set(f, value)
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(alone.Interface())
	var fields map[string]jsontext.Value
	if err == nil {
		err = json.Unmarshal(text, &fields)
	}
	shown := fields[string(f.Name())]
	if err == nil {
		err = shown.Compact() // protojson's blanks are not the same in every build
	}
	if err != nil {
		return "a value that cannot be shown: " + err.Error()
	}
	return string(shown)
}
