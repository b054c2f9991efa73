package wire

import (
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// Decode reads the stored bytes of an Envelope. encoded are those of its event
// as [Marshal] gives them; nil when the log has them in another form, which
// means the same. The event's sealed parts, and encoded, share memory with data.
//
// An error is of kind Corrupt.
func Decode(data []byte) (e domain.Event, encoded []byte, err error) {
	encoded, _, err = DecodeInto(&e, data)
	return e, encoded, err
}

// DecodeInto is Decode into e, whatever e was; the zero event with an error. text is encoded,
// "" for nil, in the memory of the event's own texts.
func DecodeInto(e *domain.Event, data []byte) (encoded []byte, text string, err error) {
	*e = domain.Event{}
	if encoded, text, ok := scanEnvelope(data, e); ok {
		return encoded, text, nil
	}
	var env comandav1.Envelope
	if err := proto.Unmarshal(data, &env); err != nil {
		return nil, "", domain.Errorf(domain.Corrupt, "not an envelope: %w", err)
	}
	*e, err = FromEnvelope(&env)
	return nil, "", err
}

// DecodeEvent reads the encoded bytes of an Event. An error is of kind Corrupt.
func DecodeEvent(encoded []byte) (e domain.Event, err error) {
	_, err = ReadEvent(string(encoded), &e)
	return e, err
}

// ReadEvent is DecodeEvent into e, which is zero; the texts of e share memory with
// encoded. own says that Marshal is known to give the same bytes; false that it may not.
func ReadEvent(encoded string, e *domain.Event) (own bool, err error) {
	if scanEvent(encoded, e) {
		return true, nil
	}
	*e = domain.Event{}
	var p comandav1.Event
	if err := proto.Unmarshal([]byte(encoded), &p); err != nil {
		return false, domain.Errorf(domain.Corrupt, "not an event: %w", err)
	}
	*e, err = FromEvent(&p)
	return false, err
}

// scanEnvelope reads data without a message in between, if each field is there
// once at the most, and its event is as Marshal writes it.
func scanEnvelope(data []byte, e *domain.Event) (encoded []byte, text string, ok bool) {
	fields, ok := fieldsOf(data)
	text = string(fields[1])
	if !ok || !scanEvent(text, e) {
		*e = domain.Event{}
		return nil, "", false
	}
	copy(e.PrevHash[:], fields[2])
	e.KeyID, e.SealedPersonal, e.SealedRaw = string(fields[3]), fields[4], fields[5]
	return fields[1], text, true
}

// fieldsOf are the fields of an envelope by their numbers, if each is there once at the
// most, and those beside the event hold what they should.
func fieldsOf(data []byte) (fields [6][]byte, ok bool) {
	for last := protowire.Number(0); len(data) > 0; {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 || kind != protowire.BytesType || number <= last || int(number) >= len(fields) {
			return fields, false
		}
		value, m := protowire.ConsumeBytes(data[n:])
		if m < 0 {
			return fields, false
		}
		fields[number], last, data = slices.Clip(value), number, data[n+m:]
	}
	return fields, len(fields[2]) == len(domain.Event{}.PrevHash) && utf8.Valid(fields[3])
}

// Split finds in the stored bytes of an Envelope those of its event, and in them the
// order's id, and reads no more: a tenth of what Decode costs, for who decodes later or
// never. ok is false when that takes the whole of Decode. That it is true says nothing of the rest
// of the event, nor that Marshal would give the same bytes. encoded shares memory with data.
func Split(data []byte) (encoded []byte, order domain.OrderID, ok bool) {
	fields, ok := fieldsOf(data)
	if !ok {
		return nil, "", false
	}
	rest := fields[1]
	for number := protowire.Number(1); number <= 2; number++ {
		n, kind, size := protowire.ConsumeTag(rest)
		if size < 0 || n != number || kind != protowire.BytesType {
			return nil, "", false
		}
		value, length := protowire.ConsumeBytes(rest[size:])
		if length < 0 {
			return nil, "", false
		}
		order, rest = domain.OrderID(value), rest[size+length:]
	}
	return fields[1], order, true
}

// Of Event, the fields that may repeat, and those that are never absent.
const (
	repeatedInEvent = 1<<16 | 1<<19 | 1<<20 | 1<<33 | 1<<34 | 1<<38
	neededInEvent   = 1<<10 | 1<<11 | 1<<13 | 1<<14 | 1<<28
)

// scanEvent reads an Event if it is as Marshal writes it. The texts of e share
// memory with in.
func scanEvent(in string, e *domain.Event) bool {
	s := scanner{in: in, repeated: repeatedInEvent}
	var seen uint64
	for s.more() {
		n := s.field()
		seen |= 1 << n
		if text := textOf(e, n); text != nil {
			*text = s.text()
		} else if flag := flagOf(e, n); flag != nil {
			*flag = s.flag()
		} else if at := timeOf(e, n); at != nil {
			*at = s.time()
		} else {
			s.eventField(n, e)
		}
	}
	if s.bad || seen&neededInEvent != neededInEvent {
		return false
	}
	if !e.TimeInferred {
		e.Fact.OccurredAt = e.EffectiveAt
	}
	return true
}

func textOf(e *domain.Event, field uint64) *string {
	switch field {
	case 1:
		return (*string)(&e.ID)
	case 2:
		return (*string)(&e.OrderID)
	case 3:
		return (*string)(&e.Tenant)
	case 4:
		return (*string)(&e.Source)
	case 5:
		return &e.Fact.Provider
	case 6:
		return &e.Fact.Account
	case 7:
		return &e.Fact.ProviderOrderID
	case 8:
		return &e.Fact.Reference
	case 12:
		return &e.Why
	case 23:
		return &e.Fact.OccurredText
	case 27:
		return &e.Fact.Key
	case 29:
		return (*string)(&e.Fact.Reason)
	case 30:
		return &e.Fact.Detail
	case 36:
		return &e.Fact.CustomEvent
	default:
		return nil
	}
}

func flagOf(e *domain.Event, field uint64) *bool {
	switch field {
	case 15:
		return &e.Correction
	case 17:
		return &e.Gap
	case 18:
		return &e.MoneyChanged
	case 22:
		return &e.TimeInferred
	case 26:
		return &e.Fact.Inferred
	default:
		return nil
	}
}

func timeOf(e *domain.Event, field uint64) *time.Time {
	switch field {
	case 21:
		return &e.EffectiveAt
	case 24:
		return &e.ReceivedAt
	case 25:
		return &e.RecordedAt
	default:
		return nil
	}
}

// eventField reads the fields of Event that are neither text, flag nor time.
func (s *scanner) eventField(n uint64, e *domain.Event) {
	f := &e.Fact
	switch n {
	case 9:
		e.Revision = s.number()
	case 10:
		k, ok := FromKind(comandav1.FactKind(s.enum()))
		f.Kind, s.bad = k, s.bad || !ok
	case 11:
		v, ok := FromVerdict(comandav1.Verdict(s.enum()))
		e.Verdict, s.bad = v, s.bad || !ok
	case 13:
		e.From = s.status()
	case 14:
		e.To = s.status()
	case 16:
		e.Path = append(e.Path, s.step())
	case 19:
		e.Opens = append(e.Opens, domain.EventID(s.element()))
	case 20:
		e.Closes = append(e.Closes, domain.EventID(s.element()))
	case 28:
		digest := s.bytes()
		s.bad = s.bad || len(digest) != len(e.Digest)
		copy(e.Digest[:], digest)
	case 31:
		f.Amounts = s.amounts()
	case 32:
		f.Payment = s.payment()
	case 33:
		f.Items = append(f.Items, s.item())
	case 34:
		if f.UTM == nil {
			f.UTM = make(domain.UTM, 0, s.run())
		}
		f.UTM = append(f.UTM, s.parameter(len(f.UTM) == 0))
	case 35:
		f.Shipping = s.shipping()
	case 37:
		f.Resolution = s.resolution()
	case 38:
		f.Warnings = append(f.Warnings, s.element())
	case 39:
		e.MachineVersion = s.number32()
	case 40:
		e.Cause = s.cause()
	default:
		s.bad = true
	}
}
