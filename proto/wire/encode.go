package wire

import (
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
)

// Marshal encodes a message so that it has the same bytes every time: those that
// the log stores and those that the views keep.
func Marshal(m proto.Message) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

var errText = errors.New("a text is not valid UTF-8")

// scratch holds events while they are encoded, so that what is kept of them has their size.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// Encode is e as the log stores it: what [Marshal] gives of its Envelope. An error says
// that a text is not valid UTF-8, which Marshal refuses too.
func Encode(e *domain.Event) ([]byte, error) {
	room, _ := scratch.Get().(*[]byte)
	defer scratch.Put(room)
	a := Appender{Bytes: (*room)[:0]}
	a.event(e)
	*room = a.Bytes

	const most = 64 // of all but the lengthy: five tags and lengths, and a hash
	a.Bytes = make([]byte, 0, most+len(*room)+len(e.KeyID)+len(e.SealedPersonal)+len(e.SealedRaw))
	a.Binary(1, *room)
	a.Binary(2, e.PrevHash[:])
	a.Text(3, e.KeyID)
	a.Binary(4, e.SealedPersonal)
	a.Binary(5, e.SealedRaw)
	if a.invalid {
		return nil, errText
	}
	return a.Bytes, nil
}

// EncodeEvent is e without its sealed parts, as Comanda tells others: what [Marshal] gives
// of its Event. An error is as of Encode.
func EncodeEvent(e *domain.Event) ([]byte, error) {
	a := Appender{Bytes: make([]byte, 0, 1024)} // enough for most
	a.event(e)
	if a.invalid {
		return nil, errText
	}
	return a.Bytes, nil
}

// Encoded is what EncodeEvent gives of r.
func Encoded(r *domain.Recorded) ([]byte, error) {
	if r.Encoded != nil {
		return r.Encoded, nil
	}
	return EncodeEvent(&r.Event)
}

// AppendPersonal appends p as it is sealed: the message Personal. An error is as of Encode.
func AppendPersonal(b []byte, p *domain.Personal) ([]byte, error) {
	a := Appender{Bytes: b}
	a.personal(p)
	if a.invalid {
		return nil, errText
	}
	return a.Bytes, nil
}

// AppendRaw appends a message as received as it is sealed: the message Raw. An error is as
// of Encode.
func AppendRaw(b []byte, contentType string, body []byte) ([]byte, error) {
	a := Appender{Bytes: b}
	a.Text(1, contentType)
	a.Binary(2, body)
	if a.invalid {
		return nil, errText
	}
	return a.Bytes, nil
}

// event writes all but the sealed parts.
func (a *Appender) event(e *domain.Event) {
	a.Text(1, string(e.ID))
	a.Text(2, string(e.OrderID))
	a.Text(3, string(e.Tenant))
	a.Text(4, string(e.Source))
	a.Text(5, e.Fact.Provider)
	a.Text(6, e.Fact.Account)
	a.Text(7, e.Fact.ProviderOrderID)
	a.Text(8, e.Fact.Reference)
	a.Number(9, e.Revision)
	a.Number(10, uint64(Kind(e.Fact.Kind))) //nolint:gosec // an enum
	a.decided(e)
	a.Time(21, e.EffectiveAt)
	a.Flag(22, e.TimeInferred)
	a.Text(23, e.Fact.OccurredText)
	a.Time(24, e.ReceivedAt)
	a.Time(25, e.RecordedAt)
	a.Flag(26, e.Fact.Inferred)
	a.Text(27, e.Fact.Key)
	a.Binary(28, e.Digest[:])
	a.said(&e.Fact)
	a.Number(39, uint64(e.MachineVersion))
	a.cause(40, &e.Cause)
}

// decided writes what the fact did.
func (a *Appender) decided(e *domain.Event) {
	a.Number(11, uint64(Verdict(e.Verdict))) //nolint:gosec // an enum
	a.Text(12, e.Why)
	a.Number(13, uint64(Status(e.From))) //nolint:gosec // an enum
	a.Number(14, uint64(Status(e.To)))   //nolint:gosec // likewise
	a.Flag(15, e.Correction)
	a.Steps(16, e.Path)
	a.Flag(17, e.Gap)
	a.Flag(18, e.MoneyChanged)
	for _, id := range e.Opens {
		a.Element(19, string(id))
	}
	for _, id := range e.Closes {
		a.Element(20, string(id))
	}
}

// said writes what the message said.
func (a *Appender) said(f *domain.Fact) {
	a.Text(29, string(f.Reason))
	a.Text(30, f.Detail)
	a.amounts(31, &f.Amounts)
	a.payment(32, &f.Payment)
	a.Items(33, f.Items)
	a.UTM(34, f.UTM)
	a.Shipping(35, f.Shipping)
	a.Text(36, f.CustomEvent)
	a.resolution(37, f.Resolution)
	for _, warning := range f.Warnings {
		a.Element(38, warning)
	}
}
